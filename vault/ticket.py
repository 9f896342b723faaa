"""What an administrator carries to a node that joins: a single-use token, and what to believe.

The token opens one door for some minutes. The rest is public, and pins the site: root CA, trust
root and the audit log's keys come by the administrator's hand and not from whoever answers as
Vault. `fingerprint` is what both screens show, so that a ticket that was changed on its way is
seen. Without a token it is the answer to a request that came as a file.
"""

import hashlib
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from appliance.records import Record
from vault.errors import JoinError
from vault.settings import VaultSite

MAX_BYTES = 512 * 1024
FINGERPRINT_OF = "sentinel site v1"

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Pem = Annotated[str, msgspec.Meta(max_length=256 * 1024)]
R = TypeVar("R")


class Pins(Record, frozen=True, kw_only=True):
    """What a node believes for good."""

    ca: Pem  # the root of the site's certificates
    trust_root: Pem = ""  # TUF root: policy, people and keys come under it
    audit_vkey: Pem = ""  # the audit log's keys, one a line
    vault: str = ""  # where the token is good; whoever answers elsewhere could keep it
    vault_ca: Pem = ""  # of Vault's own certificate; none: what the node's system believes

    @property
    def fingerprint(self) -> str:
        """One short word over all of it, in groups that can be read aloud."""
        pinned = (self.ca, self.trust_root, self.audit_vkey, self.vault, self.vault_ca)
        parts = (FINGERPRINT_OF, *pinned)
        digest = hashlib.sha256("".join(f"{len(one)}:{one}" for one in parts).encode()).hexdigest()
        return grouped(digest[:40])


class Ticket(Record, frozen=True, kw_only=True):
    """`sentinel node add` wrote this for one node."""

    node: Name
    token: Annotated[str, msgspec.Meta(max_length=4096)]  # wraps another; single use
    pins: Pins


class SignedAnswer(Record, frozen=True, kw_only=True):
    """`sentinel node sign` answered a request that came as a file; nothing in it is secret."""

    node: Name
    chain: Pem  # the certificate, then what signed it
    pins: Pins


def read_ticket(data: bytes) -> Ticket:
    """A ticket from outside."""
    return _read(data, Ticket, "ticket of `sentinel node add`")


def read_answer(data: bytes) -> SignedAnswer:
    """A signed answer from outside."""
    return _read(data, SignedAnswer, "answer of `sentinel node sign`")


def written(record: Ticket | SignedAnswer) -> bytes:
    """The file's bytes."""
    return msgspec.json.format(msgspec.json.encode(record)) + b"\n"


def pins_of(site: VaultSite, *, ca: Path, trust_root: Path | None, audit_vkey: Path | None) -> Pins:
    """What the hub itself believes."""
    return Pins(
        vault=site.url,
        vault_ca=_text(site.ca) if site.ca else "",
        ca=_text(ca),
        trust_root=_text(trust_root) if trust_root else "",
        audit_vkey=_text(audit_vkey) if audit_vkey else "",
    )


def grouped(text: str) -> str:
    """Hex in groups of four."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise JoinError(f"{path}: cannot be read: {error}") from error


def _read(data: bytes, kind: type[R], what: str) -> R:
    if len(data) > MAX_BYTES:
        raise JoinError(f"more than {MAX_BYTES} bytes; that is no {what}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JoinError(f"that is no {what}: {error}") from error
