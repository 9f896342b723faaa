"""C2SP cosignature/v1: a witness says that it has seen a checkpoint extend all it saw before.

A cosignature is a signature line of the checkpoint's note, by a key of type 0x04:

    — NAME BASE64(key hash ‖ time, 8 bytes ‖ Ed25519 signature)

over `cosignature/v1`, `time SECONDS` and the note's text. The key's vkey is
`NAME+HASH+BASE64(0x04 ‖ public key)`. Whom to believe is the caller's business; one witness under
two names counts once. Source: c2sp.org/tlog-cosignature.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.errors import NoteError, VkeyError
from audit.note import (
    HASH_BYTES,
    KEY_BYTES,
    MAX_SIGNATURES,
    check_point,
    is_name,
    read_signature,
    signature_line,
    split_note,
    strict_base64,
)

TYPE = b"\x04"
TIME_BYTES = 8
SIGNATURE_BYTES = 64
MAX_TIME = 2**63 - 1  # c2sp.org/tlog-cosignature
_BLOB_BYTES = HASH_BYTES + TIME_BYTES + SIGNATURE_BYTES


class WitnessKey(msgspec.Struct, frozen=True, kw_only=True):
    """A witness's verifier key."""

    name: str
    key: bytes

    @property
    def key_hash(self) -> bytes:
        """The four bytes that its lines start with."""
        return hashlib.sha256(self.name.encode() + b"\n" + TYPE + self.key).digest()[:HASH_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(TYPE + self.key).decode()}"


class Cosigned(msgspec.Struct, frozen=True, kw_only=True):
    """One verified cosignature."""

    witness: WitnessKey
    at: int  # seconds since 1970, by the witness's clock
    line: str  # without newline


def parse_witness(text: str) -> WitnessKey:
    """The key of a witness's vkey. Raises `VkeyError` for any other form and for unsafe points."""
    name, _, rest = text.strip("\n").partition("+")
    key_hash, _, encoded = rest.partition("+")
    raw = strict_base64(encoded)
    if not is_name(name) or raw is None or len(raw) != 1 + KEY_BYTES or raw[:1] != TYPE:
        raise VkeyError("a witness's vkey is NAME+HASH+BASE64 of 0x04 and 32 bytes")
    witness = WitnessKey(name=name, key=raw[1:])
    if key_hash != witness.key_hash.hex():
        raise VkeyError(f"vkey of {name}: its hash is {witness.key_hash.hex()}, not {key_hash!r}")
    check_point(witness.key)
    return witness


def cosign(text: str, witness: WitnessKey, *, sign: Callable[[bytes], bytes], at: int) -> str:
    """The cosignature line over a note's text; raises `NoteError` when it does not verify."""
    signature = sign(_message(text, at))
    line = signature_line(witness.name, witness.key_hash + at.to_bytes(TIME_BYTES) + signature)
    verify_line(text, line, witness)
    return line


def verify_line(text: str, line: str, witness: WitnessKey) -> Cosigned:
    """What the line says, if this witness cosigned this text. Raises `NoteError`."""
    name, blob = read_signature(line)
    if name != witness.name or blob[:HASH_BYTES] != witness.key_hash:
        raise NoteError(f"a line of {name}, expected one of {witness.name}'s key")
    return _verified(text, name, blob, witness)


def cosigned_by(note: str, witnesses: Iterable[WitnessKey]) -> list[Cosigned]:
    """Who of these cosigned a note, each key once; the log's own signature is not looked at.

    Raises `NoteError` when a line of one of them is wrong: somebody made it up.
    """
    text, lines = split_note(note)
    known = {(one.name, one.key_hash): one for one in witnesses}
    found: dict[bytes, Cosigned] = {}
    for name, blob in lines:
        witness = known.get((name, blob[:HASH_BYTES]))
        if witness is not None:
            found.setdefault(witness.key, _verified(text, name, blob, witness))
    return list(found.values())


def claimed_by(note: str) -> list[tuple[str, int]]:
    """Names and times of lines that have the form of a cosignature; nothing is verified."""
    _, lines = split_note(note)
    return [
        (name, int.from_bytes(blob[HASH_BYTES : HASH_BYTES + TIME_BYTES]))
        for name, blob in lines
        if len(blob) == _BLOB_BYTES
    ]


def with_cosignatures(note: str, lines: Sequence[str]) -> str:
    """The note with these lines after its own. Raises `NoteError` when it would not be one."""
    if len(split_note(note)[1]) + len(lines) > MAX_SIGNATURES:
        raise NoteError(f"more than {MAX_SIGNATURES} signatures")
    for line in lines:
        read_signature(line)
    return note + "".join(f"{line}\n" for line in lines)


def _verified(text: str, name: str, blob: bytes, witness: WitnessKey) -> Cosigned:
    if len(blob) != _BLOB_BYTES:
        raise NoteError(f"the cosignature of {name} has {len(blob)} bytes, not {_BLOB_BYTES}")
    at = int.from_bytes(blob[HASH_BYTES : HASH_BYTES + TIME_BYTES])
    if at > MAX_TIME:
        raise NoteError(f"the cosignature of {name} is of a time beyond all times")
    try:
        key = Ed25519PublicKey.from_public_bytes(witness.key)
        key.verify(blob[HASH_BYTES + TIME_BYTES :], _message(text, at))
    except InvalidSignature as error:
        raise NoteError(f"the cosignature of {name} does not verify") from error
    return Cosigned(witness=witness, at=at, line=signature_line(name, blob))


def _message(text: str, at: int) -> bytes:
    if not 0 <= at <= MAX_TIME:
        raise NoteError(f"{at} is no time of a cosignature")
    return f"cosignature/v1\ntime {at}\n{text}".encode()
