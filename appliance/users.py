"""`sentinel user`: who may sign in to the console, from the command line."""

import argparse
import getpass
import sys
from datetime import UTC, datetime, timedelta

from appliance import settings, user_keys
from appliance.errors import RefusedError
from hub import trust
from hub.console.settings import ConsoleSettings
from hub.persist import operators
from hub.persist.database import Database
from hub.persist.outbox import Actor, actor
from hub.secrets import dsn_of


def run(asked: argparse.Namespace) -> int:
    """Run one of them; every change is in the audit log."""
    chosen = settings.load(asked.config, ConsoleSettings)
    with trust.database(dsn_of(chosen), trust_root=chosen.trust_root) as db:
        if asked.what == "list":
            return _list(db)
        if asked.what.endswith(("keys", "-key")):
            return user_keys.run(db, asked)
        by, now = actor("operator", f"{getpass.getuser()} (command line)"), datetime.now(UTC)
        match asked.what:
            case "add":
                password = _password() if asked.password else None
                operators.add(
                    db, name=asked.name, role=asked.role, by=by, now=now, password=password
                )
                if password is None:
                    _link(db, chosen, asked.name, by=by, now=now)
            case "role":
                operators.set_role(db, name=asked.name, role=asked.role, by=by, now=now)
            case "disable" | "enable":
                disabled = asked.what == "disable"
                operators.set_disabled(db, name=asked.name, disabled=disabled, by=by, now=now)
            case "password":
                operators.set_password(db, name=asked.name, password=_password(), by=by, now=now)
            case "link":
                _link(db, chosen, asked.name, by=by, now=now)
    return 0


def _list(db: Database) -> int:
    sys.stdout.write(f"{'name':<24} {'role':<10} {'state':<10} last seen\n")
    for one in operators.listed(db):
        seen = one.seen_at.strftime("%Y-%m-%d %H:%MZ") if one.seen_at else "never"
        state = "disabled" if one.disabled else "active"
        sys.stdout.write(f"{one.name:<24} {one.role:<10} {state:<10} {seen}\n")
    return 0


def _link(db: Database, chosen: ConsoleSettings, name: str, *, by: Actor, now: datetime) -> None:
    valid = timedelta(minutes=chosen.link_min)
    token = operators.new_link(db, name=name, valid_for=valid, by=by, now=now)
    host = chosen.names[0] if chosen.names else "localhost"
    sys.stdout.write(f"https://{host}:{chosen.port}/sign-in/once?token={token}\n")
    sys.stdout.write(f"good once, for {chosen.link_min} minutes\n")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("password: ")
    if getpass.getpass("again: ") != first:
        raise RefusedError("the two passwords differ; nothing was changed")
    return first
