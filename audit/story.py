"""Entries → what a reader who is no engineer can follow: cases with timelines, people, changes.

Values in, values out. Every text comes from outside and is made visible here; how it looks on a
page is the business of `html_report` and `pdf_report`. A long log gives a bounded story: what was
left out is counted, the entries have it all.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from audit.entry import Entry, decode
from audit.errors import EntryError
from audit.visible import visible

MAX_CASES = 200
MAX_STEPS = 200  # of one case
MAX_CHANGES = 500
_BRIEF = 160  # characters of one value in a list of values

YES, NO, RAN, SYSTEM = "yes", "no", "ran", "system"
"""The tone of a line: a person said yes; somebody or something said no; it ran; it is told."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    seq: int
    time: str  # 2026-03-01 12:00:30 UTC
    who: str
    what: str  # a sentence
    details: tuple[str, ...] = ()
    tone: str = SYSTEM


class Case(msgspec.Struct, kw_only=True):
    """One incident, told in order."""

    incident: str
    title: str = "an incident"
    opened: str = ""
    state: str = "open"
    lines: list[Line]
    entries: int = 0
    approved_by: list[str]
    ran: list[str]  # what ran where, and what came of it

    @property
    def glance(self) -> tuple[str, str, str, str]:
        """What, who approved, what ran, how it stands: a row of the table at the front."""
        approved = ", ".join(dict.fromkeys(self.approved_by)) or "nobody"
        ran = "; ".join(self.ran[:5]) or "nothing"
        return f"{self.title} ({self.opened})", approved, ran, self.state


class Story(msgspec.Struct, kw_only=True):
    """The whole part of the log."""

    entries: int = 0
    unreadable: int = 0
    begins: str = ""
    ends: str = ""
    cases: dict[str, Case]
    more_cases: int = 0
    changes: list[Line]  # outside of incidents, worth reading
    more_changes: int = 0
    types: dict[str, int]
    people: dict[str, dict[str, int]]  # name → what they did → how often


def tell(lines: Iterable[bytes]) -> Story:
    """The story of these lines, in order and without newlines."""
    story = Story(cases={}, changes=[], types={}, people={})
    for line in lines:
        story.entries += 1
        try:
            entry = decode(line)
        except EntryError:
            story.unreadable += 1
            continue
        _count(story, entry)
        if entry.incident is not None:
            _add_to_case(story, entry, entry.incident)
        elif entry.type not in _ROUTINE:
            if len(story.changes) < MAX_CHANGES:
                story.changes.append(_line(entry))
            else:
                story.more_changes += 1
    return story


def clock(ts: str) -> str:
    """`2026-03-01 12:00:30 UTC`."""
    return f"{ts[:10]} {ts[11:19]} UTC"


_ROUTINE = {"time.status", "node.connect", "node.disconnect", "auth.login", "auth.logout"}
_KINDS = {
    "operator": "",
    "node": "host ",
    "hub": "the hub",
    "reasoner": "the model",
    "notary": "the log's notary",
}


def _count(story: Story, entry: Entry) -> None:
    story.begins = story.begins or clock(entry.ts)
    story.ends = clock(entry.ts)
    kind = visible(entry.type, most=_BRIEF)
    story.types[kind] = story.types.get(kind, 0) + 1
    if entry.actor.kind == "operator" and len(story.people) < MAX_CHANGES:
        did = story.people.setdefault(visible(entry.actor.id, most=_BRIEF), {})
        did[kind] = did.get(kind, 0) + 1


def _add_to_case(story: Story, entry: Entry, incident: str) -> None:
    case = story.cases.get(incident)
    if case is None:
        if len(story.cases) >= MAX_CASES:
            story.more_cases += entry.inc_seq == 0
            return
        case = Case(incident=incident, opened=clock(entry.ts), lines=[], approved_by=[], ran=[])
        story.cases[incident] = case
    case.entries += 1
    body = entry.body
    if entry.type == "incident.open":
        condition = _words(body.get("condition", "something"))
        case.title = f"{condition} on {_get(body, 'node')}: {_get(body, 'subject')}"
    if entry.type == "incident.state":
        case.state = _words(body.get("to", case.state))
    if entry.type == "incident.close":
        case.state = _words(body.get("state", case.state))
    if entry.type in {"exec.result", "exec.rollback", "manual.step"}:
        case.ran.append(_ran(entry))
    if entry.type == "approval.grant":
        case.approved_by.append(visible(entry.actor.id, most=_BRIEF))
    if len(case.lines) < MAX_STEPS:
        case.lines.append(_line(entry))


