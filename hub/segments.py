"""The log on disk: append durably, sign, and know after a crash what is there.

The I/O half of the notary, without a database. Formats and decisions are in `audit/`, the files in
`hub/segment_files.py`, what a restart does in `hub/segment_recovery.py`; here is the order in which
bytes reach the disk, and at each committing line what a restart finds after it. One group of
entries goes: lines written and synced (`append`), then checkpoint signed and kept (`checkpoint`),
then indexed by the caller, who says so (`indexed_to`).
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Self

import msgspec

from appliance.ids import uuid7
from audit.chain import GENESIS, Head
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.entry import Actor, EntryDraft
from audit.errors import EntryError
from audit.merkle import Range
from audit.note import Signer
from audit.recovery import MAX_UNSIGNED, Known
from audit.signer import LogKeys, PinnedKeys
from hub.errors import DiskLiesError, LogFullError, NotaryError
from hub.segment_files import FULL, Disk, LogFolder
from hub.segment_recovery import find, mend
from hub.segment_tail import Appended, NextIncSeq, Tail

SEGMENT_ENTRIES = 65_536  # 2^16: a sealed segment is one complete subtree
NOTARY = Actor(kind="notary", id="notary", node=None, session=None)


class IndexedState(msgspec.Struct, frozen=True, kw_only=True):
    """How far the index is: so many entries, and the hex root it keeps for just that size."""

    size: int = 0
    root: str | None = None


class SegmentLog:
    """One log in one folder, open for writing by one process. Not for use by several threads."""

    def __init__(
        self,
        folder: Path,
        *,
        origin: str,
        signer: Signer | LogKeys,
        next_inc_seq: NextIncSeq,
        disk: Disk,
        now: Callable[[], datetime],
        segment_entries: int,
    ) -> None:
        self.folder, self.origin = folder, origin
        self.keys = signer if isinstance(signer, LogKeys) else PinnedKeys(signer)
        self._now = now
        self._next_inc_seq = next_inc_seq
        self._files = LogFolder(folder, disk, segment_entries=segment_entries)
        self._head, self._tree = Head(size=0, prev=GENESIS), Range()
        self._signed: Checkpoint | None = None
        self._note = ""
        self._indexed = 0
        self._tail = Tail()
        self._broken: NotaryError | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        origin: str,
        signer: Signer | LogKeys,
        indexed: IndexedState,
        next_inc_seq: NextIncSeq,
        disk: Disk | None = None,
        now: Callable[[], datetime] | None = None,
        segment_entries: int = SEGMENT_ENTRIES,
    ) -> Self:
        """Open the log, or begin it, after making good what a crash left.

        Raises `RollbackError` (nothing on disk is changed then), `LogLockedError`, `DiskLiesError`,
        `LogFullError`, or the signer's own error. Afterwards every entry is signed, and
        `unindexed` gives the entries that the index lacks.
        """
        log = cls(
            folder,
            origin=origin,
            signer=signer,
            next_inc_seq=next_inc_seq,
            disk=disk or Disk(),
            now=now or partial(datetime.now, UTC),
            segment_entries=segment_entries,
        )
        log._files.open()
        try:
            log._recover(indexed)
        except BaseException:
            log.close()
            raise
        return log

    @property
    def size(self) -> int:
        """How many entries are on disk."""
        return self._head.size

    @property
    def signed(self) -> Checkpoint | None:
        """The last checkpoint that is on disk."""
        return self._signed

    @property
    def note(self) -> str:
        """The signed note of that checkpoint."""
        return self._note

    def append(self, drafts: Sequence[EntryDraft]) -> list[Appended]:
        """Write the drafts as the next entries; when this returns, they are on disk.

        The answer has one item a draft, in order; a draft whose id is in the unindexed tail gets
        the entry that is there. Raises `EntryError` when a draft has no canonical line (nothing
        was written then), `DiskLiesError` or `LogFullError` (the log takes nothing more).
        """
        self._demand_health()
        if len(drafts) > MAX_UNSIGNED:
            raise ValueError(f"at most {MAX_UNSIGNED} entries at once, got {len(drafts)}")
        answer, fresh = self._tail.build(
            drafts,
            log=self.origin,
            head=self._head,
            next_inc_seq=self._next_inc_seq,
            line_of=self.line,
        )
        if not fresh:
            return answer
        unsigned = self.size - (self._signed.size if self._signed else 0)
        if unsigned + len(fresh) > MAX_UNSIGNED:
            self.checkpoint()
        with self._failing_closed():
            self._write_lines(fresh)
        for made in fresh:
            self._tail.remember(made.entry)
            self._tree.append(made.leaf_hash)
            self._head = Head(size=made.seq + 1, prev=made.leaf_hash.hex())
        return answer

    def checkpoint(self) -> str:
        """Sign the log as it stands and keep the note; when this returns, it is on disk.

        Signing the same size again returns the same note. An error of the signer leaves the log
        as it was, and may be tried again.
        """
        self._demand_health()
        if self._signed is not None and self._signed.size == self.size:
            return self._note
        checkpoint = Checkpoint(origin=self.origin, size=self.size, root=self._tree.root())
        note = sign_checkpoint(checkpoint, *self.keys.signers())
        with self._failing_closed():
            # A crash in this line leaves part of a note, which a restart moves to torn/; after it,
            # a restart finds this note newer than `checkpoint` and believes it: it is signed.
            self._files.notes_file(self.size - 1).append(note.encode() + b"\n")
            # A crash from here on leaves `checkpoint` old or new, never half: a restart takes the
            # larger of it and the last kept note.
            self._files.replace(self._files.published, note.encode())
        self._signed, self._note = checkpoint, note
        with self._failing_closed():
            self.keys.signed(note)
        return note

    def record(self, type_: str, body: dict[str, Any]) -> Appended:
        """Write an entry of the notary's own and sign it, alone; as `append` and `checkpoint`."""
        self.checkpoint()
        made = self.append([self._own_entry(type_, body)])[0]
        self.checkpoint()
        return made

    def publish(self, name: str, data: bytes) -> None:
        """Put a file beside the log, for who verifies it; when this returns, it is on disk."""
        self._demand_health()
        with self._failing_closed():
            self._files.replace(self.folder / name, data)

    def unindexed(self) -> Iterator[Appended]:
        """The entries that the index lacks, in order, read from the files."""
        start = self._indexed
        while start < self.size:
            for line in self._files.lines_from(start):
                yield Appended.read(line)
            start = self._files.first_of(start) + self._files.segment_entries

    def indexed_to(self, size: int) -> None:
        """The caller's transaction is committed: the index has the first `size` entries."""
        self._indexed = max(self._indexed, size)
        self._tail.forget(below=size)

    def line(self, seq: int) -> bytes:
        """The canonical line of one entry, read from its file."""
        if not 0 <= seq < self.size:
            raise EntryError(f"there is no entry {seq}; the log has {self.size}")
        return next(self._files.lines_from(seq)).rstrip(b"\n")

    def close(self) -> None:
        """Let the files and the lock go. Nothing is written: what was acknowledged is on disk."""
        self._files.close()
        self._broken = self._broken or NotaryError("the log is closed")

    # Writing

    def _write_lines(self, fresh: list[Appended]) -> None:
        while fresh:
            seq = fresh[0].seq
            room = self._files.first_of(seq) + self._files.segment_entries - seq
            now, fresh = fresh[:room], fresh[room:]
            file = self._files.segment_file(seq)
            # A crash in this line leaves some whole lines and perhaps a part of one, a restart
            # signs the whole ones and moves the part to torn/. After it, a restart finds the lines,
            # signs them and gives them to be indexed; the outbox offers them again, and the ids
            # make that harmless.
            file.append(b"".join(made.line + b"\n" for made in now))
            if len(now) == room:
                os.fchmod(file.fd, 0o440)  # sealed; only a hint to people, the tree is the seal

    @contextlib.contextmanager
    def _failing_closed(self) -> Iterator[None]:
        """Any error of the disk ends this instance: what is on disk is only known after reading."""
        try:
            yield
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        if error.errno in FULL:
            self._broken = LogFullError(f"{self.folder}: {error.strerror}; the log takes no more")
        else:
            self._broken = DiskLiesError(f"{self.folder}: {error}; the log takes nothing more")
        raise self._broken from error

    def _demand_health(self) -> None:
        if self._broken is not None:
            raise type(self._broken)(str(self._broken))

    # Recovery

    def _recover(self, indexed: IndexedState) -> None:
        # The steps are listed in `hub/segment_recovery.py`.
        root = None if indexed.root is None else bytes.fromhex(indexed.root)
        known = Known(who="the database", size=indexed.size, root=root)
        keys = self.keys
        found = find(self._files, origin=self.origin, keys=keys, indexed=known)  # 1 to 4
        self._indexed, self._tail = indexed.size, found.tail
        self._head, self._tree = found.head, found.tree
        self._signed, self._note = found.signed, found.note
        with self._failing_closed():
            mend(self._files, found, vkey=keys.opening)  # 5
        self._end_rotation()
        if self.size == 0:  # 6
            self.append([self._own_entry("log.open", {"vkey": keys.opening, "format": 1})])
        self._record_torn()  # 7
        self.checkpoint()  # 8

    def _end_rotation(self) -> None:
        """What a change of keys left is done before anything else is signed."""
        start = self._signed.size if self._signed else 0
        lines = self._files.lines_from(start) if start < self.size else iter(())
        unsigned = [Appended.read(line).entry for line in lines]
        left = [entry.body for entry in unsigned if entry.type == "key.rotate"]
        body = self.keys.resume(self._note, left[-1] if left else None)
        if body is not None:  # the old key counts no more: the new one signs all there is
            self.append([self._own_entry("key.rotate", body)])
        if self.size:
            self.checkpoint()
        while self.size and (body := self.keys.overdue()) is not None:
            self.append([self._own_entry("key.rotate", body)])
            self.checkpoint()

    def _record_torn(self) -> None:
        for path in self._files.torn_files():
            data = path.read_bytes()
            body = {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            self.append([self._own_entry("log.recovery", body, id_=path.stem)])
            # A crash here leaves the entry and `.pending`: the entry's id is the file's name, and
            # it is still unindexed, so a restart does not write it twice.
            with self._failing_closed():
                self._files.rename(path, path.with_suffix(".bin"))

    def _own_entry(self, type_: str, body: dict[str, Any], *, id_: str | None = None) -> EntryDraft:
        return EntryDraft(id=id_ or uuid7(), at=self._now(), type=type_, actor=NOTARY, body=body)
