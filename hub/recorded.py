"""Every command that was ever judged here, with its facts: what `sentinel-policy replay` reads."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance import records
from appliance.records import Finding, Shown
from hub.persist.database import Database
from policy.evidence import facts_of

_PAGE = 200  # plans in memory at once
_NO_PLAN = "00000000-0000-0000-0000-000000000000"


def lines(db: Database) -> Iterator[bytes]:
    """One JSON line for each command and each undo, oldest first: `id`, `cmd`, `facts`."""
    place: dict[str, Any] = {"judged_at": datetime.min.replace(tzinfo=UTC), "plan_id": _NO_PLAN}
    while True:
        with db.transaction() as work:
            rows = work.all("judged_after", **place, limit=_PAGE)
        for row in rows:
            yield from _of_plan(row)
        if len(rows) < _PAGE:
            return
        place = {"judged_at": rows[-1]["judged_at"], "plan_id": rows[-1]["plan_id"]}


def _of_plan(row: dict[str, Any]) -> Iterator[bytes]:
    facts = facts_of(records.from_builtins(row["finding"], Finding))
    for number, step in enumerate(records.from_builtins(row["shown"], Shown).steps, start=1):
        for mark, text in (("", step.command), ("undo", step.undo)):
            if text:
                identity = f"{row['plan_id']}/{number}{mark}"
                record = {"id": identity, "cmd": text, "facts": facts}
                yield msgspec.json.encode(record, order="deterministic") + b"\n"
