"""C2SP tlog-proof: one entry is in the log, shown in one text file of about a kilobyte.

    c2sp.org/tlog-proof@v1
    index SEQ
    BASE64          the inclusion path, one hash a line, from the leaf's sibling up
    (empty line)
    the signed checkpoint, as it was published

The optional `extra` line is not written and refused: it is not authenticated, and nothing of ours
needs it. Imports are few on purpose; a node's executor checks proofs before it acts.
Source: c2sp.org/tlog-proof.
"""

import base64
import binascii
from collections.abc import Sequence

import msgspec

from appliance.canonical import MAX_INTEGER
from audit.checkpoint import Checkpoint, parse_text
from audit.counting import Counting, of_keys, parse_keys
from audit.entry import Entry, decode, leaf_hash
from audit.errors import AuditRefusedError, EntryError, ProofError
from audit.merkle import HASH_BYTES, Node, prove_inclusion
from audit.merkle import verify_inclusion as verify_path
from audit.note import Vkey

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PATH = 53  # a log of 2^53 entries
MAX_PROOF_CHARS = 64 * 1024  # far above 53 hashes and a hundred cosignatures


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof as it was read: nothing in it is believed yet."""

    index: int
    path: tuple[bytes, ...]
    note: str  # the signed checkpoint, verbatim


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the log, and the checkpoint that covers it."""

    entry: Entry
    checkpoint: Checkpoint
    note: str  # keep it: the next proof's checkpoint must be consistent with this one


def make(index: int, note: str, node: Node) -> str:
    """The proof text for the entry at `index` under a signed checkpoint's size.

    `node` is as in `merkle`; the note is not verified here, the reader does that.
    """
    size = parse_text(note[: note.rfind("\n\n") + 1]).size
    path = prove_inclusion(index, size, node)
    hashes = "".join(base64.b64encode(step).decode() + "\n" for step in path)
    return f"{HEADER}\nindex {index}\n{hashes}\n{note}"


def parse(text: str) -> Proof:
    """The parts of a proof text. Raises `ProofError` for any other form."""
    if len(text) > MAX_PROOF_CHARS:
        raise ProofError(f"a proof of more than {MAX_PROOF_CHARS} characters")
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or len(lines) < 2 or lines[0] != HEADER:  # noqa: PLR2004 - header and index
        raise ProofError(f"expected {HEADER}, an index, hashes, an empty line, a checkpoint")
    index = lines[1].removeprefix("index ")
    if not (index.isascii() and index.isdigit()) or lines[1] != f"index {int(index)}":
        raise ProofError("expected `index` and a decimal number in the second line")
    if int(index) > MAX_INTEGER or len(lines) - 2 > MAX_PATH:
        raise ProofError("index or path is longer than any log")
    return Proof(index=int(index), path=tuple(_hash(line) for line in lines[2:]), note=note)


def verify(text: str, line: bytes, vkey: str | Vkey | Sequence[Vkey] | Counting) -> Proven:
    """The entry of this line, proven to be in the log of this key. Raises `ProofError`.

    Of a log whose key changes, `vkey` is all its keys: in text as `counting.parse_keys` reads it.
    """
    # 1. the proof has the one form            4. the entry says it is of this log, at this place
    # 2. the checkpoint counts (`counting`)    5. the path leads from the line to the signed root
    # 3. the line is an entry in canonical form
    try:
        proof = parse(text)  # 1
        checkpoint = _keys(vkey).open(proof.note)  # 2
        entry = decode(line)  # 3
    except (AuditRefusedError, EntryError) as error:
        raise ProofError(f"no proof: {error}") from error
    if entry.log != checkpoint.origin or entry.seq != proof.index:  # 4
        raise ProofError(
            f"the proof is of entry {proof.index} of {checkpoint.origin},"
            f" the line is entry {entry.seq} of {entry.log}"
        )
    verify_path(proof.index, checkpoint.size, leaf_hash(line), proof.path, checkpoint.root)  # 5
    return Proven(entry=entry, checkpoint=checkpoint, note=proof.note)


def verify_inclusion(text: str, line: bytes, vkey: str | Vkey | Sequence[Vkey] | Counting) -> Entry:
    """The entry alone, for who does not keep checkpoints. Raises `ProofError`."""
    return verify(text, line, vkey).entry


def _keys(vkey: str | Vkey | Sequence[Vkey] | Counting) -> Counting:
    if isinstance(vkey, Counting):
        return vkey
    if isinstance(vkey, str):
        return parse_keys(vkey)
    return of_keys([vkey] if isinstance(vkey, Vkey) else vkey)


def _hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProofError("a hash of the path is not base64") from error
    if len(raw) != HASH_BYTES or base64.b64encode(raw).decode() != line:
        raise ProofError(f"a hash of the path is not {HASH_BYTES} bytes of strict base64")
    return raw
