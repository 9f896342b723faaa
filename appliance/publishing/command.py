"""`sentinel policy`: draft, sign and publish what is in force at a site."""

import argparse
import getpass
import sys
from datetime import UTC, datetime

from appliance import envelope, journal
from appliance.publishing import ceremony, enrolled, in_force
from appliance.publishing.folder import Folder

_LONGEST = 4000  # characters of a line; a public key of WebAuthn is long


def run(asked: argparse.Namespace) -> int:
    """Run one of them; 0 done, 1 refused or not said yes to."""
    now = datetime.now(UTC)
    match asked.what:
        case "key":
            return _key(asked)
        case "people":
            _say(enrolled.people_toml(asked.config).splitlines())
            return 0
        case "publish":
            by = f"{getpass.getuser()} (command line)"
            _say(in_force.publish(Folder(asked.repository), config=asked.config, by=by, now=now))
            return 0
    folder = Folder(asked.repository)
    match asked.what:
        case "init":
            _say(ceremony.init(folder, _keepers(asked), days=asked.days, now=now))
        case "draft":
            _say(ceremony.draft(folder, _wanted(asked), days=asked.days, now=now))
        case "rotate-root":
            _say(ceremony.rotate(folder, _keepers(asked), days=asked.days, now=now))
        case "show":
            _say(ceremony.show(folder, now=now))
        case "sign":
            return _sign(folder, asked)
    return 0


def _key(asked: argparse.Namespace) -> int:
    path = asked.name.with_name(asked.name.name + ".key")
    key = envelope.make_key(path)
    _say([f"{path} and {path.with_suffix('.pub')}", f"key {envelope.key_id(key.public_key())}"])
    return 0


def _sign(folder: Folder, asked: argparse.Namespace) -> int:
    key = envelope.load_key(asked.key)
    pending = ceremony.pending(folder, key.public_key())
    _say(pending.lines)
    if not asked.yes and not _yes("Sign this? [y/N] "):
        sys.stderr.write("sentinel policy: nothing was signed\n")
        return 1
    _say(ceremony.sign(folder, pending, key))
    return 0


def _yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _keepers(asked: argparse.Namespace) -> ceremony.Wishes:
    return ceremony.Wishes(
        roots=asked.root,
        signers=asked.signer,
        online=asked.online,
        root_threshold=asked.root_threshold,
        threshold=asked.threshold,
    )


def _wanted(asked: argparse.Namespace) -> ceremony.Wanted:
    return ceremony.Wanted(
        policy=asked.policy,
        policy_key=asked.policy_key,
        sequence=asked.sequence,
        people=asked.people,
        order_keys=asked.order_key,
        audit_vkeys=asked.audit_vkey,
        witness_vkeys=asked.witness_vkey,
        witness_quorum=asked.witness_quorum,
    )


def _say(lines: list[str]) -> None:
    """What people decide by: no name in a file can pass for a line of ours."""
    for line in lines:
        sys.stdout.write(f"{journal.shown(line, most=_LONGEST)}\n")
