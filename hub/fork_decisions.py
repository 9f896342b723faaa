"""The notary's side of a decision about a log that was set back: two administrators' word, judged.

It comes as a file beside the log, `fork.decision`, put there by `sentinel log fork submit`; the
answer is the file `fork.answer`. Who may decide is asked of the people in force, as for approvals.
Nodes judge it again by their own lists; an entry that they would refuse is kept out of the log.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import structs

from appliance import records
from appliance.errors import RefusedError
from appliance.fork_statement import SignedFork
from appliance.journal import shown
from appliance.operator_claim import Claim
from appliance.operator_signature import verify
from appliance.people import People
from appliance.records import Count, Digest, Record, Text
from audit import fork_decision
from audit.checkpoint import Checkpoint
from audit.errors import ForkError
from audit.fork_decision import Decision
from audit.note import Vkey
from hub.log_tree import LogTree
from hub.persist.database import Database, Work
from hub.persist.people import people_in_force, usable
from hub.persist.witness import leaf_hashes, newest_checkpoint
from hub.settings import NotarySettings
from hub.trust import HubTrust

REQUEST, ANSWER = "fork.decision", "fork.answer"
MAX_REQUEST_BYTES = 192 * 1024

_log = logging.getLogger(__name__)


class Answer(Record, frozen=True, kw_only=True):
    """What became of a request."""

    statement: Digest | None  # None: what was asked has no form
    entry: Count | None = None  # the number of its entry; None: refused
    why: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A request: what to record, or (None) only what to answer."""

    answer: Answer
    body: dict[str, Any] | None = None

    def answered(self, entry: int | None) -> bytes:
        """The answer's file, with the number of the entry that was made of the body."""
        answer = self.answer if entry is None else structs.replace(self.answer, entry=entry)
        return records.to_json(answer)


def judge_for(settings: NotarySettings, db: Database, vkeys: Sequence[Vkey]) -> Judged:
    """As `judge`, with the people whom the site's root vouches for, where one is pinned."""
    if settings.trust_root is not None and db.people is None:
        db.people = HubTrust(settings.trust_root)
    now = datetime.now(UTC)
    return judge(settings.folder, db, origin=settings.origin, vkeys=vkeys, now=now)


def judge(
    folder: Path, db: Database, *, origin: str, vkeys: Sequence[Vkey], now: datetime
) -> Judged:
    """Whether the request is to be recorded. Raises only what may pass, such as `DatabaseError`."""
    digest: str | None = None
    try:
        signed = _read(folder / REQUEST)
        digest = signed.statement.digest
        with db.transaction() as work:
            row = work.one("decision_entry", statement=digest)
            if row is not None:  # a crash came before the answer, or somebody asks again
                return Judged(answer=Answer(statement=digest, entry=row["seq"]))
            people = people_in_force(work, now=now)
            decision = accepted(work, signed, people, origin=origin, vkeys=vkeys)
    except RefusedError as error:
        _log.error("a decision about the log was refused: %s", shown(str(error)))
        return Judged(answer=Answer(statement=digest, why=shown(str(error))))
    body = fork_decision.body_of(signed, decision)
    return Judged(answer=Answer(statement=digest), body=body)


def accepted(
    work: Work,
    signed: SignedFork,
    people: People | None,
    *,
    origin: str,
    vkeys: Sequence[Vkey],
) -> Decision:
    """The decision, when the log may go on by it; raises `RefusedError`."""
    # 1. it is about this log                       4. two administrators in force signed it,
    # 2. the checkpoint to go on from is in it         with keys that were not revoked meanwhile
    # 3. what it gives up is not: else nothing forked
    decision = fork_decision.read(signed.statement, vkeys)  # 1
    if signed.statement.log != origin:
        raise ForkError(f"it is about {signed.statement.log}, this log is {origin}")
    newest = newest_checkpoint(work)
    if newest is None:
        raise ForkError("there is no checkpoint of this log yet")
    tree, leaves = LogTree(), leaf_hashes(work)
    tree.follow(newest.size, newest.root, leaves=leaves)

    def is_ours(one: Checkpoint) -> bool:
        return one.size <= newest.size and tree.root(one.size, leaves=leaves) == one.root

    if not is_ours(decision.go_on):  # 2
        raise ForkError("the checkpoint it names to go on from is not of this log")
    for one in decision.given_up:  # 3
        if is_ours(one):
            raise ForkError(f"this log has the {one.size} entries that it gives up")
    for claim in fork_decision.claims(signed, people):  # 4
        _demand_good(work, people, claim)
    return decision


def answered(folder: Path) -> Answer | None:
    """The last answer; None where there is none that can be read."""
    try:
        return records.from_json((folder / ANSWER).read_bytes(), Answer)
    except (OSError, RefusedError):
        return None


def _read(path: Path) -> SignedFork:
    data = path.read_bytes()[: MAX_REQUEST_BYTES + 1]
    if len(data) > MAX_REQUEST_BYTES:
        raise ForkError(f"the request has more than {MAX_REQUEST_BYTES} bytes")
    return records.from_json(data, SignedFork)


def _demand_good(work: Work, people: People | None, claim: Claim) -> None:
    if people is None or claim.credential not in usable(work, people, claim.operator):
        raise ForkError(f"the key of {claim.operator} was revoked")
    verify(claim)
