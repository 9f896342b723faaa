"""`sentinel-agent enroll`: this node's own key, its certificate, and what it believes for good.

Whatever the moment in which it is killed, the next try goes on: the key and an unwrapped token lie
in the state folder until the certificate is in its place, which is the last step. Nothing that is
pinned already is replaced by a ticket; another root than ours is refused with nothing changed.
"""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from agent.executor_settings import ExecutorSettings
from agent.settings import AgentSettings
from appliance.channel import Identity
from vault import certificates, files, redeem
from vault.client import Client
from vault.errors import JoinError, StolenTokenError, VaultDeniedError
from vault.identity import make_key, request
from vault.joining import sign
from vault.settings import VaultSite
from vault.ticket import MAX_BYTES, Pins, SignedAnswer, Ticket, read_answer, read_ticket

FOLDER = "enroll"  # in the agent's state folder; gone when the node is enrolled


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    ticket: str  # SHA-256 of the token that wrapped it


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Where this node keeps who it is and what it believes."""

    name: str
    identity: Identity
    trust_root: Path | None
    audit_vkey: Path | None
    folder: Path

    @classmethod
    def of(cls, agent: AgentSettings, executor: ExecutorSettings) -> "Node":
        """From the settings of its two processes."""
        return cls(
            name=executor.node,
            identity=agent.identity,
            trust_root=executor.trust_root,
            audit_vkey=executor.audit_vkey,
            folder=agent.state_dir / FOLDER,
        )

    @property
    def uri(self) -> str:
        """Its name in certificates."""
        return f"spiffe://sentinel/node/{self.name}"


def with_ticket(
    node: Node,
    ticket: Ticket,
    site: VaultSite,
    *,
    expected: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Join with the token of `sentinel node add`."""
    # 1. the ticket is for this node          4. the token was made where such tokens are made
    # 2. it is the site that was expected     5. it is opened, once, and kept until we are done
    # 3. it pins nothing but what we believe  6. our own key is certified; what came is ours
    if ticket.node != node.name:  # 1
        raise JoinError(f"the ticket is for {ticket.node}, this node is {node.name}")
    _demand_fingerprint(ticket.pins, expected, say)  # 2
    demand_new(node)
    demand_same_pins(node, ticket.pins)  # 3
    client = Client(site)
    token = _opened(node, client, site, ticket)  # 4, 5
    key = _own_key(node)
    csr = request(key, name=node.name, uri=node.uri)
    try:
        chain = sign(client, site, csr, node=node.name, token=token)
    except VaultDeniedError as error:
        _path(node, "token").unlink(missing_ok=True)
        raise JoinError(
            f"{error}; the token that was unwrapped here is of no use any more:"
            f" `sentinel node add {node.name}` makes another"
        ) from error
    finish(node, SignedAnswer(node=node.name, chain=chain, pins=ticket.pins), say=say)  # 6


def site_of(node: Node, ticket: Ticket) -> VaultSite:
    """Where Vault is, as the ticket says; the fingerprint that is compared covers that, too."""
    if not ticket.pins.vault_ca:
        return VaultSite(url=ticket.pins.vault)
    path = _path(node, "vault-ca.pem")
    files.keep(path, ticket.pins.vault_ca.encode(), mode=0o644)
    return VaultSite(url=ticket.pins.vault, ca=path)


def write_request(node: Node, path: Path, *, say: Callable[[str], None] = print) -> None:
    """Without a way to Vault: the request as a file, for `sentinel node sign`."""
    demand_new(node)
    key = _own_key(node)
    files.keep(path, request(key, name=node.name, uri=node.uri).encode(), mode=0o644)
    say(f"request   {path}, for {node.name}")
    say(f"our key   {certificates.key_fingerprint(key.public_key())}")
    say("compare   `sentinel node sign` must show the same key before you let it sign")


