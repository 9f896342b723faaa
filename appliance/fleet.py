"""`sentinel halt`, `sentinel resume`, `sentinel node`: the fleet from the command line.

Halting writes one row, and every node obeys. Resuming signs with the administrator's own key, which
is read here and never stored: the hub only carries the signature, each node checks it by itself.
"""

import argparse
import base64
import getpass
import sys
from datetime import UTC, datetime

from appliance import settings
from appliance.envelope import key_id, load_key
from appliance.errors import RefusedError
from appliance.halt import Halt, Resumption, to_be_signed
from appliance.records import KeySignature
from hub import trust
from hub.console.settings import ConsoleSettings
from hub.persist import halts, node_state, views
from hub.persist.database import Database
from hub.persist.outbox import Actor, actor
from hub.secrets import dsn_of


def halt(asked: argparse.Namespace) -> int:
    """Stop one node or all."""
    if asked.all == (asked.node is not None):
        raise RefusedError("name one node, or say --all")
    with _database(asked) as db:
        made = halts.order(db, node=asked.node, reason=asked.reason, by=_by(), now=_now())
    whom = asked.node or "all nodes"
    sys.stdout.write(f"halt {made.halt_id}: {whom} will run nothing more\n")
    return 0


def resume(asked: argparse.Namespace) -> int:
    """Sign that a halt is over."""
    key = load_key(asked.key)
    with _database(asked) as db:
        found = _the_one(halts.in_force(db), asked.halt)
        over = Halt(halt_id=str(found["halt_id"]), reason=found["reason"])
        signature = key.sign(to_be_signed(over, asked.operator))
        said = Resumption(
            halt_id=over.halt_id,
            operator=asked.operator,
            signature=KeySignature(
                credential_id=key_id(key.public_key()),
                signature=base64.b64encode(signature).decode(),
            ),
        )
        halts.lift(db, said, by=_by(), now=_now())
    sys.stdout.write(
        f"halt {over.halt_id}: signed by {asked.operator}; a node runs again once it has checked"
        " that, see the page Nodes\n"
    )
    return 0


def node(asked: argparse.Namespace) -> int:
    """List nodes, or accept a node's new key."""
    with _database(asked) as db:
        return _list(db) if asked.what == "list" else _accept(db, asked)


def _list(db: Database) -> int:
    sys.stdout.write(f"{'name':<32} {'stream':<12} {'runs':<10} reports\n")
    for one in views.nodes(db):
        stream = "connected" if one["connected"] else "away"
        runs = "halted" if one["halted"] else "dry run" if one["dry_run"] else "live"
        trouble = "; ".join(one["troubles"]) or "in order"
        sys.stdout.write(f"{one['name']:<32} {stream:<12} {runs:<10} {trouble}\n")
    return 0


def _accept(db: Database, asked: argparse.Namespace) -> int:
    offered = node_state.offered_fingerprint(db, asked.node)
    if offered is None:
        raise RefusedError(f"{asked.node} shows no other key than the one that is accepted")
    given = asked.fingerprint
    if given is None:
        sys.stdout.write(f"{asked.node} shows the key {offered}\n")
        sys.stdout.write("Compare it with `sentinel-executor --show-keys` on the node.\n")
        given = offered if input("accept it? [yes/no] ").strip() == "yes" else ""
    if given != offered:
        raise RefusedError("nothing was accepted")
    node_state.accept_key(db, node=asked.node, fingerprint=given, by=_by(), now=_now())
    sys.stdout.write(f"{asked.node}: reports under this key are believed\n")
    return 0


def _the_one(found: "list[views.Row]", wanted: str | None) -> "views.Row":
    fits = [one for one in found if wanted in (None, str(one["halt_id"]))]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise RefusedError("there is no such halt in force")
    lines = [f"  {one['halt_id']}  {one['node'] or 'all nodes'}: {one['reason']}" for one in fits]
    raise RefusedError("several halts are in force; say which with --halt:\n" + "\n".join(lines))


def _database(asked: argparse.Namespace) -> Database:
    chosen = settings.load(asked.config, ConsoleSettings)
    return trust.database(dsn_of(chosen), trust_root=chosen.trust_root)


def _by() -> Actor:
    return actor("operator", f"{getpass.getuser()} (command line)")


def _now() -> datetime:
    return datetime.now(UTC)
