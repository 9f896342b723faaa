"""Who is alive, and whether the audit log keeps up."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from appliance.journal import shown
from hub.persist.database import Database, Work

NOTARY_SILENT = timedelta(seconds=15)  # three missed heartbeats
OUTBOX_LATE = timedelta(seconds=10)  # the notary takes a row within a second when it lives


def beat(db: Database, *, part: str, instance: str, detail: dict[str, Any]) -> None:
    """Say that a part lives, with what it wants the console to show."""
    with db.transaction() as work:
        work.run("beat", part=part, instance=instance, now=datetime.now(UTC), detail=Jsonb(detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """The audit log as the database sees it; `trouble` is None while it can be written."""

    size: int
    trouble: str | None


def log_state(work: Work, *, now: datetime) -> LogState:
    """Whether the log is being written; when not, nothing may be approved (fail closed)."""
    row = work.one("log_state") or {}
    size, trouble = row.get("size") or 0, None
    if row.get("notary_at") is None or now - row["notary_at"] > NOTARY_SILENT:
        trouble = "the notary is not running"
    elif row["trouble"] is not None:
        trouble = f"the notary cannot sign: {shown(row['trouble'], most=300)}"
    elif row["oldest_waiting"] is not None and now - row["oldest_waiting"] > OUTBOX_LATE:
        trouble = "the notary is behind"
    return LogState(size=size, trouble=trouble)
