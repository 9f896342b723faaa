"""C2SP signed-note: text, an empty line, and one line for each signature.

Only Ed25519 signatures (type 0x01) are made and checked here; lines of other keys are kept and
skipped; those of witnesses are the business of `cosignature`. A vkey is
`NAME+HASH+BASE64(0x01 ‖ public key)`, the hash being the first four bytes of
SHA-256(NAME ‖ 0x0A ‖ 0x01 ‖ public key). Source: c2sp.org/signed-note.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.errors import NoteError, VkeyError

ED25519 = b"\x01"
KEY_BYTES = 32
HASH_BYTES = 4
MAX_SIGNATURES = 100  # as golang.org/x/mod/sumdb/note: a bound on work, not on witnesses
MAX_NOTE_BYTES = 1_000_000
_SIGNATURE_MARK = "\u2014 "

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ORDER_8_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_LOW_ORDER_Y = frozenset({0, 1, _P - 1, _ORDER_8_Y, _P - _ORDER_8_Y})
"""The y of the eight points whose order divides 8: signatures under them can be made by anyone."""


class Signer(Protocol):
    """Holds one private key. `sign` returns the 64-byte Ed25519 signature, or raises."""

    @property
    def vkey(self) -> str:
        """The public half, as published."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature over exactly these bytes."""
        ...


class Vkey(msgspec.Struct, frozen=True, kw_only=True):
    """A verifier key: who, and the 32 bytes of an Ed25519 public key."""

    name: str
    key: bytes

    @property
    def key_hash(self) -> bytes:
        """The four bytes that a signature line starts with."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.key).digest()[:HASH_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(ED25519 + self.key).decode()}"


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A note whose text at least one of our keys signed."""

    text: str
    keys: tuple[Vkey, ...]  # of ours, in the order of their lines


def parse_vkey(text: str) -> Vkey:
    """The key of one vkey line. Raises `VkeyError` for any other form and for unsafe points."""
    # 1. three parts                  3. the hash is the one of name and key
    # 2. strict base64 of 33 bytes,   4. the point is canonical, on the curve,
    #    the first saying Ed25519        and not of low order
    parts = text.strip("\n").split("+", 2)  # 1
    if len(parts) != 3 or not is_name(parts[0]):  # noqa: PLR2004 - name, hash, key
        raise VkeyError("a vkey is NAME+HASH+KEY, the name without spaces")
    name, key_hash, encoded = parts
    raw = strict_base64(encoded)  # 2
    if raw is None or len(raw) != 1 + KEY_BYTES or raw[:1] != ED25519:
        raise VkeyError(f"vkey of {name}: expected base64 of 0x01 and 32 bytes")
    vkey = Vkey(name=name, key=raw[1:])
    if key_hash != vkey.key_hash.hex():  # 3
        raise VkeyError(f"vkey of {name}: its hash is {vkey.key_hash.hex()}, not {key_hash!r}")
    check_point(vkey.key)  # 4
    return vkey


def sign(text: str, *signers: Signer) -> str:
    """The signed note. Raises `NoteError` when it does not open under the signers' own keys."""
    _check_text(text)
    lines = []
    for signer in signers:
        vkey = parse_vkey(signer.vkey)
        lines.append(signature_line(vkey.name, vkey.key_hash + signer.sign(text.encode())) + "\n")
    note = f"{text}\n{''.join(lines)}"
    # A signer may be a machine far away: nothing is published that does not verify here.
    opened = open_note(note, [parse_vkey(signer.vkey) for signer in signers])
    if len(opened.keys) != len(signers):
        raise NoteError("two signers are one key")
    return note


def open_note(note: str, vkeys: Sequence[Vkey]) -> Opened:
    """The text, if one of these keys signed it and none of them signed it wrongly.

    Raises `NoteError`. Lines of keys we do not know are skipped, a second line of one key too.
    """
    text, signatures = split_note(note)
    known = {(vkey.name, vkey.key_hash): vkey for vkey in vkeys}
    verified: list[Vkey] = []
    for name, blob in signatures:
        vkey = known.get((name, blob[:HASH_BYTES]))
        if vkey is None or vkey in verified:
            continue
        try:
            key = Ed25519PublicKey.from_public_bytes(vkey.key)
            key.verify(blob[HASH_BYTES:], text.encode())
        except InvalidSignature as error:
            raise NoteError(f"the signature of {name} does not verify") from error
        verified.append(vkey)
    if not verified:
        signed_by = ", ".join(sorted({name for name, _ in signatures}))
        raise NoteError(f"signed by {signed_by}, but by none of the keys we trust")
    return Opened(text=text, keys=tuple(verified))


def claimed(note: str) -> tuple[str, set[tuple[str, bytes]]]:
    """The text, and the names and key hashes that say they signed it: nothing is verified here."""
    text, signatures = split_note(note)
    return text, {(name, blob[:HASH_BYTES]) for name, blob in signatures}


def check_point(key: bytes) -> None:
    """Raise `VkeyError` unless the 32 bytes are the one encoding of a point of large order."""
    if len(key) != KEY_BYTES:
        raise VkeyError(f"expected a public key of {KEY_BYTES} bytes, got {len(key)}")
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    if y >= _P:
        raise VkeyError("the public key is not in canonical form")
    if y in _LOW_ORDER_Y:
        raise VkeyError("the public key is a point of low order: anybody can sign for it")
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(x_squared, (_P - 1) // 2, _P) != 1:
        raise VkeyError("the public key is not a point of the curve")


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """A note's text and its signature lines as name and bytes, none of them verified."""
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError(f"a note of more than {MAX_NOTE_BYTES} characters")
    end = note.rfind("\n\n")
    if end < 0 or not note.endswith("\n"):
        raise NoteError("malformed note: no empty line before the signatures, or no end of line")
    text, lines = note[: end + 1], note[end + 2 : -1].split("\n")
    _check_text(text)
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"more than {MAX_SIGNATURES} signatures")
    return text, [read_signature(line) for line in lines]


def signature_line(name: str, blob: bytes) -> str:
    """The line of a signature, without its newline."""
    return f"{_SIGNATURE_MARK}{name} {base64.b64encode(blob).decode()}"


def read_signature(line: str) -> tuple[str, bytes]:
    """Name and bytes of one signature line without its newline. Raises `NoteError`."""
    name, _, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    blob = strict_base64(encoded)
    if not line.startswith(_SIGNATURE_MARK) or not is_name(name) or blob is None:
        raise NoteError("malformed note: a signature line is not `— NAME BASE64`")
    if len(blob) <= HASH_BYTES:
        raise NoteError(f"malformed note: the signature of {name} is too short")
    return name, blob


def _check_text(text: str) -> None:
    if not text.endswith("\n") or not text.strip("\n"):
        raise NoteError("malformed note: the text does not end its line, or is empty")
    if any(char < " " and char != "\n" for char in text):
        raise NoteError("malformed note: a control character in the text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NoteError("malformed note: not valid Unicode") from error


def is_name(name: str) -> bool:
    """Whether a key can have this name: no spaces, no plus sign."""
    return bool(name) and "+" not in name and not any(c.isspace() or c < "!" for c in name)


def strict_base64(text: str) -> bytes | None:
    """Strict standard base64; None for anything that would not encode to the same text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None
