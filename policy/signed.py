"""A policy as one signed file: every rule file, and a sequence that only grows.

The file is a DSSE envelope (`appliance.envelope`) around canonical JSON. Who loads one names the
key and what was in force before; a file that is unsigned, damaged, older, or another one of the
same sequence is a `PolicyError`, and a daemon turns that into a policy that refuses everything.
The canonical JSON alone is the target `policy.json` of signed trust, which several people sign.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance import canonical
from appliance.envelope import key_id, open_sealed, seal
from appliance.errors import CanonicalError, EnvelopeError
from policy.bundle import engine_digest, files_digest, parse_bundle
from policy.errors import PolicyError

POLICY_TYPE = "application/vnd.sentinel.policy+json;v=1"
MAX_SEQUENCE = canonical.MAX_INTEGER
MAX_FILE_BYTES = 16 * 1024 * 1024  # twelve times the shipped rules


class InForce(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was accepted before: the next policy may not be older, nor another of the same age."""

    sequence: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE)]
    digest: str  # files_digest


class SignedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a signed policy file."""

    sequence: int
    key_id: str | None  # who signed it; none: signed trust vouches for it
    checked: bool  # this very engine checked the examples before it was signed
    files: Mapping[str, bytes]

    @property
    def in_force(self) -> InForce:
        """What to remember once this policy is accepted."""
        return InForce(sequence=self.sequence, digest=files_digest(self.files))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.toml$")]
    text: str


class _Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    engine: str  # which engine found all examples to hold; another one checks them again
    files: Annotated[tuple[_File, ...], msgspec.Meta(min_length=1, max_length=200)]
    sequence: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQUENCE)]


def sign(files: Mapping[str, bytes], *, sequence: int, key: Ed25519PrivateKey) -> bytes:
    """The signed policy file. Raises `PolicyError` when the rules are broken or an example fails.

    `sequence` is 1 or more, and greater than that of every policy signed before.
    """
    sealed = seal(payload(files, sequence=sequence), payload_type=POLICY_TYPE, key=key)
    open_signed(sealed, key=key.public_key())  # nothing leaves that a node would refuse to read
    return sealed


def payload(files: Mapping[str, bytes], *, sequence: int) -> bytes:
    """What is signed. Raises `PolicyError` when the rules are broken or an example fails."""
    parse_bundle(files)
    try:
        made = msgspec.convert(
            {
                "engine": engine_digest(),
                "sequence": sequence,
                "files": [{"name": name, "text": files[name].decode()} for name in sorted(files)],
            },
            _Payload,
        )
        return canonical.encode(msgspec.to_builtins(made))
    except (msgspec.ValidationError, CanonicalError) as error:
        raise PolicyError(f"cannot be signed: {error}", file="policy", line=0) from error


def open_signed(
    data: bytes, *, key: Ed25519PublicKey, before: InForce | None = None, name: str = "policy"
) -> SignedPolicy:
    """The rule files of a signed policy. Raises `PolicyError` for anything that is not to be used.

    The rules themselves are not read here; `parse_bundle` does that.
    """
    # 1. the key signed it, as a policy     3. it is not older than what was in force
    # 2. it has the one form                4. nor another one of the same sequence
    try:
        inside = open_sealed(data, payload_type=POLICY_TYPE, key=key, most=MAX_FILE_BYTES)  # 1
    except EnvelopeError as error:
        raise PolicyError(f"not a policy of this key: {error}", file=name, line=1) from error
    return _read(inside, by=key_id(key), before=before, name=name)  # 2, 3, 4


def open_vouched(
    data: bytes, *, before: InForce | None = None, name: str = "policy.json"
) -> SignedPolicy:
    """The same of a payload that signed trust vouches for: checks 2 to 4."""
    return _read(data, by=None, before=before, name=name)


def _read(data: bytes, *, by: str | None, before: InForce | None, name: str) -> SignedPolicy:
    try:
        canonical.decode(data)  # 2
        read = msgspec.json.decode(data, type=_Payload)
    except (CanonicalError, msgspec.DecodeError) as error:
        raise PolicyError(f"not a policy of this key: {error}", file=name, line=1) from error
    names = [file.name for file in read.files]
    if names != sorted(set(names)):
        raise PolicyError("its files are not in order, or one is there twice", file=name, line=1)
    found = SignedPolicy(
        sequence=read.sequence,
        key_id=by,
        checked=read.engine == engine_digest(),
        files={file.name: file.text.encode() for file in read.files},
    )
    _demand_newer(found.in_force, before, name)  # 3, 4
    return found


def _demand_newer(found: InForce, before: InForce | None, name: str) -> None:
    if before is None:
        return
    if found.sequence < before.sequence:
        message = f"an older policy: sequence {found.sequence}, {before.sequence} was in force"
        raise PolicyError(message, file=name, line=1)
    if found.sequence == before.sequence and found.digest != before.digest:
        message = f"another policy of the same sequence {found.sequence}"
        raise PolicyError(message, file=name, line=1)
