"""Commit what agents send in groups, and only then say so.

Streams put events into one bounded queue; one task takes what is there, commits it in one
transaction, and resolves each event's future. When PostgreSQL is away nothing is acknowledged,
the queue fills, and the streams stop reading: the events wait in the agents' spools.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.errors import CanonicalError
from hub.errors import DatabaseError, EventError
from hub.persist.ingest import Received

MAX_GROUP = 256  # events in one transaction
MAX_WAITING = 2048  # events in memory; beyond it the streams wait
RETRY_S = 1.0  # after PostgreSQL refused

_log = logging.getLogger(__name__)

Store = Callable[[Sequence[Received]], list[str | None]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    received: Received
    done: asyncio.Future[str | None] = field(compare=False)


class Ingest:
    """Groups events of all streams into transactions."""

    def __init__(self, store: Store) -> None:
        """`store` commits a batch and says for each event None or why never."""
        self._store = store
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)

    async def accept(self, received: Received) -> asyncio.Future[str | None]:
        """Queue an event; the future is None once it is durable, or why it never will be."""
        waiting = _Waiting(received, asyncio.get_running_loop().create_future())
        await self._queue.put(waiting)
        return waiting.done

    async def run(self) -> None:
        """Commit groups for ever."""
        while True:
            group = [await self._queue.get()]
            while len(group) < MAX_GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            await self._commit(group)

    async def _commit(self, group: list[_Waiting]) -> None:
        """Until the group is stored or each of its events has its answer."""
        complained = False
        while True:
            try:
                answers = await asyncio.to_thread(self._store, [one.received for one in group])
            except (EventError, CanonicalError) as error:
                await self._one_by_one(group, error)
                return
            except DatabaseError as error:
                if not complained:
                    _log.error("events wait: %s", error)
                    complained = True
                await asyncio.sleep(RETRY_S)
                continue
            if complained:
                _log.info("events are stored again")
            for one, answer in zip(group, answers, strict=True):
                _resolve(one, answer)
            return

    async def _one_by_one(self, group: list[_Waiting], error: Exception) -> None:
        """One event spoiled its group: find it, answer it, and store the others."""
        if len(group) == 1:
            _log.warning("event refused: %s", error)
            _resolve(group[0], str(error))
            return
        for one in group:
            await self._commit([one])


def _resolve(waiting: _Waiting, answer: str | None) -> None:
    if not waiting.done.done():
        waiting.done.set_result(answer)


def utc_now() -> datetime:
    """The clock, read once a turn."""
    return datetime.now(UTC)