def _ran(entry: Entry) -> str:
    if entry.type == "manual.step":
        return f"by hand by {visible(entry.actor.id, most=_BRIEF)}"
    steps = entry.body.get("steps")
    count = len(steps) if isinstance(steps, list) else 0
    commands = "1 command" if count == 1 else f"{count} commands"
    where = visible(entry.actor.id, most=_BRIEF)
    back = "taken back, " if entry.type == "exec.rollback" else ""
    return f"{back}{commands} on {where}: {_words(entry.body.get('outcome'))}"


def _line(entry: Entry) -> Line:
    tell_it = _SENTENCES.get(entry.type, _other)
    what, details, tone = tell_it(entry)
    return Line(
        seq=entry.seq, time=clock(entry.ts), who=_who(entry), what=what, details=details, tone=tone
    )


def _who(entry: Entry) -> str:
    actor = entry.actor
    known = _KINDS.get(actor.kind)
    if known is None:
        return f"{visible(actor.kind, most=_BRIEF)} {visible(actor.id, most=_BRIEF)}"
    if known and not known.endswith(" "):
        return known
    return f"{known}{visible(actor.id, most=_BRIEF)}"


Told = tuple[str, tuple[str, ...], str]


def _open(entry: Entry) -> Told:
    body = entry.body
    what = (
        f"{_get(body, 'node')} reported: {_words(body.get('condition'))}, {_get(body, 'subject')}"
    )
    return what, (f"severity {_get(body, 'severity')}",), SYSTEM


def _state(entry: Entry) -> Told:
    body = entry.body
    reason = _get(body, "reason")
    details = (reason,) if reason else ()
    return (
        f"the incident moved: {_words(body.get('from'))} → {_words(body.get('to'))}",
        details,
        SYSTEM,
    )


def _proposed(entry: Entry) -> Told:
    body = entry.body
    by = "a local language model" if body.get("origin") == "model" else _words(body.get("origin"))
    details = [f"diagnosis: “{_get(body, 'diagnosis')}”"] if body.get("diagnosis") else []
    details += [
        f"model {_get(body, 'model_name')}, file SHA-256 {_get(body, 'model_sha256')}"
    ] * bool(body.get("model_name"))
    details += [f"the model failed: {_get(body, 'model_error')}"] * bool(body.get("model_error"))
    return f"a plan was proposed by {by}; nothing runs because it says so", tuple(details), SYSTEM


def _verdict(entry: Entry) -> Told:
    ruling = entry.body.get("ruling")
    words = {
        "allow": "the policy allows every command of the plan, if a person approves",
        "review": "the policy leaves the plan to a person: nothing of it may run by itself",
        "block": "the policy forbids the plan",
    }
    commands = entry.body.get("commands")
    details = tuple(
        f"{_words(each.get('ruling'))}: {_get(each, 'text')}, by {_get(each, 'rule') or 'default'}"
        for each in (commands if isinstance(commands, list) else [])[:20]
        if isinstance(each, dict)
    )
    return words.get(str(ruling), f"the policy says {_words(ruling)}"), details, _ruled(ruling)


def _ruled(ruling: object) -> str:
    return SYSTEM if ruling == "allow" else NO


def _grant(entry: Entry) -> Told:
    body = entry.body
    who = visible(entry.actor.id, most=_BRIEF)
    mode = {"live": "to be run", "dry_run": "as a rehearsal, without running it"}
    how = mode.get(str(body.get("mode")), "")
    details = [f"what was shown: digest {_get(body, 'shown_digest')}"]
    details += [f"signed with the key {_get(body, 'credential_id')}"] * bool(
        body.get("credential_id")
    )
    details += [f"yes {_get(body, 'given')} of {_get(body, 'needed')}"] * bool(body.get("needed"))
    details += [f"comment: “{_get(body, 'comment')}”"] * bool(body.get("comment"))
    details += [f"good until {_get(body, 'not_after')}"] * bool(body.get("not_after"))
    return f"{who} approved the plan {how}".rstrip(), tuple(details), YES


def _deny(entry: Entry) -> Told:
    comment = _get(entry.body, "comment")
    who = visible(entry.actor.id, most=_BRIEF)
    return f"{who} rejected the plan; nothing ran", (f"comment: “{comment}”",) * bool(comment), NO


def _expire(_: Entry) -> Told:
    return "nobody approved in time, or it was not used in time; nothing ran", (), NO


def _order(entry: Entry) -> Told:
    body = entry.body
    live = "order" if body.get("mode") == "live" else "rehearsal order"
    digest = f"order {_get(body, 'order_id')}, digest {_get(body, 'order_digest')}"
    return f"a signed {live} was issued to {_get(body, 'node')}", (digest,), SYSTEM


