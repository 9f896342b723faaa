"""Whether one checkpoint counts, for who does not see the whole log: a node, a proof's reader.

    # 1. one of the log's keys signed it, and none of those we know signed it wrongly
    # 2. one of them is not revoked for so many entries
    # 3. every second key that is demanded for so many entries signed it, too

Whether each epoch signed in its time and turn only shows in the whole log: `audit/epoch_rules.py`.
Imports are few on purpose; a node's executor asks this before it acts.
"""

import re
from collections.abc import Sequence

import msgspec

from audit.checkpoint import Checkpoint, parse_text
from audit.errors import CheckpointError, VkeyError
from audit.note import Vkey, open_note, parse_vkey

_SIZE = re.compile("[0-9]{1,16}")


class LogKey(msgspec.Struct, frozen=True, kw_only=True):
    """One of the log's keys, and what is demanded of it."""

    vkey: Vkey
    trusted_size: int | None = None  # revoked: checkpoints of more entries do not count
    second: Vkey | None = None  # must sign beside it


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """A key that must sign beside the log's own."""

    vkey: Vkey
    from_size: int = 0  # checkpoints of fewer entries may lack it


class Counting(msgspec.Struct, frozen=True, kw_only=True):
    """The keys by which a checkpoint is judged, those of one log in their order."""

    keys: tuple[LogKey, ...]
    seconds: tuple[Second, ...] = ()

    @property
    def vkeys(self) -> tuple[Vkey, ...]:
        """The log's keys."""
        return tuple(one.vkey for one in self.keys)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.keys[0].vkey.name

    def open(self, note: str) -> Checkpoint:
        """The checkpoint of a note that counts. Raises `AuditRefusedError`."""
        beside = {one.vkey for one in self.seconds} | {one.second for one in self.keys}
        signers = open_note(note, [*self.vkeys, *(key for key in beside if key)])
        checkpoint = parse_text(signers.text)
        if checkpoint.origin != self.origin:
            raise CheckpointError(f"checkpoint of {checkpoint.origin}, not of {self.origin}")
        signed = [one for one in self.keys if one.vkey in signers.keys]
        if not signed:  # 1
            raise CheckpointError(f"none of the keys of {self.origin} signed it, another did")
        size = checkpoint.size
        alive = [one for one in signed if one.trusted_size is None or size <= one.trusted_size]
        if not alive:  # 2
            trusted = max(one.trusted_size or 0 for one in signed)
            why = f"its key was revoked beyond {trusted} entries"
            raise CheckpointError(f"a checkpoint of {size} entries does not count: {why}")
        wanted = [one.vkey for one in self.seconds if size >= one.from_size]
        wanted += [one.second for one in alive[-1:] if one.second is not None]
        for key in wanted:  # 3
            if key not in signers.keys:
                raise CheckpointError(f"the checkpoint of {size} entries lacks a signature: {key}")
        return checkpoint


def of_keys(vkeys: Sequence[Vkey]) -> Counting:
    """All of these alike, and nothing else demanded."""
    return Counting(keys=tuple(LogKey(vkey=vkey) for vkey in vkeys))


def opened(note: str, keys: Counting | Sequence[Vkey]) -> Checkpoint:
    """The checkpoint of a note that counts under these keys. Raises `AuditRefusedError`."""
    return (keys if isinstance(keys, Counting) else of_keys(keys)).open(note)


def parse_keys(text: str) -> Counting:
    """The keys of a file, in the order in which they follow each other. Raises `VkeyError`.

    A line is `VKEY [with VKEY] [upto SIZE]`: a key of the log, one that must sign beside it, and
    how many entries a revoked one counts for; or `second VKEY [FROM]`: a key that must sign beside
    each of them, from this size on. Empty lines and those that begin with `#` are passed over.
    """
    keys: list[LogKey] = []
    seconds: list[Second] = []
    for line in text.split("\n"):
        match line.split():
            case []:
                pass
            case [first, *_] if first.startswith("#"):
                pass
            case ["second", vkey]:
                seconds.append(Second(vkey=parse_vkey(vkey)))
            case ["second", vkey, size]:
                seconds.append(Second(vkey=parse_vkey(vkey), from_size=_size(size)))
            case [vkey]:
                keys.append(LogKey(vkey=parse_vkey(vkey)))
            case [vkey, "with", second]:
                keys.append(LogKey(vkey=parse_vkey(vkey), second=parse_vkey(second)))
            case [vkey, "upto", size]:
                keys.append(LogKey(vkey=parse_vkey(vkey), trusted_size=_size(size)))
            case [vkey, "with", second, "upto", size]:
                one = LogKey(vkey=parse_vkey(vkey), second=parse_vkey(second))
                keys.append(msgspec.structs.replace(one, trusted_size=_size(size)))
            case _:
                raise VkeyError(f"a line that names no key: {line[:80]!r}")
    return _checked(Counting(keys=tuple(keys), seconds=tuple(seconds)))


def line_of(one: LogKey) -> str:
    """A key as a line that `parse_keys` reads."""
    beside = "" if one.second is None else f" with {one.second}"
    return f"{one.vkey}{beside}" + ("" if one.trusted_size is None else f" upto {one.trusted_size}")


def _checked(found: Counting) -> Counting:
    if len({vkey.name for vkey in found.vkeys}) != 1:
        raise VkeyError("expected the keys of one log, one a line")
    beside = {one.vkey for one in found.seconds} | {one.second for one in found.keys if one.second}
    every = [vkey.key for vkey in (*found.vkeys, *beside)]
    if len(set(every)) < len(every):
        raise VkeyError("one key stands in two lines")
    if any(vkey.name == found.origin for vkey in beside):
        raise VkeyError("a second key needs a name of its own")
    return found


def _size(text: str) -> int:
    if not _SIZE.fullmatch(text):
        raise VkeyError(f"expected a number of entries, got {text[:40]!r}")
    return int(text)
