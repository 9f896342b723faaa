"""`sentinel node add|sign|check|revoke`: who may join, and who is no longer believed.

The administrator's own Vault token is read here, from the environment, a file or a prompt, and
never kept. What a node is to believe is what the hub itself believes, from the hub's settings.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from appliance import settings
from appliance.channel import NODE_URI
from appliance.errors import RefusedError
from hub.persist import identity
from hub.persist.database import Database
from hub.persist.outbox import Actor, actor
from hub.secrets import dsn_of
from hub.settings import ServeSettings
from vault import certificates, files, ticket
from vault.client import Client
from vault.errors import JoinError, VaultError
from vault.joining import Joining
from vault.ticket import SignedAnswer, Ticket

TOKEN_NAMES = ("BAO_TOKEN", "VAULT_TOKEN")


def run(asked: argparse.Namespace) -> int:
    """One command; 0 yes, 1 no, 2 could not tell."""
    chosen = settings.load(asked.config, ServeSettings)
    if chosen.vault is None:
        raise RefusedError(f"{asked.config} has no [vault]: say there where Vault is")
    with Database(dsn_of(chosen)) as db:
        client = Client(chosen.vault, token=_token(asked.vault_token_file))
        return COMMANDS[asked.what](asked, chosen, db, Joining(chosen.vault, client))


def _add(asked: argparse.Namespace, chosen: ServeSettings, db: Database, vault: Joining) -> int:
    now = _now()
    pins = _pins(chosen)
    _demand_name(asked.node)
    identity.demand_addable(db, node=asked.node, now=now)
    vault.tell_sign_on()  # what was revoked must not sign on under a name that is back
    door = vault.admit(asked.node, minutes=asked.minutes, now=now)
    identity.asked(
        db, node=asked.node, wrap=door.accessor, wrapped=door.wrapped, expires_at=door.expires,
        by=_by(), now=now,
    )  # fmt: skip
    made = Ticket(node=asked.node, token=door.token, pins=pins)
    out = asked.out or Path(f"{asked.node}.ticket")
    files.keep(out, ticket.written(made))
    _say(f"ticket    {out}, good once, until {door.expires:%H:%M} UTC")
    _say(f"site      {pins.fingerprint}")
    _say(f"there     sentinel-agent enroll --token-file FILE --expect '{pins.fingerprint}'")
    _say("compare   the node shows the same site, and its own key, which the page Nodes shows, too")
    return 0


def _sign(asked: argparse.Namespace, chosen: ServeSettings, db: Database, vault: Joining) -> int:
    try:
        data = asked.request.read_bytes()
    except OSError as error:
        raise JoinError(f"{asked.request}: cannot be read: {error.strerror}") from error
    csr = certificates.read_request(data)
    node, now, pins = certificates.node_of(csr), _now(), _pins(chosen)
    identity.demand_addable(db, node=node, now=now)
    key = certificates.key_fingerprint(csr.public_key())
    _say(f"node      {node}\nits key   {key}")
    given = asked.key
    if given is None:
        given = key if input("does the node show this key? [yes/no] ").strip() == "yes" else ""
    if given.replace(" ", "") != key.replace(" ", ""):
        raise RefusedError("nothing was signed")
    vault.tell_sign_on()
    chain = vault.sign(node, data.decode("ascii"))
    identity.asked(db, node=node, wrap="", wrapped="", expires_at=now, by=_by(), now=now)
    answer = SignedAnswer(node=node, chain=chain, pins=pins)
    out = asked.out or Path(f"{node}.answer")
    files.keep(out, ticket.written(answer), mode=0o644)
    _say(f"answer    {out}\nsite      {pins.fingerprint}")
    _say(f"there     sentinel-agent enroll --answer FILE --expect '{pins.fingerprint}'")
    return 0


def _check(asked: argparse.Namespace, _: ServeSettings, db: Database, vault: Joining) -> int:
    """What became of the tickets; with `--stolen` shut out whoever opened one."""
    worst, now = 0, _now()
    for one in identity.waiting(db, asked.node):
        node, opened = one["node"], not one["wrap"] or vault.unwrapped(one["wrap"])
        if asked.stolen and asked.node and opened:
            identity.settle(db, one, "stolen", by=_by(), now=now)
            _contain(db, vault, node, one["wrapped"], "its joining token was opened by another")
            _say(f"{node}: SHUT OUT. What was obtained with the token is revoked; see the log")
            worst = 1
        elif not opened:
            _say(f"{node}: not opened yet, good until {one['expires_at']:%H:%M} UTC")
        elif one["opened_at"] or one["expires_at"] > now or not one["wrap"]:
            _say(
                f"{node}: OPENED, and the node has not connected. If it says `enrolled`, start its"
            )
            _say("  agent. If it says that the token was already unwrapped, somebody else did it:")
            _say(f"  sentinel node check {node} --stolen")
            worst = 1
        else:
            identity.settle(db, one, "expired", by=_by(), now=now)
            _say(f"{node}: its time was over before the node connected; add it again")
    return worst


def _revoke(asked: argparse.Namespace, _: ServeSettings, db: Database, vault: Joining) -> int:
    serials = _contain(db, vault, asked.node, "", asked.reason)
    _say(
        f"{asked.node}: no stream and no new certificate any more; {len(serials)} revoked in Vault"
    )
    return 0


def _contain(db: Database, vault: Joining, node: str, wrapped: str, reason: str) -> list[str]:
    """The hub's own row first: it holds also when Vault is away."""
    known = identity.revoke(db, node=node, reason=reason, by=_by(), now=_now())
    # From here on no stream of this node lives longer than a second.
    try:
        vault.shut(node)
        if wrapped:
            vault.close(wrapped)
        return vault.revoke(node, [row["serial"] for row in known])
    except VaultError as error:
        raise VaultError(
            f"the hub refuses {node} from now on, but Vault does not know all yet: {error}."
            f" Say `sentinel node revoke {node}` again when Vault answers"
        ) from error


def _pins(chosen: ServeSettings) -> ticket.Pins:
    if chosen.vault is None:
        raise RefusedError("there is no [vault]: say there where Vault is")
    return ticket.pins_of(
        chosen.vault,
        ca=chosen.identity.ca,
        trust_root=chosen.trust_root,
        audit_vkey=chosen.audit_vkey,
    )


def _demand_name(node: str) -> None:
    if not NODE_URI.match(f"spiffe://sentinel/node/{node}"):
        raise RefusedError(f"{node!r} can be no node's name: lower case letters, digits, `.`, `-`")


def _token(path: Path | None) -> str:
    if path is not None:
        try:
            return path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise VaultError(f"{path}: cannot read the token") from error
    for name in TOKEN_NAMES:
        if found := os.environ.get(name):
            return found.strip()
    return getpass.getpass("Vault token: ").strip()


def _by() -> Actor:
    return actor("operator", f"{getpass.getuser()} (command line)")


def _now() -> datetime:
    return datetime.now(UTC)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


COMMANDS: dict[str, Callable[[argparse.Namespace, ServeSettings, Database, Joining], int]] = {
    "add": _add,
    "sign": _sign,
    "check": _check,
    "revoke": _revoke,
}
