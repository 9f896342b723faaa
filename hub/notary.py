"""The only writer of the audit log, and the only process that holds its key.

Takes outbox rows in order and, for each group: writes their lines and syncs, signs a checkpoint
and keeps it, indexes them in PostgreSQL and lets the rows go. What a crash leaves between these
is told in `hub/segments.py`; the rows stay in the outbox until they are indexed, and an id that
is in the log already is not written again, so every crash is answered by doing the same again.
While the log cannot be signed, because Vault does not answer or the key's epoch is over, nothing
more is taken, the console is told why, and approvals are closed.
"""

import hashlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from appliance import __version__, records
from appliance.ids import uuid7
from audit.entry import Actor, EntryDraft, moment
from audit.errors import EntryError, NoteError
from audit.signer import LogKeys
from hub.epoch_keys import EpochKeys
from hub.errors import DatabaseError, SigningError
from hub.log_keys import PUBLISHED_LIST, PUBLISHED_ROOT, keys_of, list_in_force
from hub.persist import log_index
from hub.persist.database import Database
from hub.persist.in_force import tell_settings
from hub.persist.listen import Listener
from hub.persist.log_index import NotaryLock
from hub.persist.status import beat
from hub.segment_tail import Appended
from hub.segments import NOTARY, IndexedState, SegmentLog
from hub.settings import NotarySettings
from vault.errors import VaultError
from vault.transit import TransitSigner

BEAT_S = 5.0
LOOK_AGAIN_S = 1.0  # a notification may be lost; no entry waits longer than this
RETRY_S = 1.0
SOON = timedelta(days=30)  # before the last epoch ends
AHEAD = timedelta(minutes=30)  # an entry further in the future would look later than its epoch

OUR_OWN = frozenset(
    [
        "log.open",
        "log.resume",
        "log.recovery",
        "log.fork",
        "key.rotate",
        "key.epochs",
        "time.status",
    ]
)
"""What the notary alone says: from the outbox, it would be somebody else saying it."""

_CANNOT_SIGN = (SigningError, VaultError, NoteError)

_log = logging.getLogger(__name__)


