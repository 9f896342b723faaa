"""The log's files: append durably, sign, and know after a crash what is there.

The I/O half of the notary, without a database. Formats and decisions are in `audit/`; here is the
order in which bytes reach the disk, and at each committing line what a restart finds after it. One
group of entries goes: lines written and synced (`append`), then checkpoint signed and kept
(`checkpoint`), then indexed by the caller, who says so (`indexed_to`).

An id that is already in the log is not written again. Of the indexed entries the caller knows the
ids (the index is unique); those of the unindexed tail, usually one group, are remembered here.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, Self

import msgspec

from appliance.ids import uuid7
from audit.chain import GENESIS, Head, after, following
from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint, split_notes
from audit.entry import MAX_LINE_BYTES, Actor, Entry, EntryDraft, decode, encode_and_read, leaf_hash
from audit.errors import EntryError
from audit.merkle import Range
from audit.note import Signer, parse_vkey
from audit.recovery import MAX_UNSIGNED, Known, Walk, rollback
from hub.errors import NotaryError

SEGMENT_ENTRIES = 65_536  # 2^16: a sealed segment is one complete subtree
NOTARY = Actor(kind="notary", id="notary", node=None, session=None)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

NextIncSeq = Callable[[str], int]
"""The number of indexed entries of an incident, which is the `inc_seq` of its next one."""


class RollbackError(NotaryError):
    """The log on disk is shorter or other than what was signed or indexed; it is not continued."""

    code = "rollback"


class DiskLiesError(NotaryError):
    """The disk did not keep what it was given; after a restart the log says what is there."""

    code = "disk"


class LogFullError(NotaryError):
    """There is no room for the log; make room, then start the notary again."""

    code = "disk-full"


class LogLockedError(NotaryError):
    """Another notary has this log open."""

    code = "locked"


class IndexedState(msgspec.Struct, frozen=True, kw_only=True):
    """How far the index is: so many entries, and the hex root it keeps for just that size."""

    size: int = 0
    root: str | None = None


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that is on disk."""

    entry: Entry
    line: bytes  # canonical, without newline
    leaf_hash: bytes

    @property
    def seq(self) -> int:
        """Its place in the log."""
        return self.entry.seq


class Disk:
    """The system calls of the write path; doubles fail, lie or stop at any of them."""

    def write(self, fd: int, data: memoryview) -> int:
        """Write some of the data; the answer says how much, which may be less than all."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """When it returns, the file's bytes and length are on disk."""
        os.fdatasync(fd)

    def sync_folder(self, fd: int) -> None:
        """When it returns, the folder's names are on disk."""
        os.fsync(fd)

    def truncate(self, fd: int, size: int) -> None:
        """As ftruncate(2)."""
        os.ftruncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        """As rename(2); durable once the folder is synced."""
        source.replace(target)


