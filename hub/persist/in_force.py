"""What each part works with: a start with other settings, or another model, is told to the log.

Settings may hold a password, so of each value only a salted digest is kept, and the log gets the
names of the keys that changed and one digest over all. The salt stays in the database.
"""

import hashlib
import logging
import os
import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from appliance.settings import Settings
from hub.errors import DatabaseError
from hub.persist.database import Database, Work, as_json
from hub.persist.outbox import actor, offer

RETRY_S = 2.0

_log = logging.getLogger(__name__)


def tell_settings(db: Database, part: str, settings: Settings) -> None:
    """Offer a `config.change` when this part was started with other settings here before."""
    values = msgspec.to_builtins(settings, enc_hook=_plain)
    with db.transaction() as work:
        changed = _take(work, part, values)
        if changed is None:
            return
        keys, before, after = changed
        body = {
            "what": "settings",
            "key": part,
            "keys": keys,
            "before_digest": before,
            "after_digest": after,
        }
        offer(work, type="config.change", actor=actor("hub", part), body=body, at=_now())


def tell_model(db: Database, *, name: str, sha256: str) -> None:
    """Offer a `model.load` when another model than before is in use here."""
    with db.transaction() as work:
        if _take(work, "model", {"name": name, "sha256": sha256}) is None:
            return
        body = {"model_name": name, "model_sha256": sha256}
        offer(work, type="model.load", actor=actor("reasoner", _host()), body=body, at=_now())


def tell_schema(dsn: str, applied: list[str]) -> None:
    """Offer that the database has another schema now."""
    with Database(dsn, size=1) as db, db.transaction() as work:
        body = {"what": "schema", "keys": applied}
        offer(work, type="config.change", actor=actor("hub", "migrate"), body=body, at=_now())


def tell_settings_once_it_can(
    db: Database, part: str, settings: Settings, stop: threading.Event
) -> None:
    """As `tell_settings`, for a part that starts without its database: again until it did."""
    while not stop.is_set():
        try:
            tell_settings(db, part, settings)
        except DatabaseError as error:
            _log.warning("the settings are not on record yet: %s", error)
            stop.wait(RETRY_S)
        else:
            return


def _take(
    work: Work, part: str, values: dict[str, Any]
) -> tuple[list[str], str | None, str] | None:
    """The keys that changed, and digests over all before and now; None when nothing did."""
    row = work.one("in_force", part=part, host=_host())
    salt = row["salt"] if row else secrets.token_hex(32)
    before: dict[str, str] = row["digests"] if row else {}
    digests = {key: _digest(salt, value) for key, value in sorted(values.items())}
    if digests == before:
        return None
    work.run(
        "take_in_force", part=part, host=_host(), salt=salt, digests=as_json(digests), now=_now()
    )
    keys = [key for key in sorted({*before, *digests}) if before.get(key) != digests.get(key)]
    return keys, _digest(salt, before) if row else None, _digest(salt, digests)


def _digest(salt: str, value: Any) -> str:
    encoded = msgspec.json.encode(value, order="sorted")
    return hashlib.sha256(bytes.fromhex(salt) + encoded).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no settings hold a {type(value).__name__}")


def _host() -> str:
    return os.uname().nodename


def _now() -> datetime:
    return datetime.now(UTC)