def run(settings: NotarySettings) -> int:
    """Write the log until SIGTERM; 0 when it ended as asked."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    check(settings)
    with Database(settings.dsn, size=2) as db, _one_at_a_time(settings, stop) as lock:
        if lock is None:
            return 0
        keys, second = keys_of(settings)
        log = _open_once_it_signs(settings, db, keys, stop)
        if log is None:
            return 0
        try:
            Notary(db=db, log=log, lock=lock, settings=settings, second=second).run(stop)
        finally:
            log.close()
    return 0


def check(settings: NotarySettings) -> None:
    """Read the keys; raises with what is wrong with them."""
    keys_of(settings)


@dataclass(slots=True, kw_only=True)
class Notary:
    """Moves what waits in the outbox into the log."""

    db: Database
    log: SegmentLog
    lock: NotaryLock
    settings: NotarySettings
    second: TransitSigner | None = None
    _last_entry: float = field(default_factory=time.monotonic)
    _last_beat: float = -BEAT_S
    _last_ready: float = -BEAT_S
    _trouble: str | None = None  # why nothing can be signed

    def run(self, stop: threading.Event) -> None:
        """Turn until told to stop. A disk that fails raises and ends the process: fail closed."""
        listener = Listener(self.db.dsn, channels=("sentinel_outbox",))
        complained = False
        while not stop.is_set():
            try:
                busy = self.turn()
                self._tell(None)
                complained = False
            except (DatabaseError, *_CANNOT_SIGN) as error:
                if not complained:
                    _log.error("the log waits: %s", error)
                    complained = True
                if not isinstance(error, DatabaseError):
                    self._tell(str(error))
                stop.wait(RETRY_S)
                continue
            if not busy:
                listener.wait(LOOK_AGAIN_S)
        listener.close()

    def turn(self) -> bool:
        """Write and index one group; whether there was one."""
        self._beat()
        self.log.checkpoint()  # what a signer that did not answer left unsigned
        self._index_the_rest()
        self._rotate_when_due()
        self._take_decision()
        self._demand_signers()
        rows = log_index.waiting(self.db, most=self.settings.group)
        drafts = [_draft(row) for row in rows]
        if not drafts and time.monotonic() - self._last_entry >= self.settings.idle_checkpoint_s:
            drafts = [_time_status()]
        if not drafts:
            return False
        appended = self._append(drafts)
        # From here on the lines are on disk: a restart signs and indexes them, and finds the same
        # rows in the outbox, whose ids it knows.
        self.log.checkpoint()
        # From here on the entries count: signed, and kept. A restart indexes them.
        self._index(appended)
        self._last_entry = time.monotonic()
        return bool(rows)

    def _rotate_when_due(self) -> None:
        """Change the key at its epoch's end, or when asked; the steps are in `epoch_keys`."""
        if not isinstance(self.log.keys, EpochKeys):
            return
        while (reason := self.log.keys.due()) is not None:
            self.log.checkpoint()  # 1
            made = self.log.record("key.rotate", self.log.keys.begin(reason))  # 2 to 4
            self._index([made])

    def _take_decision(self) -> None:
        """Record what administrators decided about a log that was set back, when they ask."""
        request = self.settings.folder / "fork.decision"
        if not request.exists():
            return
        from hub import fork_decisions  # noqa: PLC0415 - large libraries, needed once in years

        judged, made = fork_decisions.judge_for(self.settings, self.db, self.log.keys.trusted), None
        if judged.body is not None:
            made = self.log.record("log.fork", judged.body)
            # From here on a restart finds the entry, and answers the request with its number.
            self._index([made])
        self.log.publish("fork.answer", judged.answered(made.seq if made else None))
        request.unlink()  # a crash before it is answered the same again

    def _append(self, drafts: Sequence[EntryDraft]) -> list[Appended]:
        """Append a group; a row that has no line is written as a note of that, by its id."""
        try:
            return self.log.append(drafts)
        except EntryError:
            return [made for draft in drafts for made in self._append_one(draft)]

    def _append_one(self, draft: EntryDraft) -> list[Appended]:
        try:
            return self.log.append([draft])
        except EntryError as error:
            _log.error("entry %s of type %s has no line: %s", draft.id, draft.type, error)
            return self.log.append([_without_body(draft, error)])

    def _index_the_rest(self) -> None:
        """What an earlier crash or a lost connection left unindexed."""
        rest = self.log.unindexed()
        while group := list(islice(rest, self.settings.group)):
            self._index(group)

    def _index(self, appended: Sequence[Appended]) -> None:
        signed = self.log.signed
        if signed is None:
            raise DatabaseError("there is no checkpoint to index")
        log_index.index(
            self.db,
            [_index_row(made) for made in appended],
            size=signed.size,
            root=signed.root.hex(),
            note=self.log.note,
            signed_at=datetime.now(UTC),
        )
        self.log.indexed_to(max(made.seq for made in appended) + 1)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last_beat < BEAT_S:
            return
        self._last_beat = now
        if not self.lock.held:
            self.lock.close()
            self.lock = NotaryLock(self.db.dsn)
        self._say_alive()

    def _demand_signers(self) -> None:
        """Take nothing that could not be signed; Vault is asked now and then, even when idle."""
        self.log.keys.signers()
        if isinstance(self.log.keys, EpochKeys):
            self.log.keys.demand_time()
        now = time.monotonic()
        if self.second is not None and (self._trouble or now - self._last_ready >= BEAT_S):
            self.second.ready()
            self._last_ready = now

    def _tell(self, trouble: str | None) -> None:
        """Let the console know at once when signing stops, and when it goes on."""
        if trouble != self._trouble:
            self._trouble = trouble
            with suppress(DatabaseError):
                self._say_alive()

    def _say_alive(self) -> None:
        detail: dict[str, Any] = {"size": self.log.size, "trouble": self._trouble}
        if isinstance(self.log.keys, EpochKeys):
            epochs = self.log.keys.epochs.epochs
            detail |= {"epoch": self.log.keys.current.epoch, "keys_end": epochs[-1].not_after}
        _beat_now(self.db, detail)


def _beat_now(db: Database, detail: dict[str, Any]) -> None:
    beat(db, part="notary", instance=f"{os.uname().nodename}:{os.getpid()}", detail=detail)


def _open_once_it_signs(
    settings: NotarySettings, db: Database, keys: LogKeys, stop: threading.Event
) -> SegmentLog | None:
    """The log, as soon as it can be signed; None when told to stop before."""
    complained = False
    while not stop.is_set():
        try:
            return _open(settings, db, keys)
        except (DatabaseError, *_CANNOT_SIGN) as error:
            if not complained:
                _log.error("the log waits: %s", error)
                complained = True
            with suppress(DatabaseError):
                _beat_now(db, {"trouble": str(error)})
            stop.wait(RETRY_S)
    return None