def _result(entry: Entry) -> Told:
    body = entry.body
    steps = body.get("steps")
    details = tuple(
        f"command {_get(each, 'index')}: exit status {_get(each, 'exit_status')}, output SHA-256"
        f" {_get(each, 'output_sha256')}"
        for each in (steps if isinstance(steps, list) else [])[:20]
        if isinstance(each, dict)
    )
    words = {
        "succeeded": "the host ran the commands; all ended well",
        "dry_run": "rehearsal: every check passed, nothing was run",
        "failed": "the host ran commands, and one failed",
        "timed_out": "the host ran commands, and the deadline came",
        "outcome_unknown": "it is not known what ran: a person must look",
    }
    outcome = str(body.get("outcome"))
    tone = RAN if outcome in {"succeeded", "dry_run"} else NO
    return words.get(outcome, f"the host reports: {_words(outcome)}"), details, tone


def _rollback(entry: Entry) -> Told:
    _, details, tone = _result(entry)
    outcome = _words(entry.body.get("outcome"))
    return f"the host took back what the order had done: {outcome}", details, tone


def _gap(entry: Entry) -> Told:
    body = entry.body
    numbers = f"{_get(body, 'first')} to {_get(body, 'last')}"
    what = f"reports {numbers} of {_get(body, 'node')}: {_words(body.get('kind'))}"
    return f"{what}, {_words(body.get('state'))}", (), NO


def _halt(entry: Entry) -> Told:
    what = f"everything is to stop on {_place(entry)}: {_words(entry.body.get('state'))}"
    return what, _reason(entry), NO


def _resume(entry: Entry) -> Told:
    what = f"{_place(entry)} may run again: {_words(entry.body.get('state'))}"
    return what, _reason(entry), YES


def _place(entry: Entry) -> str:
    node = _get(entry.body, "node")
    return f"host {node}" if node else "all hosts"


def _reason(entry: Entry) -> tuple[str, ...]:
    reason = _get(entry.body, "reason")
    return (reason,) if reason else ()


def _fork(entry: Entry) -> Told:
    what = f"{_get(entry.body, 'node')} refused the log: other or shorter than it had seen before"
    return what, _reason(entry), NO


def _decided(entry: Entry) -> Told:
    body = entry.body
    people = body.get("people")
    names = " and ".join(map(visible, people)) if isinstance(people, list) else "somebody"
    what = (
        f"{names} decided that the log goes on from {_get(body, 'new_size')} entries; a history of"
        f" {_get(body, 'old_size')} entries that was seen is given up"
    )
    return what, _reason(entry), SYSTEM


def _refuse(entry: Entry) -> Told:
    body = entry.body
    reason = f"check {_get(body, 'step')}: {_get(body, 'reason')}"
    return "the host refused the order; nothing ran", (reason,), NO


def _manual(entry: Entry) -> Told:
    body = entry.body
    who = visible(entry.actor.id, most=_BRIEF)
    details = (_get(body, "command") or _get(body, "text"), f"result: “{_get(body, 'result')}”")
    return f"{who} did this by hand", details, RAN


def _recover(_: Entry) -> Told:
    return "the condition is gone, by the host's own measurement", (), RAN


def _close(entry: Entry) -> Told:
    body = entry.body
    what = (
        f"closed as {_words(body.get('state'))}; it has {_get(body, 'entries')} entries up to here"
    )
    return what, (), SYSTEM


def _other(entry: Entry) -> Told:
    details = [f"{visible(key, most=80)}: {_brief(value)}" for key, value in entry.body.items()]
    outcome = f" ({_words(entry.outcome)})" if entry.outcome else ""
    return f"{visible(entry.type, most=_BRIEF)}{outcome}", tuple(details[:8]), SYSTEM


_SENTENCES: dict[str, Callable[[Entry], Told]] = {
    "incident.open": _open,
    "incident.state": _state,
    "incident.recover": _recover,
    "incident.close": _close,
    "plan.proposed": _proposed,
    "plan.verdict": _verdict,
    "approval.grant": _grant,
    "approval.deny": _deny,
    "approval.expire": _expire,
    "exec.order": _order,
    "exec.result": _result,
    "exec.refuse": _refuse,
    "exec.rollback": _rollback,
    "exec.gap": _gap,
    "node.halt": _halt,
    "node.resume": _resume,
    "witness.refuse": _fork,
    "log.fork": _decided,
    "manual.step": _manual,
}


def _get(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if value is None:
        return ""
    return _brief(value) if isinstance(value, dict | list) else visible(value)


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return visible(text, most=_BRIEF)


def _words(value: object) -> str:
    return visible(str(value).replace("_", " "), most=_BRIEF)
