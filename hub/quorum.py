"""Enough witnesses under an order's checkpoint, where the site's keys demand them.

A hub that shows each node another history needs the signatures of more than half of the nodes
under each of them. So an order waits until that many have cosigned one checkpoint over all of its
approvals, and carries their lines.
"""

from collections.abc import Sequence
from typing import Any

from audit.checkpoint import parse_text
from audit.cosignature import WitnessKey, cosigned_by, with_cosignatures
from audit.errors import AuditRefusedError
from audit.note import split_note
from hub.persist.database import Work


def witnessed(
    row: dict[str, Any], work: Work, *, witnesses: Sequence[WitnessKey], quorum: int
) -> dict[str, Any] | None:
    """The approved incident's row under a checkpoint that enough witnesses cosigned; None: wait."""
    if quorum < 1:
        return row
    last = max(one["seq"] for one in row["approvals"])
    for found in work.all("cosigned_checkpoints", seq=last):
        if note := _cosigned(found["note"], found["cosignatures"], witnesses, quorum):
            return {**row, "note": note, "size": parse_text(split_note(note)[0]).size}
    return None


def _cosigned(
    note: str, lines: Sequence[str], witnesses: Sequence[WitnessKey], quorum: int
) -> str | None:
    good: dict[bytes, str] = {}
    for line in lines:
        try:
            for one in cosigned_by(with_cosignatures(note, [line]), witnesses):
                good.setdefault(one.witness.key, one.line)
        except AuditRefusedError:
            continue  # stored under a key that is not in force any more
    if len(good) < quorum:
        return None
    return with_cosignatures(note, list(good.values())[:quorum])
