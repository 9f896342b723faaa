"""A node goes on with a log that was set back, because two administrators decided it, on record.

The hub brings the entry `log.fork`, its proof, and the way from the checkpoint that the decision
names. The hub is not believed: people come from this node's own list, their signatures are checked
in a process of its own. What was left, and the decision, are kept in `forks/` for ever. Where root
decides on the node itself it is `clear_fork.py`.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import structs

from agent.aside import ask as ask_aside
from agent.durable import remember
from agent.errors import AsideError, JournalError
from agent.forks import Fork, ForkFile, Seen, one_at_a_time
from agent.log_proof import LogProof, Standing
from agent.trust import Trust
from appliance import records
from appliance.errors import RefusedError
from appliance.journal import shown
from appliance.operator_claim import Answers, Claim, Claims
from appliance.records import Record
from audit import fork_decision, proof
from audit.errors import AuditRefusedError, ForkError, ProofError
from audit.merkle import verify_consistency

MOST_DECIDED = 64  # decisions a node remembers; more is not the life of one log

_log = logging.getLogger(__name__)

Ask = Callable[[str, bytes], bytes]


class Offered(Record, frozen=True, kw_only=True):
    """What the hub brings in `LogProof.decision`."""

    entry: Annotated[str, msgspec.Meta(max_length=60_000)]  # the line of `log.fork`
    proof: Annotated[str, msgspec.Meta(max_length=16_384)]  # its C2SP tlog-proof


class Left(Record, frozen=True, kw_only=True):
    """The evidence that is kept: what was seen, what was refused, and who decided."""

    at: datetime
    accepted: str  # the signed note this node had accepted, and has left
    fork: Fork | None  # as it was found, where it was found before it was decided
    decided: Offered


def take(trust: Trust, note: str, said: LogProof, *, ask: Ask = ask_aside) -> Standing:
    """Go on from there, or refuse and change nothing; where this node stands after that."""
    now, refusal = datetime.now(UTC), ""
    try:
        with one_at_a_time(trust.log.file.parent):
            digest = _go_on(trust, note, said, now=now, ask=ask)
        _log.critical("the log goes on from another history: decision %s", digest)
    except (AuditRefusedError, AsideError) as error:
        refusal = shown(str(error))
        _log.error("a decision about the log was refused: %s", refusal)
    return structs.replace(trust.log.standing(vkeys=trust.audit_vkeys), refusal=refusal)


def _go_on(trust: Trust, note: str, said: LogProof, *, now: datetime, ask: Ask) -> str:
    # 1. what says who may decide is believed now    6. it was not used here before
    # 2. this node stands somewhere                  7. the log under it extends the checkpoint it
    # 3. the entry is in the log under this note,       names to go on from
    #    which counts, as the one to go on from does
    # 4. it holds one whole decision about this log  8. two administrators signed it
    # 5. which gives up what this node has seen      9. the evidence is kept before it is acted upon
    if why := trust.trouble(now):  # 1
        raise ForkError(why)
    if (keys := trust.audit_keys) is None:
        raise ForkError("no key of the log is believed here")
    seen = trust.log.seen
    if seen is None:  # 2
        raise ForkError("this node has seen nothing that could be given up")
    offered = _offered(said.decision)
    proven = proof.verify(offered.proof, offered.entry.encode(), keys)  # 3
    if proven.note != note:
        raise ForkError("its proof is under another checkpoint than the one that came with it")
    signed, decision = fork_decision.in_entry(proven.entry, keys)  # 4
    if not decision.gives_up(seen.size, bytes.fromhex(seen.root)):  # 5
        raise ForkError(f"it does not give up the {seen.size} entries that were seen here")
    if decision.digest in seen.decided:  # 6
        raise ForkError("it was used here before")
    _demand_extends(decision, proven, said)  # 7
    _demand_signed(fork_decision.claims(signed, trust.people), ask)  # 8
    _keep(trust.log.file.parent, decision.digest, seen, offered, now=now)  # 9
    moved = Seen(
        size=proven.checkpoint.size,
        root=proven.checkpoint.root.hex(),
        note=note,
        decided=(*seen.decided, decision.digest)[-MOST_DECIDED:],
    )
    # A crash before the next line leaves the node where it stood: it refuses again, is brought the
    # decision again, and takes it. From here on a restart goes on from the new checkpoint.
    remember(trust.log.file, moved)
    return decision.digest


def _offered(data: bytes) -> Offered:
    try:
        return records.from_json(data, Offered)
    except RefusedError as error:
        raise ForkError(f"it has not the form of a decision: {error}") from error


def _demand_extends(decision: fork_decision.Decision, proven: proof.Proven, said: LogProof) -> None:
    before, after = decision.go_on, proven.checkpoint
    try:
        path = said.path if before.size != after.size else ()
        verify_consistency(before.size, after.size, path, before.root, after.root)
    except ProofError as error:
        raise ForkError(f"the log does not extend what it says to go on from: {error}") from error


def _demand_signed(claims: tuple[Claim, ...], ask: Ask) -> None:
    question = records.to_json(Claims(claims=claims))
    try:
        troubles = records.from_json(ask("agent.signatures", question), Answers).troubles
    except (AsideError, RefusedError) as error:
        raise ForkError(f"the signatures could not be checked: {error}") from error
    if len(troubles) != len(claims):
        raise ForkError("the signatures could not be checked: no whole answer")
    for trouble in troubles:
        if trouble:
            raise ForkError(trouble)


def _keep(folder: Path, digest: str, seen: Seen, offered: Offered, *, now: datetime) -> None:
    forks = ForkFile(folder)
    left = Left(at=now, accepted=seen.note, fork=forks.read(), decided=offered)
    try:
        forks.kept.mkdir(mode=0o700, exist_ok=True)
        remember(forks.kept / f"decided-{digest[:16]}.json", left)
        forks.clear(now=now)
    except OSError as error:
        raise JournalError(f"{folder}: cannot write: {error.strerror}") from error
