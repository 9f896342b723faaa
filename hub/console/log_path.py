"""The way from one entry to the signed root, as a picture and as a table.

Everything drawn is computed again from the leaf and the proof; the picture of a proof that leads
elsewhere would end in another root than the one that is signed.
"""

from dataclasses import dataclass

from audit.entry import leaf_hash
from audit.merkle import parent
from audit.proof import parse

RUNG, BOX = 48, 32  # height of a step and of a box in the picture, in its pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step up: what we had, what joins it, and on which side."""

    left: bool  # the other one stands left of ours
    other: str  # hex
    other_range: str
    other_size: int
    joined: str  # hex, of both
    joined_range: str
    joined_size: int
    y: int  # in the picture, of the joined box


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """From the leaf up to the root."""

    leaf: str  # hex
    steps: tuple[Step, ...]  # from the leaf up
    root: str
    size: int
    height: int  # of the picture

    rung: int = RUNG
    box: int = BOX

    @property
    def drawn(self) -> int:
        """Where the leaf is drawn."""
        return self.height - RUNG


def way_of(line: bytes, proof: str, size: int) -> Way:
    """The way that a verified proof describes, under a checkpoint of this size."""
    read = parse(proof)
    joins = _joins(read.index, size)
    current, steps = leaf_hash(line), list[Step]()
    height = (len(joins) + 1) * RUNG
    for number, ((low, middle, high), other) in enumerate(zip(joins, read.path, strict=True), 1):
        left = read.index >= middle
        current = parent(other, current) if left else parent(current, other)
        sibling = (low, middle) if left else (middle, high)
        steps.append(
            Step(
                left=left,
                other=other.hex(),
                other_range=_range(*sibling),
                other_size=sibling[1] - sibling[0],
                joined=current.hex(),
                joined_range=_range(low, high),
                joined_size=high - low,
                y=height - (number + 1) * RUNG,
            )
        )
    leaf = leaf_hash(line).hex()
    return Way(leaf=leaf, steps=tuple(steps), root=current.hex(), size=size, height=height)


def _joins(index: int, size: int) -> list[tuple[int, int, int]]:
    """Where each subtree over the entry begins, is divided and ends, from the leaf up."""
    low, high, found = 0, size, list[tuple[int, int, int]]()
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        found.append((low, middle, high))
        low, high = (low, middle) if index < middle else (middle, high)
    return found[::-1]


def _range(low: int, high: int) -> str:
    return f"{low}" if high - low == 1 else f"{low}\u2013{high - 1}"
