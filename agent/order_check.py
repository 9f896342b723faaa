"""Whether this node runs an order: ten numbered checks, each of which can only say no.

Neither the hub nor the agent is believed. What is checked arrives as values; nothing is run and
nothing is changed here, except that `connect` has the newest checkpoint remembered.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.errors import LogForkedError, OrderRefusedError
from agent.execution_journal import ExecutionJournal
from agent.log_proof import LogProof
from agent.proc import why_protected
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
from policy.verdict import Effect, Ruling, Verdict
from policy.windows import is_open

StartedTicks = Callable[[int], int | None]
"""When a process was started, in clock ticks after boot; None when there is none of this pid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runnable:
    """One command that passed: the program, and the file of each of its argument vectors."""

    index: int
    program: Program
    files: tuple[str, ...]  # absolute, one for each command of the program, in order
    processes: tuple[tuple[int, int], ...]  # pid and start time that must still hold


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
        payload = open_sealed(envelope, payload_type=ORDER_TYPE, key=trust.order_key)
    except RefusedError as error:
        raise OrderRefusedError("1 signature", str(error)) from error
    try:
        return records.from_json(payload, Order)
    except RefusedError as error:
        raise OrderRefusedError("2 form", str(error)) from error


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


def connect(order: Order, trust: Trust, proof: LogProof) -> None:
    """The first half of check 7, before the order is claimed: its checkpoint is of one history.

    Raises `LogStaleError` when the proof is not from where this node stands: nothing is used up,
    and the hub may offer the order again. What is no proof at all is left to the second half.
    """
    for given in order.approvals:
        try:
            note = log_proof.parse(given.proof).note
            trust.log.accept(note, proof, vkeys=trust.audit_vkeys)
        except LogForkedError as error:
            raise OrderRefusedError("7 audit log", str(error)) from error
        except AuditRefusedError:
            return  # it will not be known, and so be refused


def check(
    order: Order, trust: Trust, *, now: datetime, boot_id: str, started: StartedTicks
) -> Checked:
    """Checks 3, 4 and 6 to 10; the first that fails is named."""
    #  3. it is for this node                 7. that yes is in the audit log we know
    #  4. it is in time                       8. our own policy allows every command
    #  6. a person said yes to exactly this   9. the host is as it was
    #                                        10. the programs are the system's own
    _for_this_node(order, trust)  # 3
    _in_time(order, now=now)  # 4
    _approved(order)  # 6
    proven = [_logged(one, order, trust) for one in order.approvals][-1]  # 7
    window = is_open(trust.bundle.windows, now)  # by our clock, whatever the hub thought
    facts = facts_of(order.finding, change_window_open=window)
    verdicts = [_allowed(step, trust, facts) for step in order.shown.steps]  # 8
    if order.finding.boot_id != boot_id:  # 9
        raise OrderRefusedError("9 facts", "the host was restarted since the evidence was taken")
    if order.finding.role != trust.role:  # 9
        said, real = order.finding.role or "none", trust.role or "none"
        raise OrderRefusedError("9 facts", f"the evidence says role {said}, this node has {real}")
    steps = []
    for index, verdict in enumerate(verdicts):
        program = _program(verdict)
        processes = referred_processes(program, order)
        demand_alive(processes, started)  # 9
        if verdict.effect != Effect.READ.word:
            _demand_unprotected(processes)  # 9
        files = tuple(_file_of(command.paths) for command in verdict.commands)  # 10
        _demand_honest_paths(verdict, trust.bundle.guard)  # 10
        steps.append(Runnable(index=index, program=program, files=files, processes=processes))
    return Checked(order=order, steps=tuple(steps), checkpoint=proven.checkpoint)


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
        proven = verify(logged.proof, logged.entry.encode(), trust.audit_vkey)
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
    if _program(verdict).digest != step.program_digest:
        raise OrderRefusedError("8 policy", "hub and node read the command differently")
    return verdict


def _program(verdict: Verdict) -> Program:
    if verdict.program is None:
        raise OrderRefusedError("8 policy", "the command has no canonical program")
    return verdict.program


def _file_of(paths: tuple[str, ...]) -> str:
    """The first of the rule's files that is here, and is the system's own."""
    for path in paths:
        if Path(path).is_file():
            real = Path(path).resolve()
            for part in (real, real.parent):
                found = part.stat()
                if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise OrderRefusedError("10 program", f"{part} can be changed by others")
            return str(real) if os.access(real, os.X_OK) else _absent(paths)
    return _absent(paths)


def _absent(paths: tuple[str, ...]) -> str:
    raise OrderRefusedError("10 program", f"none of {', '.join(paths) or 'no file'} is here")


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
