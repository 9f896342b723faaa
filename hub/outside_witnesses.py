"""Witnesses that are no nodes: each is asked to cosign what the nodes are offered, in its own time.

One thread for each, so that a slow one keeps nobody waiting; the notary and the nodes never wait
for any. A witness that has seen more of the log than there is, or another history, is an alarm like
a node's: the hub was set back, or somebody shows two histories.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from tenacity import RetryCallState, wait_random_exponential

from hub.errors import DatabaseError, NotaryError
from hub.log_tree import LogTree
from hub.outside_witness import Outside, Said, ask, client
from hub.persist.database import Database, Work
from hub.persist.outbox import actor, offer
from hub.persist.witness import KEPT_COSIGNATURES, Newest, leaf_hashes, newest_checkpoint
from hub.witnesses import Witnesses

LOOK_EVERY_S = 1.0
MOST_WAIT_S = 300.0  # between two tries at a witness that does not cosign
TRIES = 3  # of one checkpoint at once: a 409 tells where to start, and it may have moved on

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request: the proof leads from `old` to the target."""

    old: int
    path: tuple[bytes, ...] = ()
    target: Newest
    newest: int  # entries of our log


@dataclass(slots=True, kw_only=True)
class Submitter:
    """The hub's side of one witness."""

    db: Database
    witnesses: Witnesses
    one: Outside
    ca: Path | None = None
    _tree: LogTree = field(default_factory=LogTree)
    _failures: int = 0

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        with client(self.ca) as http:
            while not stop.wait(LOOK_EVERY_S):
                try:
                    well = self.turn(http)
                except (DatabaseError, NotaryError) as error:
                    _log.warning("witness %s waits: %s", self.one.key.name, error)
                    continue
                self._failures = 0 if well else self._failures + 1
                if not well and stop.wait(self._pause()):
                    return

    def turn(self, http: httpx.Client, *, tries: int = TRIES) -> bool:
        """Ask it to cosign the checkpoint that makes its round; whether all is well with it."""
        # 1. it has not cosigned this one yet     4. 409: it stands elsewhere, so the proof is made
        # 2. the proof starts where it stands        from there; before our log: an alarm
        # 3. a cosignature that verifies counts   5. it says our proof is none: an alarm
        question = self._question()  # 1 and 2
        if question is None:
            return True
        note = question.target.note
        said = ask(http, self.one, old=question.old, path=question.path, note=note)
        if said.size is not None and question.old != said.size <= question.newest and tries > 1:
            with self.db.transaction() as work:  # 4
                work.run("outside_moved", name=self.one.key.name, size=said.size)
            return self.turn(http, tries=tries - 1)
        with self.db.transaction() as work:
            if said.cosignature:
                self._cosigned(work, said.cosignature, question.target)  # 3
            else:
                self._refused(work, said, question)  # 4 and 5
        return bool(said.cosignature)

    def _question(self) -> Question | None:
        """What to ask next; None: it has cosigned what there is."""
        name = self.one.key.name
        with self.db.transaction() as work:
            row, newest = work.one("outside_state", name=name), newest_checkpoint(work)
            target = self.witnesses.current(newest)
            if row is None or newest is None or target is None:
                return None
            old = int(row["size"])
            if old > newest.size:  # it stands before our log: ask, to hear whether it still does
                return Question(old=newest.size, target=newest, newest=newest.size)
            there = work.one("outside_there", name=name, size=old, root=target.root.hex())
            if old > target.size or (old == target.size and there is not None):
                return None
            leaves = leaf_hashes(work)
            self._tree.follow(newest.size, newest.root, leaves=leaves)
            path = self._tree.consistency(old, target.size, leaves=leaves)
            return Question(old=old, path=path, target=target, newest=newest.size)

    def _cosigned(self, work: Work, line: str, target: Newest) -> None:
        name, now, size = self.one.key.name, datetime.now(UTC), target.size
        row = work.one("outside_state", name=name)
        if row is None:
            return
        root = target.root.hex()
        work.run("outside_cosigned", name=name, size=size, root=root, cosignature=line, now=now)
        work.run("outside_prune", name=name, keep=KEPT_COSIGNATURES)
        work.run("outside_said", name=name, size=size, trouble="", alarm=False, now=now)
        if row["alarmed_at"] is not None:
            body = {"node": name, "size": size}
            offer(work, type="witness.clear", actor=actor("witness", name), at=now, body=body)

    def _refused(self, work: Work, said: Said, question: Question) -> None:
        """An alarm stays until it cosigns again, whatever else goes wrong with it meanwhile."""
        name, now = self.one.key.name, datetime.now(UTC)
        row = work.one("outside_state", name=name)
        if row is None:
            return
        before, why = row["alarmed_at"] is not None, _alarm(said, question)
        trouble = why or (row["trouble"] if before else said.why)
        alarm, size = bool(why) or before, row["size"] if said.size is None else said.size
        work.run("outside_said", name=name, size=size, trouble=trouble, alarm=alarm, now=now)
        if alarm and not before:
            _log.critical("witness %s does not follow the audit log: %s", name, trouble)
            body, by = {"node": name, "reason": trouble}, actor("witness", name)
            offer(work, type="witness.refuse", actor=by, at=now, outcome="refused", body=body)
        elif trouble != row["trouble"]:
            _log.warning("witness %s does not cosign: %s", name, trouble)

    def _pause(self) -> float:
        state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        state.attempt_number = self._failures
        return float(wait_random_exponential(multiplier=1, max=MOST_WAIT_S)(state))


def start(
    db: Database,
    witnesses: Witnesses,
    named: Sequence[Outside],
    *,
    ca: Path | None,
    stop: threading.Event,
) -> list[threading.Thread]:
    """Ask each of these in a thread of its own, until told to stop."""
    with db.transaction() as work:
        for one in named:
            work.run("outside_add", name=one.key.name, vkey=str(one.key), url=one.url)
        work.run("outside_drop", names=[one.key.name for one in named])
    threads = []
    for one in named:
        submitter = Submitter(db=db, witnesses=witnesses, one=one, ca=ca)
        name = f"witness {one.key.name}"[:60]
        threads.append(threading.Thread(target=submitter.run, args=(stop,), name=name, daemon=True))
        threads[-1].start()
    return threads


def _alarm(said: Said, question: Question) -> str:
    """Why what it says means that our log is not what it saw; empty: it means no such thing."""
    if said.size is not None and said.size > question.newest:
        return (
            f"it has cosigned {said.size} entries of the log, this hub has {question.newest}: "
            "the hub was set back, or is another one"
        )
    if said.size is not None and said.size == question.old:
        return f"it has cosigned another history of {said.size} entries"
    if said.unproven:
        return f"our log does not extend what it has cosigned ({said.why})"
    return ""
