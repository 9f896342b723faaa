"""Whether this node runs an order: numbered checks, each of which can only say no.

Neither the hub nor the agent is believed. What is checked arrives as values; nothing is run and
nothing is changed here, except that `connect` has the newest checkpoint remembered. Two checks
are the executor's own: 0, whether the node is halted, and 11, how much it ran in the last hour.
What a rollback is checked for is in `agent/undo_check.py`.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from agent.approvals import demand_quorum, demand_signed
from agent.errors import LogForkedError, OrderRefusedError
from agent.execution_journal import ExecutionJournal
from agent.log_proof import LogProof
from agent.proc import why_protected
from agent.programs import system_file
from agent.run_program import Command
from agent.sandbox import sandbox
from agent.trust import Trust
from appliance import records
from appliance.envelope import ORDER_TYPE, open_sealed
from appliance.errors import RefusedError
from appliance.records import JudgedStep, Logged, Order, ProcessEvidence
from audit import proof as log_proof
from audit.checkpoint import Checkpoint
from audit.cosignature import cosigned_by
from audit.errors import AuditRefusedError, ProofError
from audit.proof import Proven, verify
from policy.evaluate import judge
from policy.evidence import facts_of
from policy.facts import Facts
from policy.places import Guard
from policy.reader import Program
from policy.verdict import Effect, JudgedCommand, Ruling, Verdict
from policy.windows import is_open

StartedTicks = Callable[[int], int | None]
"""When a process was started, in clock ticks after boot; None when there is none of this pid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runnable:
    """One step that passed: the program, and what each of its argument vectors is granted."""

    index: int
    program: Program
    commands: tuple[Command, ...]  # one for each argument vector of the program, in order
    processes: tuple[tuple[int, int], ...]  # pid and start time that must still hold
    acts: int = 0  # how many of its commands change something


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An order that passed every check."""

    order: Order
    steps: tuple[Runnable, ...]
    checkpoint: Checkpoint


def open_order(envelope: bytes, trust: Trust) -> Order:
    """Checks 1 and 2: whose order this is at all."""
    # 1. the hub's order key signed it       2. it is an order, with nothing missing or added
    try:
        payload = _opened(envelope, trust)
    except RefusedError as error:
        raise OrderRefusedError("1 signature", str(error)) from error
    try:
        return records.from_json(payload, Order)
    except RefusedError as error:
        raise OrderRefusedError("2 form", str(error)) from error


def _opened(envelope: bytes, trust: Trust) -> bytes:
    """Under one of the order keys; there are two while one follows the other."""
    refusal: RefusedError = RefusedError("no order key is believed")
    for key in trust.order_keys:
        try:
            return open_sealed(envelope, payload_type=ORDER_TYPE, key=key)
        except RefusedError as error:
            refusal = error
    raise refusal


def demand_fresh(order: Order, journal: ExecutionJournal) -> None:
    """Check 5, before the order is claimed: it, its approval and its plan never ran here."""
    approvals = [one.approval for one in order.approvals]
    for what, mark, used in (
        ("order", order.order_id, journal.orders),
        *(("approval", one.approval_id, journal.approvals) for one in approvals),
        *(("plan", one.shown_digest, journal.approvals) for one in approvals),
    ):
        if mark in used:
            raise OrderRefusedError("5 once", f"the {what} {mark} was used here before")
    forgot = journal.forgot_until
    if forgot is not None and order.shown.not_after <= forgot:
        raise OrderRefusedError("5 once", "it is so old that its id may have been forgotten here")


def connect(order: Order, trust: Trust, proof: LogProof) -> None:
    """The first half of check 7, before the order is claimed: its checkpoint is of one history.

    Raises `LogStaleError` when the proof is not from where this node stands: nothing is used up,
    and the hub may offer the order again. What is no proof at all is left to the second half.
    """
    for given in order.approvals:
        try:
            note = log_proof.parse(given.proof).note
            trust.log.accept(note, proof, vkeys=trust.audit_keys or ())
        except LogForkedError as error:
            raise OrderRefusedError("7 audit log", str(error)) from error
        except AuditRefusedError:
            return  # it will not be known, and so be refused


def check(
    order: Order,
    trust: Trust,
    *,
    now: datetime,
    boot_id: str,
    started: StartedTicks,
    left: Collection[int] | None = None,
) -> Checked:
    """Checks 3, 4 and 6 to 10; the first that fails is named.

    `left` are the commands that did not start yet, where some did; their facts alone are asked.
    """
    #  3. it is for this node                 7. that yes is in the audit log we know
    #  4. it is in time                       8. our own policy allows every command
    #     and every rollback, as was shown
    #  6. as many people as it needs said     9. the host is as it was
    #     yes to exactly this, and signed   10. the programs are the system's own
    _for_this_node(order, trust)  # 3
    _in_time(order, now=now)  # 4
    _approved(order)  # 6
    demand_signed(order, trust.people)  # 6
    proven = [_logged(one, order, trust) for one in order.approvals][-1]  # 7
    window = is_open(trust.bundle.windows, now)  # by our clock, whatever the hub thought
    facts = facts_of(order.finding, change_window_open=window)
    verdicts = [_allowed(step, trust, facts) for step in order.shown.steps]  # 8
    undos = [judge_undo(step, trust, facts) for step in order.shown.steps]  # 8
    risks = [one.risk for one in [*verdicts, *undos] if one is not None]
    demand_quorum(order, trust.people, risks)  # 6, now that our own policy has named the risk
    demand_same_host(order, trust, boot_id=boot_id)  # 9
    steps = [
        runnable(index, one, order, trust, started)
        for index, one in enumerate(verdicts)
        if left is None or index in left
    ]
    return Checked(order=order, steps=tuple(steps), checkpoint=proven.checkpoint)


def runnable(
    index: int,
    verdict: Verdict,
    order: Order,
    trust: Trust,
    started: StartedTicks,
    *,
    kind: str = "",
) -> Runnable:
    """Checks 9 and 10 of one judged command: its processes and its programs.

    `kind` tells a rollback's commands from the order's own in the names of their units.
    """
    program = _program(verdict)
    processes = referred_processes(program, order)
    demand_alive(processes, started)  # 9
    if verdict.effect != Effect.READ.word:
        _demand_unprotected(processes)  # 9
    commands = tuple(
        _command(judged, f"{order.order_id}-{kind}{index}-{place}")  # 10
        for place, judged in enumerate(verdict.commands)
    )
    _demand_honest_paths(verdict, trust.bundle.guard)  # 10
    acts = sum(command.effect != Effect.READ.word for command in verdict.commands)
    return Runnable(index=index, program=program, commands=commands, processes=processes, acts=acts)


def demand_same_host(order: Order, trust: Trust, *, boot_id: str) -> None:
    """Check 9 of the host itself: its boot and its role."""
    if order.finding.boot_id != boot_id:
        raise OrderRefusedError("9 facts", "the host was restarted since the evidence was taken")
    if order.finding.role != trust.role:
        said, real = order.finding.role or "none", trust.role or "none"
        raise OrderRefusedError("9 facts", f"the evidence says role {said}, this node has {real}")


def referred_processes(program: Program, order: Order) -> tuple[tuple[int, int], ...]:
    """The processes of the evidence whose pid stands among the words."""
    words = {word.lstrip("-") for argv in program.argvs for word in argv[1:]}
    return tuple(
        (item.pid, item.started_ticks)
        for item in order.finding.evidence
        if isinstance(item, ProcessEvidence) and str(item.pid) in words
    )


def demand_alive(processes: tuple[tuple[int, int], ...], started: StartedTicks) -> None:
    """Every process is still the one that was seen; asked again right before each command."""
    for pid, ticks in processes:
        found = started(pid)
        if found is None:
            raise OrderRefusedError("9 facts", f"process {pid} is gone")
        if found != ticks:
            raise OrderRefusedError(
                "9 facts", f"pid {pid} is another process now: started at {found}, not {ticks}"
            )


def _demand_unprotected(processes: tuple[tuple[int, int], ...]) -> None:
    """A hub can forge evidence that unprotects a process; the process itself says what it is."""
    for pid, _ in processes:
        if why := why_protected(pid):
            raise OrderRefusedError("9 facts", f"process {pid} is protected: {why}")


def _for_this_node(order: Order, trust: Trust) -> None:
    for name in (order.node, order.shown.node):
        if name != trust.node:
            raise OrderRefusedError("3 node", f"expected {trust.node}, the order says {name!r}")


def _in_time(order: Order, *, now: datetime) -> None:
    for what, moment in (("order", order.not_after), ("approval", order.shown.not_after)):
        if now >= moment:
            late = (now - moment).total_seconds()
            raise OrderRefusedError("4 time", f"the {what} ended {late:.0f} s ago")


def _approved(order: Order) -> None:
    shown, digest = order.shown, records.digest_of(order.shown)
    for one in order.approvals:
        if one.approval.shown_digest != digest:
            raise OrderRefusedError("6 approval", "not true: the approval is of what was shown")
    expected = {
        "the evidence is what was shown": (
            shown.evidence_digest,
            records.digest_of(order.finding),
        ),
        "the finding is the one shown": (shown.finding_id, order.finding.finding_id),
        "the ruling is allow": (shown.ruling, Ruling.ALLOW.word),
    }
    for what, (said, real) in expected.items():
        if said != real:
            raise OrderRefusedError("6 approval", f"not true: {what}")
    if not shown.steps:
        raise OrderRefusedError("6 approval", "there is no command in it")


def _logged(logged: Logged, order: Order, trust: Trust) -> Proven:
    try:
        proven = _proven(logged, trust)
    except ProofError as error:
        raise OrderRefusedError("7 audit log", str(error)) from error
    entry, body, approval = proven.entry, proven.entry.body, logged.approval
    matches = (
        entry.type == "approval.grant"
        and (entry.actor.kind, entry.actor.id) == ("operator", approval.operator)
        and entry.incident == order.shown.incident_id
        and body.get("approval_id") == approval.approval_id
        and body.get("shown_digest") == approval.shown_digest
        and body.get("approval_digest") == records.digest_of(approval)
    )
    if not matches:
        raise OrderRefusedError("7 audit log", "the entry is not the record of this approval")
    _demand_one_history(proven, trust)
    _demand_witnesses(proven, trust)
    return proven


def _proven(logged: Logged, trust: Trust) -> Proven:
    """Under keys of the log that count; there are several while one follows the other."""
    if trust.audit_keys is None:
        raise ProofError("no key of the audit log is believed")
    return verify(logged.proof, logged.entry.encode(), trust.audit_keys)


def _demand_one_history(proven: Proven, trust: Trust) -> None:
    if fork := trust.log.fork:
        raise OrderRefusedError("7 audit log", f"the log forked: {fork.reason}")
    if not trust.log.knows(proven.checkpoint):
        why = "no proof leads from what was seen to its checkpoint"
        raise OrderRefusedError("7 audit log", why)


def _demand_witnesses(proven: Proven, trust: Trust) -> None:
    if trust.witness_quorum < 1:
        return
    try:
        seen_by = len(cosigned_by(proven.note, trust.witness_vkeys))
    except AuditRefusedError as error:
        raise OrderRefusedError("7 audit log", str(error)) from error
    if seen_by < trust.witness_quorum:
        raise OrderRefusedError(
            "7 audit log",
            f"{seen_by} of the witnesses saw its checkpoint, {trust.witness_quorum} are needed",
        )


def _allowed(step: JudgedStep, trust: Trust, facts: Facts) -> Verdict:
    verdict = judge(step.command, bundle=trust.bundle, facts=facts, second=trust.second)
    reason = verdict.reasons[0]
    if verdict.ruling is not Ruling.ALLOW:
        why = f"{verdict.ruling.word} by {reason.rule}: {reason.message}"
        raise OrderRefusedError("8 policy", why)
    program = _program(verdict)
    if program.digest != step.program_digest or program.argvs != step.argv:
        raise OrderRefusedError("8 policy", "hub and node read the command differently")
    return verdict


def judge_undo(step: JudgedStep, trust: Trust, facts: Facts) -> Verdict | None:
    """Check 8 of a rollback: our policy treats it as the one who approved was shown.

    One that is `allow` here and there may run by itself; its verdict. One that is `review` stays
    for a person: None, as without one. A plan with a rollback that is blocked does not run at all.
    """
    if step.undo is None:
        if step.undo_ruling is not None or step.undo_digest is not None:
            raise OrderRefusedError("8 policy", "a rollback was judged that does not exist")
        return None
    verdict = judge(step.undo, bundle=trust.bundle, facts=facts, second=trust.second)
    reason = verdict.reasons[0]
    if verdict.ruling is Ruling.BLOCK:
        why = f"its rollback is block by {reason.rule}: {reason.message}"
        raise OrderRefusedError("8 policy", why)
    if step.undo_ruling == Ruling.REVIEW.word:
        return None
    if step.undo_ruling != Ruling.ALLOW.word or verdict.ruling is not Ruling.ALLOW:
        said = step.undo_ruling or "nothing"
        why = f"its rollback was shown as {said}, here it is {verdict.ruling.word} by {reason.rule}"
        raise OrderRefusedError("8 policy", f"{why}: {reason.message}")
    if _program(verdict).digest != step.undo_digest:
        raise OrderRefusedError("8 policy", "hub and node read the rollback differently")
    return verdict


def _program(verdict: Verdict) -> Program:
    if verdict.program is None:
        raise OrderRefusedError("8 policy", "the command has no canonical program")
    return verdict.program


def _command(judged: JudgedCommand, name: str) -> Command:
    return Command(
        name=name,
        file=system_file(judged.paths),
        argv=judged.argv,
        sandbox=sandbox(judged.needs, judged.writes),
    )


def _demand_honest_paths(verdict: Verdict, guard: Guard) -> None:
    """What a command names must not lead elsewhere through a symbolic link.

    A changing command may name no link at all. A reading one may (`/var/run` is one), unless it
    leads into a place that the policy keeps closed and that the name itself is not in.
    """
    for command in verdict.commands:
        for word in command.argv[1:]:
            for name in (word, word.partition("=")[2]) if "/" in word else ():
                _demand_honest_path(name, guard, reads=command.effect == Effect.READ.word)


def _demand_honest_path(name: str, guard: Guard, *, reads: bool) -> None:
    path = os.path.normpath(os.path.join("/", name))  # noqa: PTH118  # commands run in /
    real = os.path.realpath(path)
    if real == path:
        return
    if not reads and name.startswith("/"):
        raise OrderRefusedError("10 program", f"{name} leads elsewhere by a link")
    for places in (guard.secret, guard.devices, guard.mixed):
        if places.covers(real) and not places.covers(path):
            raise OrderRefusedError("10 program", f"{name} leads by a link into a closed place")
