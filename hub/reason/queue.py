"""The queue of incidents as PostgreSQL keeps it: the worker's `Queue` over `hub.persist`."""

import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from appliance.records import Plan
from hub.persist import in_force, incidents, status
from hub.persist.database import Database
from hub.persist.incidents import Incident
from hub.persist.listen import Listener
from hub.reason.process import Loaded
from hub.reason.settings import ReasonSettings

_CHANNEL = "sentinel_open"  # named in hub/persist/migrations, function incident_notify


class DatabaseQueue:
    """Incidents that wait in the state `open`; this holder's leases on them."""

    def __init__(self, dsn: str, *, holder: str, lease_s: float) -> None:
        self._db = Database(dsn, size=2)
        self._listener = Listener(dsn, channels=(_CHANNEL,))
        self._holder, self._lease_s = holder, lease_s

    def claim(self) -> Incident | None:
        """Take the most severe, oldest incident."""
        return incidents.claim_for_reasoning(
            self._db, holder=self._holder, lease_s=self._lease_s, now=datetime.now(UTC)
        )

    def renew(self, incident_id: str) -> bool:
        """Keep it for another lease."""
        return incidents.renew_lease(
            self._db,
            incident_id=incident_id,
            holder=self._holder,
            lease_s=self._lease_s,
            now=datetime.now(UTC),
        )

    def save(self, incident_id: str, plan: Plan) -> bool:
        """Store the plan and pass the incident on to judgement."""
        return incidents.save_plan(
            self._db,
            incident_id=incident_id,
            holder=self._holder,
            plan=plan,
            now=datetime.now(UTC),
        )

    def release(self, incident_id: str) -> None:
        """Give it back to the queue."""
        incidents.release(
            self._db, incident_id=incident_id, holder=self._holder, now=datetime.now(UTC)
        )

    def beat(self, detail: dict[str, Any]) -> None:
        """Say that this reasoner lives, with what the console shows."""
        status.beat(self._db, part="reasoner", instance=self._holder, detail=detail)

    def model_in_use(self, loaded: Loaded) -> None:
        """Offer a `model.load` when it is another one than before."""
        in_force.tell_model(self._db, name=loaded.name, sha256=loaded.sha256)

    def tell_settings(self, settings: ReasonSettings, stop: threading.Event) -> None:
        """Have a change of settings on record as soon as the database answers."""
        words = (self._db, "reason", settings, stop)
        threading.Thread(target=in_force.tell_settings_once_it_can, args=words, daemon=True).start()

    def wait(self, timeout_s: float) -> None:
        """Sleep until an incident opens, at most so long."""
        self._listener.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self._db.close()
