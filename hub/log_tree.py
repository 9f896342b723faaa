"""The audit log's tree, from the index in PostgreSQL: proofs for orders and for nodes.

One for the process: 32 bytes an entry, read once and only ever longer. Before anything is proven
the tree must lead to a root that the notary signed; a database that was set back under a running
hub is noticed by that, and read anew.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from audit import proof
from audit.merkle import HASH_BYTES, Subtrees, prove_consistency, root_of
from hub.errors import NotaryError

LeafHashes = Callable[[int, int], list[bytes]]
"""The leaf hashes of the entries from the first number up to, not including, the second."""


@dataclass(slots=True)
class LogTree:
    """Safe between threads."""

    _leaves: bytearray = field(default_factory=bytearray)
    _subtrees: Subtrees | None = None
    _lock: "threading.RLock" = field(default_factory=threading.RLock)

    def inclusion(self, seq: int, note: str, size: int, *, leaves: LeafHashes) -> str:
        """The proof text for an entry under a signed checkpoint. Raises `ProofError`."""
        with self._lock:
            return proof.make(seq, note, self._node(size, leaves))

    def follow(self, size: int, root: bytes, *, leaves: LeafHashes) -> None:
        """Demand that the first `size` entries are those that were signed."""
        with self._lock:
            if self._root(size, leaves) == root:
                return
            self._leaves, self._subtrees = bytearray(), None  # the database is another one now
            if self._root(size, leaves) != root:
                raise NotaryError("the log's index does not lead to the signed root")

    def root(self, size: int, *, leaves: LeafHashes) -> bytes:
        """The root of the first `size` entries."""
        with self._lock:
            return self._root(size, leaves)

    def consistency(self, before: int, after: int, *, leaves: LeafHashes) -> tuple[bytes, ...]:
        """The proof that the tree of the larger size begins with that of the smaller."""
        before, after = sorted((before, after))
        if before in (0, after):
            return ()
        with self._lock:
            return tuple(prove_consistency(before, after, self._node(after, leaves)))

    def _root(self, size: int, leaves: LeafHashes) -> bytes:
        return root_of(self._node(size, leaves), size)

    def _node(self, size: int, leaves: LeafHashes) -> Subtrees:
        known = len(self._leaves) // HASH_BYTES
        if known < size:
            for leaf in leaves(known, size):
                self._leaves += leaf
        if len(self._leaves) < size * HASH_BYTES:
            raise NotaryError(f"the log's index has no {size} entries")
        if self._subtrees is None:
            self._subtrees = Subtrees(self._leaf)
        return self._subtrees

    def _leaf(self, index: int) -> bytes:
        return bytes(self._leaves[index * HASH_BYTES : (index + 1) * HASH_BYTES])
