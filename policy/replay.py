"""Judge recorded commands under two policies, and list what changed: above all, what got looser."""

from collections.abc import Iterable, Iterator

import msgspec

from appliance.errors import SettingsError
from policy.evaluate import SecondReader, judge
from policy.facts import Facts
from policy.needs import WRITE
from policy.rules import Bundle
from policy.verdict import Risk, Ruling, Verdict


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was once proposed, and the facts it was judged on."""

    cmd: str
    facts: Facts = Facts()
    id: object = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A command whose verdict is another one under the new policy."""

    recorded: Recorded
    old: Verdict
    new: Verdict

    @property
    def looser(self) -> bool:
        """Whether more is possible than before: it runs, with fewer people, with more granted."""
        if self.new.ruling is not self.old.ruling:
            return self.new.ruling < self.old.ruling
        lowered = Risk.of(self.new.risk) < Risk.of(self.old.risk)
        return lowered or not granted(self.new) <= granted(self.old)


def replay(
    recorded: Iterable[Recorded], *, old: Bundle, new: Bundle, second: SecondReader
) -> Iterator[Change | None]:
    """For each command its change, or None when the verdict stayed; in order."""
    for one in recorded:
        before = judge(one.cmd, bundle=old, facts=one.facts, second=second)
        after = judge(one.cmd, bundle=new, facts=one.facts, second=second)
        same = before.ruling is after.ruling and (
            after.ruling is not Ruling.ALLOW
            or (before.risk, granted(before)) == (after.risk, granted(after))
        )
        yield None if same else Change(recorded=one, old=before, new=after)


def granted(verdict: Verdict) -> frozenset[str]:
    """All that the commands of a line are granted beyond the closed sandbox."""
    return frozenset(
        grant
        for command in verdict.commands
        for grant in (*command.needs, *(f"{WRITE}{path}" for path in command.writes))
    )


def decode(line: bytes, number: int) -> Recorded:
    """One line of a record; raises `SettingsError` that names the line."""
    try:
        return msgspec.json.decode(line, type=Recorded)
    except msgspec.DecodeError as error:
        raise SettingsError(f"record, line {number}: {error}") from error


def told(change: Change) -> str:
    """One line about a change."""
    old, new = change.old, change.new
    arrow = f"{old.ruling.word} -> {new.ruling.word}"
    if old.ruling is new.ruling:
        more, less = granted(new) - granted(old), granted(old) - granted(new)
        words = [f"risk {old.risk} -> {new.risk}"] if old.risk != new.risk else []
        arrow = " ".join(
            (*words, *(f"+{one}" for one in sorted(more)), *(f"-{one}" for one in sorted(less)))
        )
    mark = "LOOSER " if change.looser else "tighter"
    reason = change.new.reasons[0] if change.new.ruling > Ruling.ALLOW else change.old.reasons[0]
    return f"{mark} {arrow:16} {change.recorded.cmd}\n        {reason.rule}: {reason.message}"
