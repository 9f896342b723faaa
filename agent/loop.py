"""The agent's clock: look, detect, capture, spool, wait; and watch what became of an order.

What was decided in a cycle counts only once it is in the spool: when the disk is full the old
memory stays, and the same condition fires again in the next cycle. Nothing is half-done.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from agent import status
from agent.capture import capture
from agent.detect import Memory, Turn, detect, without
from agent.errors import ProbeError, SpoolError
from agent.executor_socket import Client
from agent.handover import Handover
from agent.history import History
from agent.live import Live
from agent.log_proof import Standing
from agent.log_watch import LogWatch
from agent.notify import notify
from agent.probes import HostProbe
from agent.readings import Readings
from agent.renewal import Renewal
from agent.settings import AgentSettings
from agent.spool import LOST, Spool
from agent.status import OpenFinding, Status
from agent.transport import Transport
from agent.trust_bearer import TrustBearer
from agent.watch import Watch
from appliance.errors import RefusedError
from appliance.ids import uuid7
from appliance.records import Body, Cleared, Event, Persisting, from_json, to_json
from appliance.wire import sentinel_pb2 as pb

log = logging.getLogger(__name__)

_EXECUTOR_WITHIN_S = 2.0


class Probe(Protocol):
    """Gives readings of a host; the real one or a simulated one."""

    boot_id: str

    def read(self) -> Readings:
        """One look; raises `ProbeError`."""
        ...


class Detection:
    """One cycle after the other, without sleep or network."""

    def __init__(self, settings: AgentSettings, probe: Probe, spool: Spool, watch: Watch) -> None:
        self._settings = settings
        self._probe = probe
        self._spool = spool
        self._watch = watch
        self._history = History(window_s=settings.limits.leak_window_s)
        self.memory = _remembered(spool, probe.boot_id)

    def cycle(self, *, now: datetime) -> list[Event]:
        """Look once; the events that were spooled."""
        self._forget_lost()
        readings = self._probe.read()
        self._history.add(readings)
        turn = detect(
            readings,
            self._history,
            self.memory,
            self._settings.limits,
            fire_after=self._settings.fire_after,
            clear_after=self._settings.clear_after,
            now=now,
            new_id=uuid7,
        )
        hold, findings = self._settings.hold, turn.memory.open_findings()
        persisting = self._watch.persisting(findings, hold=hold, now=now)
        events = [*self._events(turn, readings, now=now), *_wrapped(persisting)]
        if events:
            self._store(turn, events, persisting, now=now)
        self.memory = turn.memory
        return events

    def _forget_lost(self) -> None:
        """A finding that the full spool dropped fires anew, if it lasts, once there is room."""
        lost = frozenset(self._spool.lost_findings())
        if lost:
            self.memory = without(self.memory, lost)
            # From here on a restart neither knows them nor forgets twice.
            self._spool.put([], kept={"memory": to_json(self.memory), LOST: b"[]"})

    def _events(self, turn: Turn, readings: Readings, *, now: datetime) -> list[Event]:
        ours = frozenset({os.getpid()})
        found = [
            capture(
                fired,
                readings,
                self._history,
                now=now,
                ours=ours,
                role=self._settings.role,
            )
            for fired in turn.fired
        ]
        ended = [
            Cleared(
                finding_id=one.finding_id,
                cleared_at=now,
                observed=one.observed,
                order_id=self._watch.order_of(one.finding_id),
            )
            for one in turn.ended
        ]
        return _wrapped([*found, *ended])

    def _store(
        self, turn: Turn, events: list[Event], persisting: list[Persisting], *, now: datetime
    ) -> None:
        # From here on a restart finds the findings and the memory of them, or neither.
        self._spool.put(events, kept={"memory": to_json(turn.memory)})
        self.memory = turn.memory  # also when the next line fails: a finding must not fire twice
        self._watch.settle(persisting, [one.finding_id for one in turn.ended], now=now)
        self._spool.put([], kept={"watch": self._watch.kept()})
        for event in events:
            log.info("%s", _sentence(event))


class Agent:
    """The whole agent: detection, transport and the way to the executor."""

    def __init__(self, settings: AgentSettings, probe: Probe | None = None) -> None:
        folder = _folder(settings.state_dir)
        probe = probe or HostProbe()
        self._settings = settings
        self.spool = Spool(folder / "spool.db", limit_bytes=settings.spool_limit_mb * 1024 * 1024)
        self.watch = Watch(self.spool.kept("watch"))
        self.detection = Detection(settings, probe, self.spool, self.watch)
        self.handover = Handover(
            Client(settings.executor_socket),
            self.spool,
            self.watch,
            taken=self._taken,
            stale=self._stale,
            changed=self._changed,
            live=self._live,
        )
        self.log_watch = LogWatch(Client(settings.executor_socket), self._log_seen)
        self.trust = TrustBearer(Client(settings.executor_socket), say=self._say)
        self.transport = Transport(
            hub=settings.hub,
            hub_name=settings.hub_name,
            identity=settings.identity,
            spool=self.spool,
            boot_id=probe.boot_id,
            dry_run=lambda: self.handover.dry_run,
            take_order=self.handover.take,
            take_log=self.log_watch.offer,
            take_trust=self.trust.take,
            on_welcome=self._welcomed,
            take_halt=self.handover.take_halt,
            node_state=self.handover.node_state,
            crl=settings.state_dir / "crl.pem",
            crl_required=settings.crl_required,
        )
        self.renewal = Renewal(settings, go_over=self.transport.renew_stream)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Work until `stop`."""
        self.handover.start()
        self.handover.wait_for_executor(_EXECUTOR_WITHIN_S)  # the hello says whether it is live
        self.trust.start()
        self.transport.start()
        self.renewal.start()
        self.log_watch.start()
        notify("READY=1")
        while not self._stopping.is_set():
            began = time.monotonic()
            self._turn()
            notify("WATCHDOG=1")
            self._stopping.wait(max(0.0, self._settings.cycle_s - (time.monotonic() - began)))
        notify("STOPPING=1")
        self.handover.stop()
        self.log_watch.stop()
        self.trust.stop()
        self.renewal.stop()
        self.transport.stop()
        self.spool.close()

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping.set()

    def _taken(self, order_id: str) -> None:
        self.transport.order_taken(order_id)
        self.log_watch.look()  # an order brings a newer checkpoint

    def _stale(self, order_id: str, seen_size: int) -> None:
        self.transport.order_stale(order_id, seen_size)

    def _welcomed(self) -> None:
        self.log_watch.look()
        self.trust.tell()

    def _log_seen(self, standing: Standing) -> None:
        self.transport.log_seen(standing)

    def _say(self, message: pb.FromAgent) -> None:
        self.transport.say(message)

    def _live(self, newest: Live) -> None:
        self.transport.say_live(newest)

    def _changed(self) -> None:
        self.transport.say_state()

    def _turn(self) -> None:
        now = datetime.now(UTC)
        try:
            self.detection.cycle(now=now)
            self.handover.ask_undo(self.watch.to_undo())
        except (ProbeError, SpoolError) as error:
            log.warning("cycle skipped: %s", error)
        try:
            status.write(self._settings.state_dir, self._status(now))
        except (OSError, SpoolError) as error:
            log.warning("no status: %s", error)

    def _status(self, now: datetime) -> Status:
        counts = self.spool.counts()
        return Status(
            at=now,
            cycle_s=self._settings.cycle_s,
            hub=self._settings.hub,
            connected=self.transport.connected,
            trouble=self.transport.trouble,
            executor_answers=self.handover.executor_answers,
            trust=self.trust.trouble,
            waiting=counts.waiting,
            waiting_bytes=counts.bytes,
            dropped=counts.dropped,
            aside=counts.aside,
            log_fork=self.log_watch.fork,
            certificate=self.renewal.warning(now),
            findings=tuple(
                OpenFinding(
                    finding_id=finding_id,
                    condition=track.condition.value,
                    observed=track.observed,
                    limit=track.limit,
                )
                for finding_id, track in self.detection.memory.open_findings().items()
            ),
        )


def _wrapped(bodies: Sequence[Body]) -> list[Event]:
    return [Event(event_id=uuid7(), body=body) for body in bodies]


def _remembered(spool: Spool, boot_id: str) -> Memory:
    kept = spool.kept("memory")
    try:
        return from_json(kept, Memory) if kept else Memory(boot_id=boot_id)
    except RefusedError as error:  # of another version: lasting conditions fire again
        log.warning("the detector's memory cannot be read, starting without: %s", error)
        return Memory(boot_id=boot_id)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise SpoolError(f"{path}: cannot be made: {error.strerror}") from error
    return path


def _sentence(event: Event) -> str:
    body = event.body
    words = getattr(body, "summary", "") or getattr(body, "order_id", "") or ""
    name = getattr(body, "finding_id", "")
    return f"{body.__struct_config__.tag} {name} {words}".strip()
