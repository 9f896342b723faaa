"""What the "verified" mark says, computed at every look and kept nowhere.

An entry is verified when the bytes that stand at its place in the segment file now lead, by an
inclusion proof, to the root of a checkpoint that is signed by the log's key. The key and the
checkpoint are read and the signature is checked at every look as well. Only the hashes between
leaf and root come from the index, through the tree that proofs for nodes are made with: a wrong one
cannot make a proof, only spoil it. Where anything cannot be read or does not fit, the mark says so;
nothing is taken for good because nothing was found.
"""

import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from audit import proof
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.entry import leaf_hash
from audit.epoch_notes import Demands
from audit.epochs import ROOT_SUFFIX, open_list
from audit.errors import AuditRefusedError, CheckpointError, EntryError
from audit.folder import latest
from audit.note import open_note, parse_vkey
from audit.proof_command import demand_counts
from audit.verify import SEGMENT_ENTRIES
from hub.console.log_lines import SegmentLines
from hub.console.log_marks import (
    ALTERED,
    INDEX_LIES,
    UNCHECKED,
    UNSIGNED,
    VERIFIED,
    Checked,
    State,
    readable,
)
from hub.console.words import Badge
from hub.errors import NotaryError
from hub.log_tree import LogTree
from hub.persist import log_search
from hub.persist.database import Database
from hub.persist.log_search import Row

LOOK_AGAIN_S = 60.0  # at a whole log that led to no signed root
STEP = SEGMENT_ENTRIES  # leaf hashes read at once: 2 MiB


