"""What nodes say about the audit log, stored: where they stand, cosignatures, forks.

Everything here was verified by `hub/witnesses.py`, which also says what it means.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from audit.checkpoint import split_notes
from hub.persist.database import Database, Work
from hub.persist.outbox import Actor, actor, offer

KEPT_COSIGNATURES = 256  # of one node; an order looks back at most a few minutes
_END_OF_NOTE = "\n\n\u2014 "  # not the length: a node may add lines to a note as it likes
MAX_NOTE_CHARS = 16_000  # of a note in an entry of the log


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """How far the log is signed."""

    size: int
    root: bytes
    note: str


def newest_checkpoint(work: Work) -> Newest | None:
    """The newest signed checkpoint, or None when nothing is signed yet."""
    row = work.one("newest_checkpoint")
    if row is None:
        return None
    return Newest(size=row["size"], root=bytes.fromhex(row["root"]), note=row["note"])


def given_up_notes(work: Work) -> list[str]:
    """What nodes hold that do not follow our log: of each the first of its notes."""
    rows = work.all("given_up_notes")
    found = [split_notes(row["notes"].encode())[0][:1] for row in rows]
    return [note for notes in found for note in notes]


def leaf_hashes(work: Work) -> Callable[[int, int], list[bytes]]:
    """The leaf hashes from one entry up to, not including, another, in this transaction."""
    return lambda first, end: [
        bytes(row["leaf_hash"]) for row in work.all("leaf_hashes", first=first, end=end)
    ]


def accept_key(db: Database, *, node: str, vkey: str, by: Actor, now: datetime) -> bool:
    """An administrator says that the other key a node shows is its own; False: it shows a third."""
    with db.transaction() as work:
        row = work.one("witness_state", node=node)
        if row is None or not vkey or row["witness_other"] != vkey:
            return False
        pin_key(work, node=node, vkey=vkey, before=row["witness_vkey"], now=now, by=by)
    return True


def pin_key(
    work: Work, *, node: str, vkey: str, before: str, now: datetime, by: Actor | None = None
) -> None:
    """This is the node's key as a witness from now on, and that is on record."""
    work.run("witness_pin", node=node, vkey=vkey)
    offer(
        work,
        type="witness.key",
        actor=by or actor("node", node, node=node),
        at=now,
        body={"node": node, "vkey": vkey, "before": before or None},
    )


def forked(work: Work, *, node: str, reason: str, notes: list[str], now: datetime) -> bool:
    """A node does not follow our log; whether that, or the evidence for it, is news."""
    row, text = work.one("open_fork", node=node), "".join(f"{note}\n" for note in notes)
    if row is None:
        if not work.run("add_fork", node=node, reason=reason, notes=text, now=now):
            return False
    else:
        more = text.count(_END_OF_NOTE) > row["notes"].count(_END_OF_NOTE)
        work.run(
            "still_forked",
            fork_id=row["fork_id"],
            reason=reason,
            notes=text if more else row["notes"],
            now=now,
        )
        if not more:
            return False
    short = [note for note in notes if len(note) <= MAX_NOTE_CHARS]
    offer(
        work,
        type="witness.refuse",
        actor=actor("node", node, node=node),
        at=now,
        outcome="refused",
        body={
            "node": node,
            "reason": reason,
            "accepted_note": short[0] if short else None,
            "refused_note": short[1] if len(short) > 1 else None,
        },
    )
    return True


def follows(work: Work, *, node: str, size: int, now: datetime) -> None:
    """A node stands in our log; if it did not before, that it does again is on record."""
    if work.run("end_fork", node=node, now=now):
        offer(
            work,
            type="witness.clear",
            actor=actor("node", node, node=node),
            at=now,
            body={"node": node, "size": size},
        )
