"""Signing in, by password or one-time link: sessions, and what stops guessing.

Who the operators are is `hub/persist/operators.py`. Sessions that begin or are signed out, and
guesses that were wrong, are offered to the audit log.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from appliance.errors import RefusedError
from appliance.journal import shown
from hub.persist.database import Database, Work
from hub.persist.operators import changed, fits, hash_password, token_hash
from hub.persist.outbox import actor, offer
from hub.persist.people import role_in_force

_SEEN_EVERY = timedelta(seconds=15)  # writing "seen" on every click would be a lot of nothing


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
class Session:
    """A signed-in browser."""

    session_id: str  # names it in the audit log; it is not the token
    name: str
    role: str  # that of people.json, where one is in force
    expires_at: datetime


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
        changed(work, "operator.password", name, by=actor("operator", name), now=now)
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
        row = work.one("link_use", token_hash=token_hash(token), now=now)
        if row is not None:
            name = str(row["name"])
            work.run("failure_forget", name=name)
            if hashed is not None:
                work.run("operator_set_password", name=name, password_hash=hashed)
                work.run("session_end_all", name=name)
                changed(work, "operator.password", name, by=actor("operator", name), now=now)
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
    key = token_hash(token)
    with db.transaction() as work:
        row = work.one("session_one", token_hash=key, now=now, idle_since=now - rules.idle)
        if row is None:
            return None
        if touch and now - row["seen_at"] > _SEEN_EVERY:
            work.run("session_seen", token_hash=key, now=now)
        role = role_in_force(work, row["name"], row=row["role"])
    return Session(session_id=key[:16], name=row["name"], role=role, expires_at=row["expires_at"])


def sign_out(db: Database, *, token: str, now: datetime) -> None:
    """End a session; an unknown token is none."""
    key = token_hash(token)
    with db.transaction() as work:
        row = work.one("session_end", token_hash=key)
        if row is not None:
            _offer(work, "auth.logout", row["name"], {}, outcome="ok", session=key[:16], now=now)


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
    right = fits(password, row["password_hash"] if row else None)  # 3
    if row is None or row["disabled"] or not right:
        with db.transaction() as work:
            since = now - rules.lockout
            counted = work.all(
                "failure_recent", by="operator", subject=name, since=since, limit=rules.failures
            )
            locked = "locked out from now on" if len(counted) >= rules.failures else None
            _offer(
                work,
                "auth.fail",
                name,
                {"address": address, "method": "password", "reason": locked},
                outcome="refused",
                now=now,
            )
        raise SigninError("this name and password do not fit together")


def _begin(
    work: Work, name: str, *, address: str, way: str, rules: SigninRules, now: datetime
) -> str:
    token = secrets.token_urlsafe(32)
    key = token_hash(token)
    for over in work.all("session_sweep", now=now, idle_since=now - rules.idle):
        session, reason = over["token_hash"][:16], {"reason": "idle, or its time was over"}
        _offer(work, "auth.logout", over["name"], reason, outcome="ended", session=session, now=now)
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