@dataclass(slots=True)
class LogCheck:
    """The log's files and tree for one process. Safe between threads."""

    folder: Path | None
    vkey: Path | None  # the key to trust; None: the one in the folder
    lines: SegmentLines = field(init=False)
    _tree: LogTree = field(default_factory=LogTree)
    _lock: "threading.Lock" = field(default_factory=threading.Lock)
    _failed: tuple[float, tuple[int, bytes], str] | None = None

    def __post_init__(self) -> None:
        self.lines = SegmentLines(self.folder or Path("/nonexistent"))

    def demands(self) -> Demands:
        """The keys to trust, read now. Raises `AuditRefusedError` or `OSError`."""
        if self.folder is None:
            raise CheckpointError("no log folder")
        path = self.vkey or self.folder / (
            "root.vkey" if (self.folder / "epochs.note").exists() else "log.vkey"
        )
        key = parse_vkey(path.read_text(encoding="ascii"))
        if not key.name.endswith(ROOT_SUFFIX):
            return Demands(vkeys=(key,))
        epochs = open_list((self.folder / "epochs.note").read_text(encoding="utf-8"), key)
        return Demands(vkeys=epochs.vkeys, epochs=epochs)

    def key_options(self) -> list[str]:
        """The same key for `sentinel-audit`; without one it takes the folder's own, as we do."""
        if self.vkey is None:
            return []
        root = parse_vkey(self.vkey.read_text(encoding="ascii")).name.endswith(ROOT_SUFFIX)
        return [f"--root={self.vkey}" if root else f"--vkey-file={self.vkey}"]

    def look(self, db: Database, indexed: Row | None) -> "Look":
        """Open the checkpoint that the files end with; `indexed` was read before, so is older."""
        # 1. the key is there                          3. the index is not ahead of the files,
        # 2. the published checkpoint is signed by it     and its checkpoint is of the same history
        #                                              4. the tree leads to the signed root
        if self.folder is None:
            return Look(log=self, db=db, state=State(), demands=None)
        try:
            demands = self.demands()  # 1
            note = latest(self.folder) or ""
            checkpoint = opened(note, demands) if note else None  # 2
        except (AuditRefusedError, OSError, UnicodeError) as error:
            why = f"The log's files cannot be verified: {_words(error)}."
            state = State(troubles=(why,), why_not=why, given=True)
            return Look(log=self, db=db, state=state, demands=None)
        signed_by = () if checkpoint is None else open_note(note, demands.all_keys).keys
        state = State(
            checkpoint=checkpoint,
            note=note,
            keys=tuple(str(key) for key in signed_by),
            key_from="the settings" if self.vkey else "the log folder itself",
            why_not="" if checkpoint else "Nothing is signed yet.",
            given=True,
        )
        state = self._compared(db, state, indexed)
        return Look(log=self, db=db, state=state, demands=demands)

    def _compared(self, db: Database, state: State, indexed: Row | None) -> State:
        size = 0 if state.checkpoint is None else state.checkpoint.size
        change = partial(replace, state)
        if indexed is not None and indexed["size"] > size:  # 3
            why = (
                f"The log was set back: its files end with {size} signed entries,"
                f" the database knows {indexed['size']}."
            )
            return change(troubles=(why,), other_note=indexed["note"])
        if state.checkpoint is None:
            return state
        wrong = self._led(db, state.checkpoint)  # 4
        if wrong:
            return change(troubles=(wrong,), why_not=wrong)
        if indexed is None:
            return state
        root = self._tree.root(indexed["size"], leaves=self._leaves(db))
        if root.hex() != indexed["root"]:  # 3
            why = (
                f"Two histories: the first {indexed['size']} entries of the log's files do not lead"
                " to the root that the database has for them. Both notes are below."
            )
            return change(troubles=(why,), other_note=indexed["note"])
        return state

    def _led(self, db: Database, checkpoint: Checkpoint) -> str:
        """Why the log as a whole does not lead to the signed root; empty when it does."""
        place = (checkpoint.size, checkpoint.root)
        with self._lock:
            if self._failed and self._failed[1] == place and time.monotonic() < self._failed[0]:
                return self._failed[2]
            try:
                leaves = self._leaves(db)
                for size in range(STEP, checkpoint.size, STEP):
                    self._tree.root(size, leaves=leaves)
                self._tree.follow(*place, leaves=leaves)
            except (NotaryError, OSError) as error:
                why = (
                    f"The database's index does not lead to the root signed for"
                    f" {checkpoint.size} entries ({_words(error)}): entries were changed, put in or"
                    " taken out there. Run `sentinel-audit verify` on the log's files."
                )
                self._failed = (time.monotonic() + LOOK_AGAIN_S, place, why)
                return why
            self._failed = None
            return ""

    def _leaves(self, db: Database) -> Any:
        def read(first: int, end: int) -> list[bytes]:
            found = log_search.leaf_hashes(db, first, end)
            if len(found) < end - first <= STEP:  # written, and not indexed yet
                found += [leaf_hash(x) for x in self.lines.lines(first + len(found), end)]
            return found

        return read

    def prove(self, db: Database, seq: int, note: str, size: int) -> str:
        """A proof text under this note; not verified."""
        return self._tree.inclusion(seq, note, size, leaves=self._leaves(db))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One request's view of the log; marks made by it hold for this moment."""

    log: LogCheck
    db: Database
    state: State
    demands: Demands | None

    def check(self, row: Row) -> Checked:
        """One entry, with its mark."""
        # 1. the files end with a signed checkpoint   4. the line leads to its root
        # 2. there is a line at the entry's place     5. the index says the same
        # 3. the checkpoint covers the place
        seq, indexed = row["seq"], row["line"].encode()
        made = partial(self._made, row, indexed)
        if self.demands is None or self.state.why_not:  # 1
            mark = ALTERED if self.state.troubles else UNSIGNED if self.state.given else UNCHECKED
            return made(mark, self.state.why_not)
        try:
            line = self.log.lines.line(seq)  # 2
        except OSError as error:
            return made(ALTERED, f"The segment file cannot be read: {_words(error)}.")
        if line is None:
            return made(ALTERED, "The segment file has no entry at this place.")
        made = partial(self._made, row, line)
        checkpoint = self.state.checkpoint
        if checkpoint is None or seq >= checkpoint.size:  # 3
            return made(UNSIGNED, "It is in the file; the next checkpoint will cover it.")
        try:
            text = self.log.prove(self.db, seq, self.state.note, checkpoint.size)  # 4
            proof.verify_inclusion(text, line, self.demands.all_keys)
        except (AuditRefusedError, EntryError, NotaryError) as error:
            return made(ALTERED, f"The line in the segment file is not what was signed: {error}.")
        steps = len(proof.parse(text).path)
        why = (
            f"These bytes of the segment file lead over {steps} hashes to the root signed for"
            f" {checkpoint.size} entries. Computed for this page."
        )
        if line != indexed:  # 5
            why = f"The database has other words for this entry; shown are the signed ones. {why}"
            return made(INDEX_LIES, why, text)
        return made(VERIFIED, why, text)

    def proof_of(self, row: Row, cosigned: str | None) -> tuple[Checked, str]:
        """The entry and the proof to give out: under the cosigned checkpoint where it covers it."""
        checked = self.check(row)
        if not checked.proof or self.demands is None or cosigned is None:
            return checked, checked.proof
        try:
            size = opened(cosigned, self.demands).size
            text = self.log.prove(self.db, checked.seq, cosigned, size)
            proof.verify_inclusion(text, checked.line, self.demands.all_keys)
        except (AuditRefusedError, EntryError, NotaryError):
            return checked, checked.proof
        return checked, text

    def _made(self, row: Row, line: bytes, mark: Badge, why: str, text: str = "") -> Checked:
        entry = readable(line)
        return Checked(seq=row["seq"], mark=mark, why=why, line=line, entry=entry, proof=text)


def opened(note: str, demands: Demands) -> Checkpoint:
    """The checkpoint of a note that counts. Raises `AuditRefusedError`."""
    checkpoint = open_checkpoint(note, demands.all_keys)
    demand_counts(note, demands)
    return checkpoint


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
