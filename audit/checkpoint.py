"""C2SP tlog-checkpoint: what a log says it is, in three lines.

    ORIGIN
    SIZE        decimal, no leading zero
    ROOT        base64 of the 32-byte RFC 6962 root of the first SIZE entries

No extension lines: none are written, and a note that has some is refused, because a line that
nobody checks is a place to hide. Source: c2sp.org/tlog-checkpoint.
"""

import base64
import binascii
from collections.abc import Sequence

import msgspec

from appliance.canonical import MAX_INTEGER
from audit.errors import CheckpointError
from audit.merkle import HASH_BYTES
from audit.note import Signer, Vkey, open_note, sign

_LINES = 3


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A log's size and root."""

    origin: str
    size: int  # entries
    root: bytes  # 32 bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> str:
    """The checkpoint as a signed note. Raises `CheckpointError` or `NoteError`."""
    if parse_text(checkpoint.text) != checkpoint:
        raise CheckpointError(f"{checkpoint.origin!r} cannot be the origin of a log")
    return sign(checkpoint.text, *signers)


def open_checkpoint(note: str, vkeys: Sequence[Vkey]) -> Checkpoint:
    """The checkpoint of a note signed by one of the log's keys, whose name is the origin."""
    opened = open_note(note, vkeys)
    checkpoint = parse_text(opened.text)
    if all(key.name != checkpoint.origin for key in opened.keys):
        raise CheckpointError(
            f"checkpoint of {checkpoint.origin}, but signed by {opened.keys[0].name}"
        )
    return checkpoint


def parse_text(text: str) -> Checkpoint:
    """The checkpoint of a note's text. Raises `CheckpointError`. It proves nothing by itself."""
    lines = text.split("\n")
    if len(lines) != _LINES + 1 or lines[_LINES] or not lines[0]:
        raise CheckpointError("expected three lines: origin, size, root")
    origin, size, encoded = lines[:_LINES]
    if not (size.isascii() and size.isdigit()) or len(size) > len(str(MAX_INTEGER)):
        raise CheckpointError(f"size: expected a decimal number, got {size[:40]!r}")
    if str(int(size)) != size:
        raise CheckpointError(f"size: {size} has a leading zero")
    try:
        root = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError("root: not base64") from error
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != encoded:
        raise CheckpointError(f"root: expected base64 of {HASH_BYTES} bytes")
    return Checkpoint(origin=origin, size=int(size), root=root)


def split_notes(data: bytes) -> tuple[list[str], int]:
    """The whole notes of a `.notes` file, and where the bytes after the last one begin.

    Each note is followed by an empty line, so the file is pairs of a text and its signatures.
    Raises `CheckpointError` when it is not UTF-8.
    """
    chunks = data.split(b"\n\n")
    whole = (len(chunks) - 1) // 2
    try:
        notes = [
            (chunks[2 * n] + b"\n\n" + chunks[2 * n + 1] + b"\n").decode() for n in range(whole)
        ]
    except UnicodeDecodeError as error:
        raise CheckpointError("the kept checkpoints are not text") from error
    return notes, sum(len(chunk) + 2 for chunk in chunks[: 2 * whole])
