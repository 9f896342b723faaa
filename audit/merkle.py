"""The tree of RFC 6962: roots in O(log n) memory, and proofs of inclusion and consistency.

Hashes are 32 raw bytes; positions and sizes count entries from 0. A proof is made from a function
`node(level, index)`, the hash of the complete subtree over the entries from `index · 2^level`;
`Subtrees` makes one from leaf hashes. The checks follow RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Callable, Sequence

from audit.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
NODE_PREFIX = b"\x01"  # RFC 6962, section 2.1
KEPT_LEVEL = 8  # subtrees of 256 entries and more are remembered: 1/128 of the leaves' memory

Node = Callable[[int, int], bytes]
_sha256 = hashlib.sha256


def parent(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return _sha256(NODE_PREFIX + left + right).digest()


class Range:
    """The roots of the complete subtrees of the first `size` entries, largest first."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self._peaks: list[bytes] = []
        self.size = 0

    @classmethod
    def of(cls, size: int, peaks: Sequence[bytes]) -> "Range":
        """The first `size` entries by their peaks. Raises `ProofError` unless there are as many."""
        if len(peaks) != size.bit_count():
            raise ProofError(f"{size} entries have {size.bit_count()} peaks, not {len(peaks)}")
        tree = cls()
        tree._peaks, tree.size = list(peaks), size
        return tree

    def append(self, leaf: bytes) -> None:
        """Take in the next leaf hash."""
        peaks, carry = self._peaks, self.size
        while carry & 1:
            leaf = _sha256(NODE_PREFIX + peaks.pop() + leaf).digest()
            carry >>= 1
        peaks.append(leaf)
        self.size += 1

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Take in many leaf hashes, a level at a time: half the time of one by one."""
        nodes, start, peaks, small = list(leaves), self.size, self._peaks, list[bytes]()
        while nodes:
            if start & 1:
                nodes.insert(0, peaks.pop())
            if len(nodes) & 1:
                small.append(nodes.pop())
            pairs = zip(nodes[::2], nodes[1::2], strict=True)
            nodes = [_sha256(NODE_PREFIX + left + right).digest() for left, right in pairs]
            start >>= 1
        peaks.extend(reversed(small))
        self.size += len(leaves)

    def append_subtree(self, level: int, root: bytes) -> None:
        """Take in the next 2^level entries by their root; the size must be a multiple of that."""
        if self.size & ((1 << level) - 1):
            raise ValueError(f"a subtree of level {level} cannot start at {self.size}")
        carry = self.size >> level
        while carry & 1:
            root = parent(self._peaks.pop(), root)
            carry >>= 1
        self._peaks.append(root)
        self.size += 1 << level

    def root(self) -> bytes:
        """The Merkle tree hash of all entries so far."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = parent(peak, root)
        return root

    def copy(self) -> "Range":
        """One that can go its own way."""
        twin = Range()
        twin._peaks, twin.size = self._peaks.copy(), self.size
        return twin


class Subtrees:
    """A `node` function over leaf hashes; subtrees never change, so large ones are kept."""

    def __init__(self, leaf_hash: Callable[[int], bytes]) -> None:
        self._leaf_hash = leaf_hash
        self._kept: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The root of the 2^level entries from index · 2^level on."""
        if level == 0:
            return self._leaf_hash(index)
        kept = self._kept.get((level, index))
        if kept is None:
            kept = parent(self(level - 1, 2 * index), self(level - 1, 2 * index + 1))
            if level >= KEPT_LEVEL:
                self._kept[level, index] = kept
        return kept


def root_of(node: Node, size: int) -> bytes:
    """The root of the first `size` entries."""
    return _hash_of(0, size, node) if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, node: Node) -> list[bytes]:
    """The audit path of RFC 6962, section 2.1.1, from the leaf's sibling up."""
    if not 0 <= index < size:
        raise ProofError(f"entry {index} is not among the first {size}")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_hash_of(middle, high, node))
            high = middle
        else:
            path.append(_hash_of(low, middle, node))
            low = middle
    return path[::-1]


def prove_consistency(before: int, after: int, node: Node) -> list[bytes]:
    """The proof of RFC 6962, section 2.1.2, that the log of `after` extends that of `before`."""
    if not 0 < before <= after:
        raise ProofError(f"no proof leads from size {before} to size {after}")
    return [] if before == after else _consistency(before, 0, after, node, whole=True)


def verify_inclusion(
    index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes
) -> list[bytes]:
    """The path's left siblings, largest first: the peaks of the first `index` entries.

    Raises `ProofError` unless the leaf stands at `index` under this root of `size` entries.
    """
    if not 0 <= index < size:
        raise ProofError(f"entry {index} is not among the first {size}")
    position, last, computed, left = index, size - 1, leaf, []
    for sibling in path:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if position & 1 or position == last:
            computed = parent(sibling, computed)
            left.append(sibling)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            computed = parent(computed, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ProofError("the inclusion proof is too short")
    if computed != root:
        raise ProofError(f"the inclusion proof of entry {index} does not lead to the signed root")
    return left[::-1]


def verify_consistency(  # noqa: C901 - the RFC's steps, in its order
    before: int, after: int, path: Sequence[bytes], root_before: bytes, root_after: bytes
) -> None:
    """Raise `ProofError` unless the second tree begins with all of the first one."""
    if not 0 < before <= after:
        raise ProofError(f"no proof leads from size {before} to size {after}")
    if before == after:
        if path or root_before != root_after:
            raise ProofError(f"two different roots for size {before}")
        return
    hashes = [root_before, *path] if before & (before - 1) == 0 else list(path)
    if not hashes:
        raise ProofError("the consistency proof is too short")
    position, last = before - 1, after - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if position & 1 or position == last:
            old, new = parent(sibling, old), parent(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = parent(new, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ProofError("the consistency proof is too short")
    if old != root_before or new != root_after:
        raise ProofError(f"size {after} does not extend size {before}: a different history")


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _hash_of(low: int, high: int, node: Node) -> bytes:
    count = high - low
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, low >> level)
    middle = low + _split(count)
    return parent(_hash_of(low, middle, node), _hash_of(middle, high, node))


def _consistency(before: int, low: int, high: int, node: Node, *, whole: bool) -> list[bytes]:
    if before == high:
        return [] if whole else [_hash_of(low, high, node)]
    middle = low + _split(high - low)
    if before <= middle:
        left = _consistency(before, low, middle, node, whole=whole)
        return [*left, _hash_of(middle, high, node)]
    right = _consistency(before, middle, high, node, whole=False)
    return [*right, _hash_of(low, middle, node)]