def _open(settings: NotarySettings, db: Database, keys: LogKeys) -> SegmentLog:
    indexed = log_index.how_far(db)
    same = indexed.checkpoint_size == indexed.size
    log = SegmentLog.open(
        settings.folder,
        origin=settings.origin,
        signer=keys,
        indexed=IndexedState(
            size=indexed.size, root=indexed.checkpoint_root if same and indexed.size else None
        ),
        next_inc_seq=lambda incident: log_index.next_inc_seq(db, incident),
    )
    _log.info("log %s has %d entries, %d indexed", settings.origin, log.size, indexed.size)
    try:
        if log.size > 1:
            log.record("log.resume", {"size": log.size, "version": __version__})
        tell_settings(db, "notary", settings)
        if isinstance(keys, EpochKeys):
            _put_list_in_force(settings, log, keys)
    except BaseException:
        log.close()
        raise
    return log


def _put_list_in_force(settings: NotarySettings, log: SegmentLog, keys: EpochKeys) -> None:
    """Record a list of epochs that was not in force before, then publish it beside the log."""
    epochs = keys.epochs
    end = moment(epochs.epochs[-1].not_after)
    if end - datetime.now(UTC) < SOON:
        _log.warning("the list of epochs ends %s: have the security officer certify more", end)
    if settings.epochs is None or settings.epoch_root is None or list_in_force(settings) == epochs:
        return
    root = settings.epoch_root.read_bytes()
    body = {
        "sequence": epochs.sequence,
        "list_digest": epochs.digest,
        "root_vkey": root.decode("ascii").strip(),
        "epochs": len(epochs.epochs),
        "revoked": [one.epoch for one in epochs.epochs if one.revoked is not None],
    }
    log.record("key.epochs", body)
    # A crash here leaves the list unpublished: the next start records and publishes it again.
    log.publish(PUBLISHED_ROOT, root)
    log.publish(PUBLISHED_LIST, settings.epochs.read_bytes())


@contextmanager
def _one_at_a_time(settings: NotarySettings, stop: threading.Event) -> Iterator[NotaryLock | None]:
    """The notary's lock, as soon as PostgreSQL is there; None when told to stop before."""
    lock, complained = None, False
    while lock is None and not stop.is_set():
        try:
            lock = NotaryLock(settings.dsn)
        except DatabaseError as error:
            if not complained:
                _log.warning("waiting: %s", error)
                complained = True
            stop.wait(RETRY_S)
    try:
        yield lock
    finally:
        if lock is not None:
            lock.close()


def _draft(row: dict[str, Any]) -> EntryDraft:
    at, now = row["at"].astimezone(UTC), datetime.now(UTC)
    if at > now + AHEAD:
        _log.error(
            "entry %s says %s, which is in the future: a clock is wrong", row["entry_id"], at
        )
        at = now
    draft = EntryDraft(
        id=str(row["entry_id"]),
        at=at,
        type=row["type"],
        actor=records.from_builtins(row["actor"], Actor),
        body=row["body"],
        incident=str(row["incident"]) if row["incident"] else None,
        outcome=row["outcome"],
    )
    if draft.type in OUR_OWN or draft.actor.kind == NOTARY.kind:
        _log.error("entry %s of type %s claims to be the notary's", draft.id, draft.type)
        return _without_body(draft, EntryError("only the notary writes this, and it did not"))
    return draft


def _without_body(draft: EntryDraft, error: EntryError) -> EntryDraft:
    digest = hashlib.sha256(records.to_json(draft.body)).hexdigest()
    return EntryDraft(
        id=draft.id,
        at=draft.at,
        type="redaction",
        actor=NOTARY,
        incident=draft.incident,
        body={"entry_type": draft.type[:100], "reason": str(error)[:500], "body_sha256": digest},
    )


def _time_status() -> EntryDraft:
    """An entry that says only when, so that silence is evidence."""
    now = datetime.now(UTC)
    body = {"monotonic_ms": time.monotonic_ns() // 1_000_000}
    return EntryDraft(id=uuid7(), at=now, type="time.status", actor=NOTARY, body=body)


def _index_row(made: Appended) -> dict[str, Any]:
    entry = made.entry
    return {
        "seq": entry.seq,
        "entry_id": entry.id,
        "ts": entry.ts,
        "type": entry.type,
        "actor": f"{entry.actor.kind} {entry.actor.id}",
        "incident": entry.incident,
        "inc_seq": entry.inc_seq,
        "leaf_hash": made.leaf_hash,
        "line": made.line.decode(),
    }
