"""Operators: who may sign in, with which role, for how long, and what stops guessing.

Passwords are kept as argon2id hashes; of the tokens in cookies and links only their SHA-256 is
kept, so a stolen database signs nobody in. Every change is offered to the audit log in the same
transaction. The command line and the console both come through here.
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
from hub.persist.outbox import Actor, actor, offer

ROLES = ("viewer", "operator", "admin")
PASSWORD_MIN, PASSWORD_MAX = 12, 256  # NIST SP 800-63B asks for length, not for symbols

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_NO_PASSWORD = "!"  # noqa: S105 - not a hash, so no password fits it
_SEEN_EVERY = timedelta(seconds=15)  # writing "seen" on every click would be a lot of nothing
_hasher = PasswordHasher()  # RFC 9106, second choice: 64 MiB, 3 passes
_hashing = BoundedSemaphore(2)  # a flood of guesses takes at most 128 MiB
_nobody = _hasher.hash(secrets.token_hex(16))  # unknown names cost the same time


class OperatorError(RefusedError):
    """A change to the operators was refused; the text says why."""

    code = "operator"


class SigninError(RefusedError):
    """The sign-in was refused; the text does not say whether the name exists."""

    code = "sign-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigninRules:
    """How many wrong guesses are too many, and how long a session lasts."""

    failures: int = 5  # for one name
    address_failures: int = 20  # from one address, whatever the names
    lockout: timedelta = timedelta(minutes=15)
    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A person who may sign in."""

    name: str
    role: str
    disabled: bool
    created_at: datetime
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A signed-in browser."""

    session_id: str  # names it in the audit log; it is not the token
    name: str
    role: str
    expires_at: datetime


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
        _changed(work, "operator.add", name, by=by, now=now, role=role)


def set_role(db: Database, *, name: str, role: str, by: Actor, now: datetime) -> None:
    """Give an operator another role; it counts from their next click on."""
    _check_role(role)
    with db.transaction() as work:
        if role != "admin":
            _keep_an_admin(work, without=name)
        _must(work.run("operator_set_role", name=name, role=role), name)
        _changed(work, "operator.role", name, by=by, now=now, role=role)


def set_disabled(db: Database, *, name: str, disabled: bool, by: Actor, now: datetime) -> None:
    """Keep an operator out, at once and everywhere, or let them in again."""
    with db.transaction() as work:
        if disabled:
            _keep_an_admin(work, without=name)
        _must(work.run("operator_set_disabled", name=name, disabled=disabled), name)
        if disabled:
            work.run("session_end_all", name=name)
        _changed(work, "operator.disable" if disabled else "operator.enable", name, by=by, now=now)


def set_password(db: Database, *, name: str, password: str, by: Actor, now: datetime) -> None:
    """Set a password and sign the operator out everywhere."""
    hashed = hash_password(password)
    with db.transaction() as work:
        _must(work.run("operator_set_password", name=name, password_hash=hashed), name)
        work.run("session_end_all", name=name)
        _changed(work, "operator.password", name, by=by, now=now)


def new_link(
    db: Database, *, name: str, valid_for: timedelta, by: Actor, now: datetime, reset: bool = False
) -> str:
    """A token that signs an operator in once; earlier links of theirs end.

    With `reset` their password no longer counts and they are signed out everywhere.
    """
    token = secrets.token_urlsafe(32)
    with db.transaction() as work:
        _must(int(work.one("operator_one", name=name) is not None), name)
        work.run("link_add", name=name, token_hash=_hash(token), expires_at=now + valid_for)
        if reset:
            work.run("operator_set_password", name=name, password_hash=_NO_PASSWORD)
            work.run("session_end_all", name=name)
        _changed(work, "operator.reset" if reset else "operator.link", name, by=by, now=now)
    return token


def sign_in(
    db: Database, *, name: str, password: str, address: str, rules: SigninRules, now: datetime
) -> str:
    """The token of a new session; raises `SigninError` for a wrong guess or too many of them."""
    name = shown(name, most=64)
    _prove(db, name=name, password=password, address=address, rules=rules, now=now)
    with db.transaction() as work:
        work.run("failure_forget", name=name)
        work.run("failure_sweep", since=now - rules.lockout)
        return _begin(work, name, address=address, way="password", rules=rules, now=now)


def change_password(
    db: Database,
    *,
    name: str,
    old: str,
    new: str,
    address: str,
    rules: SigninRules,
    now: datetime,
) -> str:
    """Replace one's own password; the token of the one session that this leaves."""
    hashed = hash_password(new)
    _prove(db, name=name, password=old, address=address, rules=rules, now=now)
    with db.transaction() as work:
        work.run("failure_forget", name=name)
        work.run("operator_set_password", name=name, password_hash=hashed)
        work.run("session_end_all", name=name)
        _changed(work, "operator.password", name, by=actor("operator", name), now=now)
        return _begin(work, name, address=address, way="password", rules=rules, now=now)


