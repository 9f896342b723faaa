"""All checkpoints of a log, by size: the kept ones, the published one, the last audit's."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.errors import AuditRefusedError
from audit.note import Vkey


def by_size(
    kept: Iterable[str],
    published: str | None,
    pinned: Checkpoint | None,
    *,
    vkeys: Sequence[Vkey],
    wrong: Callable[[str], None],
) -> Iterator[Checkpoint]:
    """Verified checkpoints, smallest first; `wrong` is told of notes that are none of the log's.

    The kept ones must be in order, and are read one by one. Of one size there may be several: the
    published one is usually the last kept one again.
    """
    return heapq.merge(
        _verified(kept, name="kept checkpoint", vkeys=vkeys, wrong=wrong),
        _verified(
            [] if published is None else [published],
            name="published checkpoint",
            vkeys=vkeys,
            wrong=wrong,
        ),
        [] if pinned is None else [pinned],
        key=lambda checkpoint: checkpoint.size,
    )


def _verified(
    notes: Iterable[str], *, name: str, vkeys: Sequence[Vkey], wrong: Callable[[str], None]
) -> Iterator[Checkpoint]:
    before = 0
    for number, note in enumerate(notes, start=1):
        try:
            checkpoint = open_checkpoint(note, vkeys)
        except AuditRefusedError as error:
            wrong(f"{name} {number}: {error}")
            continue
        if checkpoint.size < before:
            wrong(f"{name} {number} is of {checkpoint.size} entries, after one of {before}")
            continue
        before = checkpoint.size
        yield checkpoint
