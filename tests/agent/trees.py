"""Logs of nothing but leaf hashes: their checkpoints, their proofs, and how they part."""

import hashlib
from dataclasses import dataclass

from agent.log_proof import LogProof
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.merkle import Subtrees, prove_consistency, root_of
from audit.note import Vkey, parse_vkey
from audit.signer import LocalSigner
from tests.audit.builders import signer

LOG = signer()
ORIGIN = parse_vkey(LOG.vkey).name
VKEY: Vkey = parse_vkey(LOG.vkey)


@dataclass(frozen=True)
class Tree:
    """A log whose entries are named by the history they belong to."""

    leaves: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return len(self.leaves)

    def grown(self, history: int, count: int) -> "Tree":
        """So many entries more, as this history writes them."""
        new = (leaf(history, self.size + number) for number in range(count))
        return Tree((*self.leaves, *new))

    def cut(self, size: int) -> "Tree":
        return Tree(self.leaves[:size])

    def note(self, *, by: LocalSigner = LOG) -> str:
        root = root_of(Subtrees(self.leaves.__getitem__), self.size)
        checkpoint = Checkpoint(origin=ORIGIN, size=self.size, root=root)
        return sign_checkpoint(checkpoint, by)

    @property
    def root(self) -> str:
        return root_of(Subtrees(self.leaves.__getitem__), self.size).hex()

    def proof(self, one: int, other: int, *, log_from: int | None = None) -> LogProof:
        """The honest proof of this tree between two of its sizes."""
        before, after = sorted((one, other))
        path: tuple[bytes, ...] = ()
        if 0 < before < after <= self.size:
            path = tuple(prove_consistency(before, after, Subtrees(self.leaves.__getitem__)))
        return LogProof(log_from=one if log_from is None else log_from, path=path)


def leaf(history: int, number: int) -> bytes:
    return hashlib.sha256(f"history {history} entry {number}".encode()).digest()


def tree(size: int, history: int = 0) -> Tree:
    return Tree(()).grown(history, size)