def sign_in_once(
    db: Database,
    *,
    token: str,
    address: str,
    rules: SigninRules,
    now: datetime,
    new_password: str | None = None,
) -> str:
    """The token of a new session for a one-time link, which is used up by it."""
    hashed = None if new_password is None else hash_password(new_password)
    with db.transaction() as work:
        row = work.one("link_use", token_hash=_hash(token), now=now)
        if row is not None:
            name = str(row["name"])
            work.run("failure_forget", name=name)
            if hashed is not None:
                work.run("operator_set_password", name=name, password_hash=hashed)
                work.run("session_end_all", name=name)
                _changed(work, "operator.password", name, by=actor("operator", name), now=now)
            return _begin(work, name, address=address, way="link", rules=rules, now=now)
        _not_locked(work, "address", address, most=rules.address_failures, rules=rules, now=now)
        work.one("failure_add", name="", address=address, now=now)
        _offer(
            work,
            "auth.fail",
            "unknown",
            {"address": address, "method": "link"},
            outcome="refused",
            now=now,
        )
    raise SigninError("this link was used already or is too old; ask for a new one")


def session_of(
    db: Database, *, token: str, rules: SigninRules, now: datetime, touch: bool
) -> Session | None:
    """The living session of a token; `touch` says that a person, not a timer, asked."""
    key = _hash(token)
    with db.transaction() as work:
        row = work.one("session_one", token_hash=key, now=now, idle_since=now - rules.idle)
        if row is None:
            return None
        if touch and now - row["seen_at"] > _SEEN_EVERY:
            work.run("session_seen", token_hash=key, now=now)
    return Session(
        session_id=key[:16], name=row["name"], role=row["role"], expires_at=row["expires_at"]
    )


def sign_out(db: Database, *, token: str, now: datetime) -> None:
    """End a session; an unknown token is none."""
    key = _hash(token)
    with db.transaction() as work:
        row = work.one("session_end", token_hash=key)
        if row is not None:
            _offer(work, "auth.logout", row["name"], {}, outcome="ok", session=key[:16], now=now)


def hash_password(password: str) -> str:
    """The argon2id hash of a password that is long enough."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise OperatorError(
            f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters, got {len(password)}"
        )
    with _hashing:
        return _hasher.hash(password)


def _prove(
    db: Database, *, name: str, password: str, address: str, rules: SigninRules, now: datetime
) -> None:
    # 1. too many guesses for this name or from this address: the password is not even looked at
    # 2. the guess counts as failed before it is checked, so that many at once are all counted
    # 3. an unknown name costs as much time as a wrong password
    with db.transaction() as work:
        _not_locked(work, "address", address, most=rules.address_failures, rules=rules, now=now)
        _not_locked(work, "operator", name, most=rules.failures, rules=rules, now=now)  # 1
        work.one("failure_add", name=name, address=address, now=now)  # 2
        row = work.one("operator_one", name=name)
    fits = _fits(password, row["password_hash"] if row else _nobody)  # 3
    if row is None or row["disabled"] or not fits:
        with db.transaction() as work:
            _offer(
                work,
                "auth.fail",
                name,
                {"address": address, "method": "password"},
                outcome="refused",
                now=now,
            )
        raise SigninError("this name and password do not fit together")


def _begin(
    work: Work, name: str, *, address: str, way: str, rules: SigninRules, now: datetime
) -> str:
    token = secrets.token_urlsafe(32)
    key = _hash(token)
    work.run("session_sweep", now=now, idle_since=now - rules.idle)
    work.run(
        "session_add",
        token_hash=key,
        name=name,
        address=address,
        now=now,
        expires_at=now + rules.absolute,
    )
    body = {"address": address, "method": way}
    _offer(work, "auth.login", name, body, outcome="ok", session=key[:16], now=now)
    return token


def _not_locked(
    work: Work, by: str, subject: str, *, most: int, rules: SigninRules, now: datetime
) -> None:
    work.one("failure_lock", subject=f"{by} {subject}")
    since = now - rules.lockout
    rows = work.all("failure_recent", by=by, subject=subject, since=since, limit=most)
    if len(rows) >= most:
        until = rows[-1]["at"] + rules.lockout
        raise SigninError(
            f"too many failed sign-ins; try again after {until:%H:%M:%S} UTC"
            " or ask an administrator for a one-time link"
        )


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


def _changed(work: Work, what: str, name: str, *, by: Actor, now: datetime, **more: Any) -> None:
    body = {"what": what, "operator": name, **more}
    offer(work, type="config.change", actor=by, body=body, at=now, outcome="ok")


def _offer(
    work: Work,
    kind: str,
    name: str,
    body: dict[str, Any],
    *,
    outcome: str,
    now: datetime,
    session: str | None = None,
) -> None:
    who = actor("operator", name, session=session)
    offer(work, type=kind, actor=who, body=body, at=now, outcome=outcome)


def _fits(password: str, hashed: str) -> bool:
    with _hashing:
        try:
            return _hasher.verify(hashed, password[:PASSWORD_MAX])
        except InvalidHashError:
            return _fits_nobody(password)
        except VerifyMismatchError:  # any other trouble, no memory say, is not a wrong guess
            return False


def _fits_nobody(password: str) -> bool:
    with suppress(VerifyMismatchError):
        _hasher.verify(_nobody, password[:PASSWORD_MAX])
    return False


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
