"""Operators: who may sign in, with which role, and what only they know.

Passwords are kept as argon2id hashes; of the tokens in cookies and links only their SHA-256 is
kept, so a stolen database signs nobody in. Every change is offered to the audit log in the same
transaction. The command line and the console both come through here; signing in is
`hub/persist/sign_in.py`.
"""

import hashlib
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import BoundedSemaphore
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from appliance.errors import RefusedError
from appliance.journal import shown
from hub.persist.database import Database, Work
from hub.persist.outbox import Actor, offer

ROLES = ("viewer", "operator", "admin")
PASSWORD_MIN, PASSWORD_MAX = 12, 256  # NIST SP 800-63B asks for length, not for symbols

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_NO_PASSWORD = "!"  # noqa: S105 - not a hash, so no password fits it
_hasher = PasswordHasher()  # RFC 9106, second choice: 64 MiB, 3 passes
_hashing = BoundedSemaphore(2)  # a flood of guesses takes at most 128 MiB
_nobody = _hasher.hash(secrets.token_hex(16))  # unknown names cost the same time


class OperatorError(RefusedError):
    """A change to the operators was refused; the text says why."""

    code = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A person who may sign in."""

    name: str
    role: str
    disabled: bool
    created_at: datetime
    seen_at: datetime | None = None


def listed(db: Database) -> list[Operator]:
    """All operators by name."""
    with db.transaction() as work:
        return [Operator(**row) for row in work.all("operator_all")]


def add(
    db: Database, *, name: str, role: str, by: Actor, now: datetime, password: str | None = None
) -> None:
    """Add an operator; without a password they come in by a one-time link only."""
    if not _NAME.match(name):
        raise OperatorError(
            "a name is 1 to 64 of a-z, 0-9, dot, dash and underscore, and starts with a letter"
            f" or digit; got {shown(name, most=80)!r}"
        )
    _check_role(role)
    hashed = _NO_PASSWORD if password is None else hash_password(password)
    with db.transaction() as work:
        if not work.run("operator_add", name=name, password_hash=hashed, role=role, now=now):
            raise OperatorError(f"there already is an operator {name}")
        changed(work, "operator.add", name, by=by, now=now, role=role)


def set_role(db: Database, *, name: str, role: str, by: Actor, now: datetime) -> None:
    """Give an operator another role; it counts from their next click on."""
    _check_role(role)
    with db.transaction() as work:
        if role != "admin":
            _keep_an_admin(work, without=name)
        _must(work.run("operator_set_role", name=name, role=role), name)
        changed(work, "operator.role", name, by=by, now=now, role=role)


def set_disabled(db: Database, *, name: str, disabled: bool, by: Actor, now: datetime) -> None:
    """Keep an operator out, at once and everywhere, or let them in again."""
    with db.transaction() as work:
        if disabled:
            _keep_an_admin(work, without=name)
        _must(work.run("operator_set_disabled", name=name, disabled=disabled), name)
        if disabled:
            work.run("session_end_all", name=name)
        changed(work, "operator.disable" if disabled else "operator.enable", name, by=by, now=now)


def set_password(db: Database, *, name: str, password: str, by: Actor, now: datetime) -> None:
    """Set a password and sign the operator out everywhere."""
    hashed = hash_password(password)
    with db.transaction() as work:
        _must(work.run("operator_set_password", name=name, password_hash=hashed), name)
        work.run("session_end_all", name=name)
        changed(work, "operator.password", name, by=by, now=now)


def new_link(
    db: Database, *, name: str, valid_for: timedelta, by: Actor, now: datetime, reset: bool = False
) -> str:
    """A token that signs an operator in once; earlier links of theirs end.

    With `reset` their password no longer counts and they are signed out everywhere.
    """
    token = secrets.token_urlsafe(32)
    with db.transaction() as work:
        _must(int(work.one("operator_one", name=name) is not None), name)
        work.run("link_add", name=name, token_hash=token_hash(token), expires_at=now + valid_for)
        if reset:
            work.run("operator_set_password", name=name, password_hash=_NO_PASSWORD)
            work.run("session_end_all", name=name)
        changed(work, "operator.reset" if reset else "operator.link", name, by=by, now=now)
    return token


def hash_password(password: str) -> str:
    """The argon2id hash of a password that is long enough."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise OperatorError(
            f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters, got {len(password)}"
        )
    with _hashing:
        return _hasher.hash(password)


def fits(password: str, hashed: str | None) -> bool:
    """Whether it is the password of this hash; of nobody's hash it takes as long to say no."""
    with _hashing:
        try:
            return _hasher.verify(_nobody if hashed is None else hashed, password[:PASSWORD_MAX])
        except InvalidHashError:
            return _fits_nobody(password)
        except VerifyMismatchError:  # any other trouble, no memory say, is not a wrong guess
            return False


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def changed(work: Work, what: str, name: str, *, by: Actor, now: datetime, **more: Any) -> None:
    """Offer a change of an operator to the audit log, in the change's own transaction."""
    body = {"what": what, "operator": name, **more}
    offer(work, type="config.change", actor=by, body=body, at=now, outcome="ok")


def _keep_an_admin(work: Work, *, without: str) -> None:
    admins = [row["name"] for row in work.all("operator_lock_admins")]
    if admins == [without]:
        raise OperatorError(f"{without} is the last administrator; make another one first")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise OperatorError(f"a role is one of {', '.join(ROLES)}; got {shown(role, most=40)!r}")


def _must(found: int, name: str) -> None:
    if not found:
        raise OperatorError(f"there is no operator {shown(name, most=80)}")


def _fits_nobody(password: str) -> bool:
    with suppress(VerifyMismatchError):
        _hasher.verify(_nobody, password[:PASSWORD_MAX])
    return False
