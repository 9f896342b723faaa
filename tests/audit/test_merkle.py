"""The tree, against the vectors of certificate transparency and against itself."""

import hashlib

import pytest

from audit.entry import leaf_hash
from audit.errors import ProofError
from audit.merkle import (
    EMPTY_ROOT,
    Range,
    Subtrees,
    prove_consistency,
    prove_inclusion,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves and their roots that certificate-transparency's reference tests use.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
MOST = 64


def h(text: str) -> bytes:
    return bytes.fromhex(text)


HASHES = [hashlib.sha256(b"\0%d" % number).digest() for number in range(MOST)]
NODE = Subtrees(HASHES.__getitem__)


def plain_root(hashes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    left, right = plain_root(hashes[:split]), plain_root(hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_the_empty_tree_has_the_known_root() -> None:
    known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert EMPTY_ROOT.hex() == known
    assert Range().root() == root_of(NODE, 0) == EMPTY_ROOT


def test_the_eight_reference_leaves_give_the_reference_roots() -> None:
    tree = Range()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(leaf))
        assert tree.root().hex() == root


def test_the_reference_proofs_are_made_and_verify() -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES]
    node = Subtrees(hashes.__getitem__)
    path = [
        h("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
        h("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
        h("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ]
    assert prove_inclusion(5, 8, node) == path
    verify_inclusion(5, 8, hashes[5], path, h(ROOTS[7]))
    between = [
        h("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
        h("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
        h("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ]
    assert prove_consistency(6, 8, node) == between
    verify_consistency(6, 8, between, h(ROOTS[5]), h(ROOTS[7]))


def test_the_three_ways_to_a_root_agree_for_every_size() -> None:
    tree = Range()
    for size in range(MOST + 1):
        assert tree.root() == root_of(NODE, size) == plain_root(HASHES[:size])
        if size < MOST:
            tree.append(HASHES[size])


def test_a_range_grown_by_subtrees_is_the_same_range() -> None:
    tree = Range()
    tree.append_subtree(3, NODE(3, 0))
    tree.append_subtree(3, NODE(3, 1))
    tree.append_subtree(2, NODE(2, 4))
    tree.append(HASHES[20])
    assert (tree.size, tree.root()) == (21, plain_root(HASHES[:21]))
    with pytest.raises(ValueError, match="cannot start"):
        tree.append_subtree(1, NODE(1, 0))


def test_a_copy_goes_its_own_way() -> None:
    tree = Range()
    tree.append(HASHES[0])
    tree.copy().append(HASHES[1])
    assert (tree.size, tree.root()) == (1, HASHES[0])


def test_every_inclusion_proof_verifies_and_every_changed_one_does_not() -> None:
    for size in range(1, MOST + 1):
        root = root_of(NODE, size)
        for index in range(size):
            path = prove_inclusion(index, size, NODE)
            verify_inclusion(index, size, HASHES[index], path, root)
            for bad in changed(path):
                with pytest.raises(ProofError):
                    verify_inclusion(index, size, HASHES[index], bad, root)
            with pytest.raises(ProofError):
                verify_inclusion((index + 1) % (size + 1), size, HASHES[index], path, root)


def test_every_consistency_proof_verifies_and_every_changed_one_does_not() -> None:
    for after in range(1, MOST + 1):
        new = root_of(NODE, after)
        for before in range(1, after + 1):
            old, path = root_of(NODE, before), prove_consistency(before, after, NODE)
            verify_consistency(before, after, path, old, new)
            for bad in changed(path):
                with pytest.raises(ProofError):
                    verify_consistency(before, after, bad, old, new)
            with pytest.raises(ProofError):
                verify_consistency(before, after, path, HASHES[0][::-1], new)
            with pytest.raises(ProofError):
                verify_consistency(before, after, path, old, HASHES[0][::-1])


def changed(path: list[bytes]) -> list[list[bytes]]:
    """One hash more, one less, one other, two swapped."""
    other = [[*path, HASHES[0]], [HASHES[0], *path]]
    if path:
        other += [path[1:], path[:-1], [path[0][::-1], *path[1:]], [*path[:-1], b"\0" * 32]]
    if len(path) > 1:
        other.append([path[1], path[0], *path[2:]])
    return other


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 3)])
def test_no_proof_is_made_or_believed_for_an_entry_outside_the_log(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="not among"):
        prove_inclusion(index, size, NODE)
    with pytest.raises(ProofError, match="not among"):
        verify_inclusion(index, size, HASHES[0], [], HASHES[0])


@pytest.mark.parametrize(("before", "after"), [(0, 3), (4, 3), (0, 0)])
def test_no_consistency_is_claimed_from_nothing_or_backwards(before: int, after: int) -> None:
    with pytest.raises(ProofError, match="no proof leads"):
        prove_consistency(before, after, NODE)
    with pytest.raises(ProofError, match="no proof leads"):
        verify_consistency(before, after, [], EMPTY_ROOT, EMPTY_ROOT)


def test_a_consistency_proof_without_hashes_proves_nothing() -> None:
    with pytest.raises(ProofError, match="too short"):
        verify_consistency(3, 5, [], HASHES[0], HASHES[1])
