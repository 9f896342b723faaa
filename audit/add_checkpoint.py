"""C2SP tlog-witness: the body of an `add-checkpoint` request, and what a witness says to it.

    old SIZE        the size that the witness cosigned last, 0: nothing yet
    BASE64          the consistency proof from there, one hash a line, at most 63
    (empty line)
    the signed checkpoint

Pure on both sides: what the witness holds comes in as a value, what it must hold before it answers
goes out as one. Source: c2sp.org/tlog-witness.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from audit.checkpoint import Checkpoint, open_checkpoint, parse_text
from audit.cosignature import Cosigned, WitnessKey, verify_line
from audit.errors import AuditRefusedError, CheckpointError, NoteError, ProofError
from audit.merkle import HASH_BYTES, verify_consistency
from audit.note import Vkey, split_note, strict_base64

MAX_PATH = 63  # c2sp.org/tlog-witness
MAX_BODY_BYTES = 64 * 1024  # 63 hashes and a checkpoint with a hundred signatures
MAX_LINES = 16  # of an answer: one for each key of a witness
SIZE_TYPE = "text/x.tlog.size"
OK, BAD, FORBIDDEN, UNKNOWN, CONFLICT, UNPROVEN = 200, 400, 403, 404, 409, 422

Logs = Mapping[str, Sequence[Vkey]]
"""For each origin the keys that sign for it."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was read: nothing in it is believed yet."""

    old: int
    path: tuple[bytes, ...]
    note: str


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The last checkpoint a witness cosigned of a log."""

    size: int = 0
    root: bytes = b""
    note: str = ""


class NotCosignedError(Exception):
    """What a witness answers when it does not cosign; `evidence`: the log's key signed this."""

    def __init__(self, status: int, why: str, *, size: int | None = None) -> None:
        super().__init__(why)
        self.status, self.size = status, size
        self.evidence = status == UNPROVEN or (status == CONFLICT and why.startswith("two"))


def body(old: int, path: Sequence[bytes], note: str) -> bytes:
    """The request."""
    hashes = "".join(base64.b64encode(one).decode() + "\n" for one in path)
    return f"old {old}\n{hashes}\n{note}".encode()


def read(data: bytes) -> Asked:
    """The parts of a request. Raises `NotCosignedError`."""
    try:
        head, gap, note = data.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise NotCosignedError(BAD, "not UTF-8") from error
    first, *hashes = head.split("\n")
    size = first.removeprefix("old ")
    if not gap or not (size.isascii() and size.isdigit()) or len(size) > 16:  # noqa: PLR2004 - 2^53
        raise NotCosignedError(BAD, "expected `old SIZE`, hashes, an empty line, a checkpoint")
    if first != f"old {int(size)}":
        raise NotCosignedError(BAD, "the old size is not in its one form")
    if len(hashes) > MAX_PATH:
        raise NotCosignedError(BAD, f"{len(hashes)} hashes, at most {MAX_PATH}")
    path = tuple(raw for raw in map(strict_base64, hashes) if raw and len(raw) == HASH_BYTES)
    if len(path) != len(hashes):
        raise NotCosignedError(BAD, f"a hash is not strict base64 of {HASH_BYTES} bytes")
    return Asked(old=int(size), path=path, note=note)


def origin_of(asked: Asked) -> str:
    """Whose checkpoint it says it is. Raises `NotCosignedError`."""
    try:
        return parse_text(split_note(asked.note)[0]).origin
    except (NoteError, CheckpointError) as error:
        raise NotCosignedError(BAD, f"not a checkpoint: {error}") from error


def judge(asked: Asked, held: Held, vkeys: Sequence[Vkey]) -> Held:
    """What the witness must hold before it cosigns this. Raises `NotCosignedError`."""
    # 1. it knows the log, and the log's key signed   4. of the same size: the same root
    # 2. the old size is not above the new one        5. all that was cosigned is in it
    # 3. the old size is the one that was cosigned
    if not vkeys:  # 1
        raise NotCosignedError(UNKNOWN, "this witness does not know that log")
    try:
        new = open_checkpoint(asked.note, vkeys)
    except AuditRefusedError as error:
        raise NotCosignedError(FORBIDDEN, str(error)) from error
    if asked.old > new.size:  # 2
        raise NotCosignedError(BAD, "the old size is above the checkpoint's")
    if asked.old != held.size:  # 3
        raise NotCosignedError(CONFLICT, f"{held.size} entries were cosigned last", size=held.size)
    if held.size and new.size == held.size and new.root != held.root:  # 4
        raise NotCosignedError(CONFLICT, f"two histories of {held.size} entries", size=held.size)
    _demand_consistent(asked, held, new)  # 5
    return Held(size=new.size, root=new.root, note=asked.note)


def cosigned_in(answer: bytes, note: str, witness: WitnessKey) -> Cosigned:
    """The witness's own line of an answer to 200. Raises `NoteError` when there is no good one."""
    try:
        lines = answer.decode().splitlines()
    except UnicodeDecodeError as error:
        raise NoteError("the answer is not UTF-8") from error
    text, refusal = split_note(note)[0], NoteError("the answer holds no cosignature of its key")
    for line in lines[:MAX_LINES]:  # those of other keys are ignored
        try:
            return verify_line(text, line, witness)
        except NoteError as error:
            refusal = error
    raise refusal


def size_in(content_type: str, answer: bytes) -> int | None:
    """The size of a 409's body; None where there is none."""
    text = answer.decode("ascii", "replace").removesuffix("\n")
    if content_type.partition(";")[0].strip() != SIZE_TYPE or len(text) > 16:  # noqa: PLR2004
        return None
    return int(text) if text.isdigit() and str(int(text)) == text else None


def _demand_consistent(asked: Asked, held: Held, new: Checkpoint) -> None:
    try:
        if held.size == 0:
            if asked.path or (new.size == 0 and new.root != hashlib.sha256().digest()):
                raise ProofError("there is nothing to prove yet")  # noqa: TRY301 - one refusal
            return
        verify_consistency(held.size, new.size, asked.path, held.root, new.root)
    except ProofError as error:
        raise NotCosignedError(UNPROVEN, str(error)) from error