def with_answer(
    node: Node,
    answer: SignedAnswer,
    *,
    expected: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Take the answer to our request."""
    if answer.node != node.name:
        raise JoinError(f"the answer is for {answer.node}, this node is {node.name}")
    if not _path(node, "key.pem").exists():
        raise JoinError("there is no request of this node to answer; `--offline FILE` writes one")
    _demand_fingerprint(answer.pins, expected, say)
    demand_new(node)
    demand_same_pins(node, answer.pins)
    finish(node, answer, say=say)


def finish(node: Node, answer: SignedAnswer, *, say: Callable[[str], None]) -> None:
    """Check what was signed, then put everything in place, the certificate last."""
    key = _own_key(node)
    chain = certificates.chain_of(answer.chain)
    leaf = certificates.demand_ours(
        chain,
        node=node.name,
        key=key.public_key(),
        roots=certificates.chain_of(answer.pins.ca),
        now=datetime.now(UTC),
    )
    for path, text in _pinned(node, answer.pins):
        files.keep(path, text.encode(), mode=0o644)
    # From here on the pins stay; another ticket that pins something else is refused.
    private = _path(node, "key.pem").read_bytes()
    files.replace_pair(
        node.identity.certificate, node.identity.key, chain=answer.chain.encode(), private=private
    )
    # From here on this node is enrolled.
    for name in ("token", "opening", "key.pem", "vault-ca.pem"):
        _path(node, name).unlink(missing_ok=True)
    say(f"our key   {certificates.key_fingerprint(leaf.public_key())}")
    say(f"enrolled  {node.name}, until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    say("compare   the console's page Nodes shows the same key once the agent has connected")


def demand_new(node: Node) -> None:
    """Finish what was interrupted; raise `JoinError` when this node is enrolled already."""
    files.settle(node.identity.certificate, node.identity.key)
    if not files.fit(node.identity.certificate, node.identity.key):
        return
    leaf = certificates.chain_of(node.identity.certificate.read_bytes())[0]
    if leaf.not_valid_after_utc > datetime.now(UTC):
        raise JoinError(
            f"this node is enrolled, until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; to have"
            f" it enrolled anew, remove {node.identity.certificate}"
        )


def demand_same_pins(node: Node, pins: Pins) -> None:
    """Raise `JoinError` when something else is pinned here than the ticket says."""
    for path, text in _pinned(node, pins):
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise JoinError(
                f"{path} pins something else than the ticket does; nothing was changed. If this"
                " node is to believe another site, remove that file first"
            )


def read_file(path: Path | None) -> bytes:
    """A ticket or an answer: from a file, or (none) from standard input."""
    try:
        if path is None:
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise JoinError(f"{path}: cannot be read: {error.strerror}") from error


def ticket_from(path: Path | None) -> Ticket:
    """The ticket in a file or on standard input."""
    return read_ticket(read_file(path))


def answer_from(path: Path) -> SignedAnswer:
    """The answer in a file."""
    return read_answer(read_file(path))


def _demand_fingerprint(pins: Pins, expected: str | None, say: Callable[[str], None]) -> None:
    say(f"site      {pins.fingerprint}")
    if expected is None:
        say("compare   `sentinel node add` showed the same")
    elif expected.replace(" ", "").lower() != pins.fingerprint.replace(" ", ""):
        raise JoinError("the ticket is of another site than was expected; it was not opened")


def _opened(node: Node, client: Client, site: VaultSite, ticket: Ticket) -> str:
    kept, opening = _path(node, "token"), _path(node, "opening")
    if (held := _kept(kept, ticket)) is not None:
        return held.token
    try:
        redeem.look(client, site, ticket.token)
        files.keep(opening, b"")
        found = redeem.unwrap(client, ticket.token)
    except StolenTokenError as error:
        if not opening.exists():
            raise
        raise StolenTokenError(
            f"{error}. This node was opening it when it was stopped, so it may have been this node"
            " itself; the administrator cannot tell, and makes another token either way"
        ) from error
    files.keep(kept, msgspec.json.encode(_Held(token=found.token, ticket=_mark(ticket))))
    # From here on a restart finds the token, and needs the ticket's no more.
    opening.unlink(missing_ok=True)
    return found.token


def _kept(path: Path, ticket: Ticket) -> _Held | None:
    """What an earlier try with this very ticket unwrapped."""
    try:
        held = msgspec.json.decode(path.read_bytes(), type=_Held)
    except (OSError, msgspec.DecodeError):
        return None
    return held if held.ticket == _mark(ticket) else None


def _mark(ticket: Ticket) -> str:
    return hashlib.sha256(ticket.token.encode()).hexdigest()


def _own_key(node: Node) -> ec.EllipticCurvePrivateKey:
    path = _path(node, "key.pem")
    if path.exists():
        return files.load_key(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = _path(node, "key.half")
    make_key(half)
    half.replace(path)
    return files.load_key(path)


def _pinned(node: Node, pins: Pins) -> list[tuple[Path, str]]:
    """What goes where; a node that has no place for something was not set up to believe it."""
    places = [
        (node.identity.ca, pins.ca),
        (node.trust_root, pins.trust_root),
        (node.audit_vkey, pins.audit_vkey),
    ]
    return [(path, text) for path, text in places if path is not None and text]


def _path(node: Node, name: str) -> Path:
    return node.folder / name
