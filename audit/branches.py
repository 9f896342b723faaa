"""The tree while some entries are in doubt: which of two leaves did the signer see?

When entry n does not carry the hash of entry n - 1 as we read it, either n - 1 was altered (then
the hash that n carries is the true leaf) or n was. Both trees are followed until a signed root
says which. So damage to single entries is told apart from the rest, which stays proven.
"""

from collections.abc import Sequence

from audit.merkle import Range

MAX_BRANCHES = 16  # four doubts between two checkpoints; with more, the older reading is kept


class Branch:
    """One reading of the entries so far."""

    __slots__ = ("altered", "links", "tree")

    def __init__(self, tree: Range, altered: list[int], links: list[int]) -> None:
        self.tree = tree
        self.altered = altered  # entries whose stored bytes are not the signed ones
        self.links = links  # entries that carry a wrong link

    def copy(self) -> "Branch":
        """One that can go its own way."""
        return Branch(self.tree.copy(), self.altered.copy(), self.links.copy())


class Branches:
    """All readings that may still be the signed one."""

    def __init__(self, tree: Range) -> None:
        self._all = [Branch(tree, [], [])]
        self.size = tree.size
        self.lost = False  # leaves are missing: no root can be computed any more

    def extend(self, leaves: Sequence[bytes]) -> None:
        """The next leaves, as read."""
        self.size += len(leaves)
        for branch in self._all:
            branch.tree.extend(leaves)

    def append_doubtful(self, read: bytes, linked: bytes) -> None:
        """The next leaf is what we read, or what the entry after it carries."""
        kept = []
        for branch in self._all:
            other = branch.copy()
            other.tree.append(linked)
            other.altered.append(self.size)
            kept.append(other)
            if 2 * len(self._all) <= MAX_BRANCHES:
                branch.tree.append(read)
                branch.links.append(self.size + 1)
                kept.append(branch)
        self.size += 1
        self._all = kept

    def settle(self, root: bytes) -> Branch | None:
        """The reading with this root, which from now on is the only one; None when none has it."""
        for branch in self._all:
            if branch.tree.root() == root:
                settled = branch.copy()
                branch.altered.clear()
                branch.links.clear()
                self._all = [branch]
                return settled
        return None

    def unsettled(self) -> Branch:
        """Some reading, for when no signed root comes any more."""
        return self._all[0]
