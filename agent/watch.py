"""After an order: whose finding it was for, and whether the condition went away or stayed.

Which finding an order is for is read from its envelope without checking the signature: it only
decides whose words go into `Cleared` and `Persisting`. What may run is the executor's judgement.
"""

import base64
import binascii
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from agent.detect import Track
from appliance.records import (
    Condition,
    Mode,
    Outcome,
    Persisting,
    Record,
    Report,
    from_json,
    to_json,
)

_FORGET_AFTER = timedelta(days=1)
_MOST = 256
_ENDED = frozenset({Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT})

Hold = Callable[[Condition], timedelta]
"""How long a condition may still last after an order, before the order has not helped."""


class Watched(Record, frozen=True, kw_only=True):
    """One order that was handed to the executor."""

    finding_id: str
    taken_at: datetime
    ended_at: datetime | None = None  # its commands ended: the condition should go now
    told: bool = False  # that it did not
    undo_asked: bool = False  # the executor has been asked for the rollback, and has answered


class _Hint(msgspec.Struct):
    finding_id: str
    mode: Mode


class _OrderHint(msgspec.Struct):
    order_id: str
    shown: _Hint


class Watch:
    """The orders of this node whose effect is not known yet. Safe between threads."""

    def __init__(self, kept: bytes | None = None) -> None:
        self._lock = threading.Lock()
        self._orders: dict[str, Watched] = {}
        if kept:
            self._orders = from_json(kept, dict[str, Watched])

    def kept(self) -> bytes:
        """What must survive a restart."""
        with self._lock:
            return to_json(self._orders)

    def taken(self, envelope: bytes, *, now: datetime) -> None:
        """The executor has this order."""
        hint = _peek(envelope)
        if hint is None or hint.shown.mode is not Mode.LIVE:
            return
        with self._lock:
            if hint.order_id not in self._orders and len(self._orders) < _MOST:
                self._orders[hint.order_id] = Watched(
                    finding_id=hint.shown.finding_id, taken_at=now
                )

    def withdrawn(self, envelope: bytes) -> None:
        """The executor did not take it after all; the hub offers it again, or not."""
        hint = _peek(envelope)
        with self._lock:
            if hint is not None:
                self._orders.pop(hint.order_id, None)

    def reported(self, report: Report, *, now: datetime) -> None:
        """The executor told what came of an order."""
        with self._lock:
            watched = self._orders.get(report.order_id)
            if watched is None:
                return
            if report.undo_of is not None:
                return  # what was taken back helps nobody: the detector goes on looking
            if report.outcome in {Outcome.REFUSED, Outcome.DRY_RUN}:
                del self._orders[report.order_id]  # nothing ran, so nothing is due to it
            elif report.outcome in _ENDED:
                ended = msgspec.structs.replace(watched, ended_at=now)
                self._orders[report.order_id] = ended

    def order_of(self, finding_id: str) -> str | None:
        """The newest order for a finding."""
        with self._lock:
            orders = [
                one for one, watched in self._orders.items() if watched.finding_id == finding_id
            ]
        return max(orders, default=None)  # their ids sort by time

    def persisting(
        self, findings: Mapping[str, Track], *, hold: Hold, now: datetime
    ) -> list[Persisting]:
        """Orders that ended, whose condition still lasts after the hold time.

        Those that failed or were killed are among them: what ran of them may have been enough,
        and only the detector can tell.
        """
        with self._lock:
            return [
                Persisting(
                    finding_id=watched.finding_id,
                    order_id=order_id,
                    measured_at=now,
                    observed=findings[watched.finding_id].observed,
                    limit=findings[watched.finding_id].limit,
                )
                for order_id, watched in self._orders.items()
                if watched.ended_at is not None
                and not watched.told
                and watched.finding_id in findings
                and now - watched.ended_at >= hold(findings[watched.finding_id].condition)
            ]

    def to_undo(self) -> list[str]:
        """Orders that did not help, whose rollback the executor was not asked for yet."""
        with self._lock:
            return [one for one, its in self._orders.items() if its.told and not its.undo_asked]

    def undo_answered(self, order_id: str) -> None:
        """The executor took the rollback over, or refused it for good."""
        with self._lock:
            if watched := self._orders.get(order_id):
                self._orders[order_id] = msgspec.structs.replace(watched, undo_asked=True)

    def settle(self, told: list[Persisting], cleared: list[str], *, now: datetime) -> None:
        """These are durable in the spool: say them no more; forget findings that have ended."""
        with self._lock:
            for one in told:
                if watched := self._orders.get(one.order_id):
                    self._orders[one.order_id] = msgspec.structs.replace(watched, told=True)
            self._orders = {
                order_id: watched
                for order_id, watched in self._orders.items()
                if watched.finding_id not in cleared and now - watched.taken_at < _FORGET_AFTER
            }


def _peek(envelope: bytes) -> _OrderHint | None:
    try:
        outer: dict[str, Any] = msgspec.json.decode(envelope)
        return msgspec.json.decode(base64.b64decode(outer["payload"]), type=_OrderHint)
    except (msgspec.MsgspecError, binascii.Error, KeyError, TypeError, ValueError):
        return None