class _File:
    """One file that only grows, through a `Disk`."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self._disk = disk
        fresh = not path.exists()
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if fresh:
            _sync_folder(path.parent, disk)

    def append(self, data: bytes) -> None:
        """Write and sync; on a full disk the file is set back to the length it had."""
        before = os.fstat(self.fd).st_size
        try:
            _write_all(self.fd, data, self._disk)
        except OSError as error:
            if error.errno in _FULL:
                with contextlib.suppress(OSError):
                    self._disk.truncate(self.fd, before)
            raise
        self._disk.sync(self.fd)

    def close(self) -> None:
        os.close(self.fd)


class SegmentLog:
    """One log in one folder, open for writing by one process. Not for use by several threads."""

    def __init__(
        self,
        folder: Path,
        *,
        origin: str,
        signer: Signer,
        next_inc_seq: NextIncSeq,
        disk: Disk,
        now: Callable[[], datetime],
        segment_entries: int,
    ) -> None:
        self.folder, self.origin = folder, origin
        self._signer, self._disk, self._now = signer, disk, now
        self._next_inc_seq = next_inc_seq
        self._per_segment = segment_entries
        self._head, self._tree = Head(size=0, prev=GENESIS), Range()
        self._signed: Checkpoint | None = None
        self._note = ""
        self._indexed = 0
        self._ids: dict[str, int] = {}  # of the unindexed tail
        self._incidents: dict[str, tuple[int, int]] = {}  # of the same: next inc_seq, last seq
        self._broken: NotaryError | None = None
        self._segment: _File | None = None
        self._notes: _File | None = None
        self._lock = -1

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        origin: str,
        signer: Signer,
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
        for part in ("seg", "checkpoints", "torn"):
            (folder / part).mkdir(mode=0o750, parents=True, exist_ok=True)
        log._take_lock()
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
        answer, fresh = self._build(drafts)
        if not fresh:
            return answer
        unsigned = self.size - (self._signed.size if self._signed else 0)
        if unsigned + len(fresh) > MAX_UNSIGNED:
            self.checkpoint()
        with self._failing_closed():
            self._write_lines(fresh)
        for made in fresh:
            self._remember(made.entry)
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
        note = sign_checkpoint(checkpoint, self._signer)
        with self._failing_closed():
            # A crash in this line leaves part of a note, which a restart moves to torn/; after it,
            # a restart finds this note newer than `checkpoint` and believes it: it is signed.
            self._notes_file(self.size - 1).append(note.encode() + b"\n")
            # A crash from here on leaves `checkpoint` old or new, never half: a restart takes the
            # larger of it and the last kept note.
            self._replace_file(self.folder / "checkpoint", note.encode())
        self._signed, self._note = checkpoint, note
        return note

    def unindexed(self) -> Iterator[Appended]:
        """The entries that the index lacks, in order, read from the files."""
        start = self._indexed
        while start < self.size:
            first = start - start % self._per_segment
            for line in islice(_lines(self._path(first)), start - first, None):
                yield _appended(line.rstrip(b"\n"))
            start = first + self._per_segment

    def indexed_to(self, size: int) -> None:
        """The caller's transaction is committed: the index has the first `size` entries."""
        self._indexed = max(self._indexed, size)
        self._ids = {id_: seq for id_, seq in self._ids.items() if seq >= size}
        self._incidents = {key: at for key, at in self._incidents.items() if at[1] >= size}

    def line(self, seq: int) -> bytes:
        """The canonical line of one entry, read from its file."""
        if not 0 <= seq < self.size:
            raise EntryError(f"there is no entry {seq}; the log has {self.size}")
        first = seq - seq % self._per_segment
        return next(islice(_lines(self._path(first)), seq - first, None)).rstrip(b"\n")

    def close(self) -> None:
        """Let the files and the lock go. Nothing is written: what was acknowledged is on disk."""
        for file in (self._segment, self._notes):
            if file is not None:
                file.close()
        self._segment = self._notes = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._broken = self._broken or NotaryError("the log is closed")

    # Writing

    def _build(self, drafts: Sequence[EntryDraft]) -> tuple[list[Appended], list[Appended]]:
        head, answer = self._head, []
        fresh: dict[str, Appended] = {}
        next_of: dict[str, int] = {}
        for draft in drafts:
            if draft.id in self._ids:
                answer.append(_appended(self.line(self._ids[draft.id])))
                continue
            if draft.id not in fresh:
                inc_seq = self._number(draft.incident, next_of)
                entry = following(draft, log=self.origin, head=head, inc_seq=inc_seq)
                line, entry = encode_and_read(entry)
                made = Appended(entry=entry, line=line, leaf_hash=leaf_hash(line))
                fresh[draft.id] = made
                head = Head(size=made.seq + 1, prev=made.leaf_hash.hex())
            answer.append(fresh[draft.id])
        return answer, list(fresh.values())

    def _number(self, incident: str | None, next_of: dict[str, int]) -> int | None:
        if incident is None:
            return None
        if incident not in next_of:
            known = self._incidents.get(incident)
            next_of[incident] = self._next_inc_seq(incident) if known is None else known[0]
        next_of[incident] += 1
        return next_of[incident] - 1

    def _write_lines(self, fresh: list[Appended]) -> None:
        while fresh:
            first = fresh[0].seq - fresh[0].seq % self._per_segment
            room = first + self._per_segment - fresh[0].seq
            now, fresh = fresh[:room], fresh[room:]
            file = self._segment_file(first)
            # A crash in this line leaves some whole lines and perhaps a part of one, a restart
            # signs the whole ones and moves the part to torn/. After it, a restart finds the lines,
            # signs them and gives them to be indexed; the outbox offers them again, and the ids
            # make that harmless.
            file.append(b"".join(made.line + b"\n" for made in now))
            if len(now) == room:
                os.fchmod(file.fd, 0o440)  # sealed; only a hint to people, the tree is the seal

    def _remember(self, entry: Entry) -> None:
        self._ids[entry.id] = entry.seq
        if entry.incident is not None and entry.inc_seq is not None:
            self._incidents[entry.incident] = (entry.inc_seq + 1, entry.seq)

    def _segment_file(self, first: int) -> _File:
        path = self._path(first)
        if self._segment is None or self._segment.path != path:
            if self._segment is not None:
                self._segment.close()
            self._segment = _File(path, self._disk)
        return self._segment

    def _notes_file(self, seq: int) -> _File:
        path = self.folder / "checkpoints" / self._notes_name(seq)
        if self._notes is None or self._notes.path != path:
            if self._notes is not None:
                self._notes.close()
            self._notes = _File(path, self._disk)
        return self._notes

    def _replace_file(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(path.name + ".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            _write_all(fd, data, self._disk)
            self._disk.sync(fd)
        finally:
            os.close(fd)
        self._disk.replace(temporary, path)
        _sync_folder(path.parent, self._disk)

    @contextlib.contextmanager
    def _failing_closed(self) -> Iterator[None]:
        """Any error of the disk ends this instance: what is on disk is only known after reading."""
        try:
            yield
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        if error.errno in _FULL:
            self._broken = LogFullError(f"{self.folder}: {error.strerror}; the log takes no more")
        else:
            self._broken = DiskLiesError(f"{self.folder}: {error}; the log takes nothing more")
        raise self._broken from error

    def _demand_health(self) -> None:
        if self._broken is not None:
            raise type(self._broken)(str(self._broken))

    # Recovery

    def _recover(self, indexed: IndexedState) -> None:
        # 1. the log is of this key             5. cut what does not follow, into torn/
        # 2. read the last signed checkpoint    6. begin a new log with log.open
        # 3. follow the lines                   7. record what was torn
        # 4. refuse a rollback: until here      8. sign what is not signed
        #    nothing on disk is changed
        self._demand_own_key()  # 1
        self._indexed = indexed.size
        torn_note = self._read_signed()  # 2
        remembered = self._remembered(indexed)
        walk, cut = self._follow(remembered, cached=True)  # 3
        if rollback(walk, remembered=remembered, signed=self._signed):
            walk, cut = self._follow(remembered, cached=False)  # a kept subtree root may be wrong
        reason = rollback(walk, remembered=remembered, signed=self._signed)
        if reason:  # 4
            raise RollbackError(f"{self.folder}: {reason}")
        self._head, self._tree = walk.head, walk.tree
        with self._failing_closed():
            for path, offset in [*cut, *torn_note]:  # 5
                self._tear_off(path, offset)
            if not (self.folder / "log.vkey").exists():
                self._replace_file(self.folder / "log.vkey", f"{self._signer.vkey}\n".encode())
            self._publish_again()
        if self.size == 0:  # 6
            self.append([self._own_entry("log.open", {"vkey": self._signer.vkey, "format": 1})])
        self._record_torn()  # 7
        self.checkpoint()  # 8

    def _demand_own_key(self) -> None:
        vkey = parse_vkey(self._signer.vkey)
        if vkey.name != self.origin:
            raise NotaryError(f"the signer is of {vkey.name}, the log is {self.origin}")
        pinned = self.folder / "log.vkey"
        if pinned.exists() and pinned.read_text().strip() != self._signer.vkey:
            raise NotaryError(f"{pinned}: the log was begun under another key than the signer's")

    def _read_signed(self) -> list[tuple[Path, int]]:
        """Set the last checkpoint; the answer says where a kept note was torn."""
        found: list[tuple[Checkpoint, str]] = []
        torn: list[tuple[Path, int]] = []
        vkeys = [parse_vkey(self._signer.vkey)]
        notes_files = sorted((self.folder / "checkpoints").glob("*.notes"))
        for path in reversed(notes_files):
            data = path.read_bytes()
            notes, end = split_notes(data)
            if end < len(data):
                torn.append((path, end))
            if notes:
                found.append((open_checkpoint(notes[-1], vkeys), notes[-1]))
                break
        with contextlib.suppress(FileNotFoundError):
            note = (self.folder / "checkpoint").read_bytes().decode(errors="replace")
            found.append((open_checkpoint(note, vkeys), note))
        if found:
            self._signed, self._note = max(found, key=lambda pair: pair[0].size)
        return torn

    def _remembered(self, indexed: IndexedState) -> list[Known]:
        root = None if indexed.root is None else bytes.fromhex(indexed.root)
        remembered = [Known(who="the database", size=indexed.size, root=root)]
        if self._signed is not None:
            signed = self._signed
            remembered.append(
                Known(who="the signed checkpoint", size=signed.size, root=signed.root)
            )
        return remembered

    def _follow(
        self, remembered: list[Known], *, cached: bool
    ) -> tuple[Walk, list[tuple[Path, int]]]:
        """Walk the lines to where they end or stop following; the answer says what to cut."""
        self._ids, self._incidents = {}, {}
        sizes = frozenset(known.size for known in remembered)
        first = max(0, min(sizes) - 1) // self._per_segment * self._per_segment
        walk = self._start_walk(first, hashed_below=min(sizes), cached=cached)
        paths = [p for p in self._paths() if int(p.stem) >= first]
        for path in paths:
            offset = 0
            for line in _lines(path):
                try:
                    self._demand_place(path, walk.head.size)
                    entry = walk.take(line, wanted=sizes)
                except EntryError:
                    rest = paths[paths.index(path) + 1 :]
                    return walk, [(path, offset), *((later, 0) for later in rest)]
                offset += len(line)
                if entry is not None and entry.seq >= self._indexed:
                    self._remember(entry)
        return walk, []

    def _demand_place(self, path: Path, seq: int) -> None:
        if path != self._path(seq - seq % self._per_segment):
            raise EntryError(f"{path}: entry {seq} does not belong here")

    def _start_walk(self, first: int, *, hashed_below: int, cached: bool) -> Walk:
        tree, head = Range(), Head(size=0, prev=GENESIS)
        level = self._per_segment.bit_length() - 1
        for start in range(0, first, self._per_segment):
            path = self._path(start)
            if not path.exists():
                raise RollbackError(f"{path}: the segment is missing")
            tree.append_subtree(level, self._segment_root(path, cached=cached))
        if first:
            line = _last_line(self._path(first - self._per_segment))
            head = after(Head(size=first - 1, prev=""), line)
        return Walk(log=self.origin, head=head, tree=tree, hashed_below=hashed_below)

    def _segment_root(self, path: Path, *, cached: bool) -> bytes:
        """The root of a sealed segment, kept beside it; the signed root above checks it."""
        kept = path.with_suffix(".root")
        if cached:
            with contextlib.suppress(OSError, ValueError):
                root = bytes.fromhex(kept.read_text())
                if len(root) == hashlib.sha256().digest_size:
                    return root
        tree = Range()
        for line in _lines(path):
            tree.append(leaf_hash(line.rstrip(b"\n")))
        if tree.size != self._per_segment:
            raise RollbackError(
                f"{path}: {tree.size} entries, a sealed segment has {self._per_segment}"
            )
        with contextlib.suppress(OSError):  # only a help to the next start
            kept.write_text(tree.root().hex())
        return tree.root()

    def _publish_again(self) -> None:
        """Where a crash or a hand left one of the two places of the last note without it."""
        if self._signed is None:
            return
        kept = self.folder / "checkpoints" / self._notes_name(self._signed.size - 1)
        if not kept.exists() or self._note.encode() not in kept.read_bytes():
            self._notes_file(self._signed.size - 1).append(self._note.encode() + b"\n")
        published = self.folder / "checkpoint"
        if not published.exists() or published.read_bytes() != self._note.encode():
            self._replace_file(published, self._note.encode())

    def _notes_name(self, seq: int) -> str:
        return f"{seq - seq % self._per_segment:012}.notes"

    def _tear_off(self, path: Path, offset: int) -> None:
        """Move the bytes from `offset` on to torn/, to be recorded by `_record_torn`."""
        data = path.read_bytes()[offset:]
        pending = list((self.folder / "torn").glob("*.pending"))
        if data and all(kept.read_bytes() != data for kept in pending):
            self._replace_file(self.folder / "torn" / f"{uuid7()}.pending", data)
        # A crash here leaves the bytes in both places; a restart cuts again and knows the copy.
        path.chmod(0o640)
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._disk.truncate(fd, offset)
            self._disk.sync(fd)
        finally:
            os.close(fd)

    def _record_torn(self) -> None:
        for path in sorted((self.folder / "torn").glob("*.pending")):
            data = path.read_bytes()
            body = {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            self.append([self._own_entry("log.recovery", body, id_=path.stem)])
            # A crash here leaves the entry and `.pending`: the entry's id is the file's name, and
            # it is still unindexed, so a restart does not write it twice.
            with self._failing_closed():
                self._disk.replace(path, path.with_suffix(".bin"))
                _sync_folder(path.parent, self._disk)

    def _own_entry(self, type_: str, body: dict[str, Any], *, id_: str | None = None) -> EntryDraft:
        return EntryDraft(id=id_ or uuid7(), at=self._now(), type=type_, actor=NOTARY, body=body)

    def _take_lock(self) -> None:
        self._lock = os.open(
            self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = -1
            raise LogLockedError(f"{self.folder}: another notary has this log open") from error

    def _path(self, first: int) -> Path:
        return self.folder / "seg" / f"{first:012}.jsonl"

    def _paths(self) -> list[Path]:
        return sorted((self.folder / "seg").glob("[0-9]*.jsonl"))


def _appended(line: bytes) -> Appended:
    return Appended(entry=decode(line), line=line, leaf_hash=leaf_hash(line))


def _lines(path: Path) -> Iterator[bytes]:
    """The lines with their newlines; one that is longer than any entry comes in pieces."""
    try:
        with path.open("rb") as file:
            yield from iter(partial(file.readline, MAX_LINE_BYTES + 2), b"")
    except FileNotFoundError as error:
        raise RollbackError(f"{path}: the segment is missing") from error


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MAX_LINE_BYTES - 2))
        return file.read().rstrip(b"\n").rpartition(b"\n")[2]


def _write_all(fd: int, data: bytes, disk: Disk) -> None:
    view = memoryview(data)
    while view:
        view = view[disk.write(fd, view) :]


def _sync_folder(folder: Path, disk: Disk) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        disk.sync_folder(fd)
    finally:
        os.close(fd)
