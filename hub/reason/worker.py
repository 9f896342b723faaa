"""The loop of `sentinel-hub reason`: take an incident, think, store the plan, take the next.

While the model thinks, the lease is renewed; when it cannot be (the incident recovered, or another
reasoner has it), the thinking stops. Killed at any instant, the incident is taken again when its
lease has run out; taken too often, it is reasoned about without the model, which it may have
killed.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

from appliance.errors import SentinelError
from appliance.journal import shown
from appliance.records import Finding, Plan
from hub.reason.errors import CancelledError
from hub.reason.process import Loaded, ModelProcess
from hub.reason.queue import DatabaseQueue
from hub.reason.reasoner import Model, failed_plan, reason
from hub.reason.settings import ReasonSettings
from hub.secrets import dsn_of
from vault.errors import VaultAwayError

WAIT_S = 2.0  # a notification may be lost, so the queue is looked at as often as this
RETRY_S = 1.0  # between attempts while the database does not answer
_log = logging.getLogger("reason")


class Task(Protocol):
    """An incident as its reasoner needs it."""

    @property
    def incident_id(self) -> str:
        """Its identifier."""
        ...

    @property
    def finding(self) -> Finding:
        """What was found, with its evidence."""
        ...

    @property
    def attempts(self) -> int:
        """How often it was taken, this time included."""
        ...


class Queue(Protocol):
    """The incidents that wait for a plan, each held by at most one reasoner."""

    def claim(self) -> Task | None:
        """Take the next incident, for the length of a lease."""
        ...

    def renew(self, incident_id: str) -> bool:
        """Keep it for longer; False when it is not ours any more."""
        ...

    def save(self, incident_id: str, plan: Plan) -> bool:
        """Store the plan and pass the incident on; False when it is not ours any more."""
        ...

    def release(self, incident_id: str) -> None:
        """Give it back, unworked."""
        ...

    def beat(self, detail: dict[str, object]) -> None:
        """Say that this reasoner lives."""
        ...

    def model_in_use(self, loaded: Loaded) -> None:
        """Have it on record when another model than before is used."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Sleep until something may have come, at most so long."""
        ...


class KeptModel(Model, Protocol):
    """A model that is loaded once and kept between incidents."""

    @property
    def trouble(self) -> str | None:
        """What went wrong last, None while all is well."""
        ...

    @property
    def loaded(self) -> Loaded | None:
        """The model that was loaded last."""
        ...

    def warm(self) -> None:
        """Load it; what goes wrong is told at the first question."""
        ...


def run(settings: ReasonSettings, stop: threading.Event) -> int:
    """Work until `stop` is set; 0."""
    holder = f"{socket.gethostname()}/{os.getpid()}"
    model = ModelProcess(settings) if settings.model else None
    try:
        dsn = dsn_of(settings, wait=stop)
    except VaultAwayError:
        return 0  # told to stop before Vault was there
    with DatabaseQueue(dsn, holder=holder, lease_s=settings.lease_s) as queue:
        queue.tell_settings(settings, stop)
        try:
            Worker(settings, queue, model).run(stop)
        finally:
            if model:
                model.close()
    return 0


class Worker:
    """One reasoner with its queue and its model."""

    def __init__(self, settings: ReasonSettings, queue: Queue, model: KeptModel | None) -> None:
        self._settings, self._queue, self._model = settings, queue, model
        self._beaten_at = float("-inf")
        self._plans = 0
        self._told: Loaded | None = None

    def run(self, stop: threading.Event) -> None:
        """Take and finish incidents until told to stop."""
        if self._model:
            self._model.warm()  # so that the first incident does not wait for the loading
        while not stop.is_set():
            try:
                self._beat("waiting")
                self._tell_model()
                if not self.turn(stop):
                    self._queue.wait(WAIT_S)
            except SentinelError as error:
                _log.warning("%s; trying again", error)
                stop.wait(RETRY_S)
        with suppress(SentinelError):
            self._beat("stopped", now=True)

    def _tell_model(self) -> None:
        loaded = self._model.loaded if self._model else None
        if loaded is not None and loaded != self._told:
            self._queue.model_in_use(loaded)
            self._told = loaded

    def turn(self, stop: threading.Event) -> bool:
        """Finish one incident; False when none waits."""
        task = self._queue.claim()
        if task is None:
            return False
        began = monotonic()
        try:
            plan = self._think(task, stop)
        except CancelledError:
            _log.info("given up: incident=%s recovered, or not ours any more", task.incident_id)
            if stop.is_set():
                self._queue.release(task.incident_id)
            return True
        except SentinelError:
            raise
        except Exception as error:  # noqa: BLE001 - it would only fail again: a person takes it
            _log.exception("cannot diagnose incident=%s", task.incident_id)
            plan = failed_plan(task.incident_id, f"the diagnosis failed: {type(error).__name__}")
        self._tell_model()  # before the plan that it proposed
        if not self._queue.save(task.incident_id, plan):
            _log.info("plan came too late: incident=%s", task.incident_id)
            return True
        self._plans += 1
        _log.info(
            "plan stored incident=%s origin=%s confidence=%d steps=%d seconds=%.1f%s",
            task.incident_id,
            plan.origin,
            plan.confidence_percent,
            len(plan.steps),
            monotonic() - began,
            f" because {shown(plan.model_error)}" if plan.model_error else "",
        )
        return True

    def _think(self, task: Task, stop: threading.Event) -> Plan:
        settings, model, why = self._settings, self._model, "no model is configured"
        if model and task.attempts > settings.most_attempts:
            model, why = (
                None,
                (
                    f"taken {task.attempts} times without a plan, so without the model"
                    f" {settings.model.name if settings.model else ''}"
                ),
            )
        return reason(
            task.finding,
            task.incident_id,
            model,
            seed=settings.seed,
            answer_tokens=settings.answer_tokens,
            why_no_model=why,
            go_on=self._keep(task, stop),
        )

    def _keep(self, task: Task, stop: threading.Event) -> Callable[[], bool]:
        """Called often while the model thinks: renews the lease in time, says whether to go on."""
        renewed_at = monotonic()

        def go_on() -> bool:
            nonlocal renewed_at
            if stop.is_set():
                return False
            if monotonic() - renewed_at < self._settings.lease_s / 6:
                return True
            renewed_at = monotonic()
            self._beat(f"incident {task.incident_id}")
            return self._queue.renew(task.incident_id)

        return go_on

    def _beat(self, doing: str, *, now: bool = False) -> None:
        if not now and monotonic() - self._beaten_at < self._settings.beat_s:
            return
        self._beaten_at = monotonic()
        detail: dict[str, object] = {"doing": doing, "plans": self._plans}
        detail["model"] = self._settings.model.name if self._settings.model else None
        detail["model_error"] = self._model.trouble if self._model else None
        detail["at"] = datetime.now(UTC).isoformat()
        self._queue.beat(detail)
