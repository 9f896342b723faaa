"""What a hub, an agent or a network can do to signed trust on its way: make a node keep the old.

Every attack is refused with its reason by the real verifying process, the state on disk is the
same byte for byte, and the policy, people and keys in force are those of before.
"""

import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from agent import belief as belief_module
from agent import believe
from agent.belief import Believed, Keeper
from agent.latest import Latest
from appliance import records, tuf_repository
from appliance.errors import RefusedError, TrustError
from appliance.people import People
from appliance.trust_files import MAX_PACKED_BYTES, PEOPLE, POLICY
from tests.trust.signers import NOW, Signers, packed, policy, state_of

Files = dict[str, bytes]


@dataclass
class Node:
    """A node that believes version 2."""

    signers: Signers
    folder: Path
    keeper: Keeper

    def demand_as_before(self, state: dict[str, bytes]) -> None:
        """The files are the same, and what a restart finds in them is version 2."""
        assert state_of(self.folder) == state
        kept = loaded(self.folder)
        assert kept is not None
        assert kept.belief.versions == {"root": 1, "targets": 2, "snapshot": 2, "timestamp": 2}
        assert (kept.in_force.sequence, kept.people.persons[0].name) == (2, "person-2")


def keeper_of(folder: Path) -> Keeper:
    state = folder / "state"
    latest = Latest(state / "latest.json")
    return Keeper(folder / "root.json", state, overlay=None, latest=latest)


def loaded(folder: Path, keeper: Keeper | None = None) -> Believed | None:
    """What a start finds; verified in this process, for the attacks below start enough others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(belief_module.aside, "ask", lambda _, question: believe.answer(question))
        return (keeper or keeper_of(folder)).load()


@pytest.fixture(scope="module")
def second_version(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signers, Path]:
    """Signers, and a node's files once it took version 2."""
    signers, folder = Signers(), tmp_path_factory.mktemp("node")
    (folder / "state").mkdir()
    (folder / "root.json").write_bytes(signers.roots[1])
    found = keeper_of(folder).offer(packed(signers.signed_set(2)), now=NOW)
    assert found.people.persons[0].name == "person-2"
    return signers, folder


@pytest.fixture
def node(second_version: tuple[Signers, Path], tmp_path: Path) -> Node:
    signers, folder = second_version
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    keeper = keeper_of(tmp_path)
    assert loaded(tmp_path, keeper) is not None
    return Node(replace(signers), tmp_path, keeper)


def older_targets_by_the_hubs_own_key(s: Signers) -> Files:
    """Who owns the hub has the online key; what signers signed before is still signed."""
    return s.signed_set(1, snapshot=9, timestamp=9)


def older_targets_that_the_snapshot_hides(s: Signers) -> Files:
    """The snapshot says version 3, the targets are of version 1."""
    files, new = s.signed_set(1, snapshot=9, timestamp=9), s.signed_set(3)
    return {**files, **s.online(new["targets.json"], snapshot=9, timestamp=9)}


def a_root_of_the_signers_alone(s: Signers) -> Files:
    made = s.root(2, by=("anna", "ben"), roots=s.public("anna", "ben"),
                  signers=s.public("stranger-1", "stranger-2"))  # fmt: skip
    s.roots[2] = made
    return s.signed_set(3, by=("stranger-1", "stranger-2"))


def a_root_that_skips_one(s: Signers) -> Files:
    three = s.root(3, signers=s.public("stranger-1", "stranger-2"))
    return {**s.signed_set(3, by=("stranger-1", "stranger-2")), "2.root.json": three}


def a_root_by_one_of_two(s: Signers) -> Files:
    s.roots[2] = s.root(2, by=("root-1",), signers=s.public("stranger-1", "stranger-2"))
    return s.signed_set(3, by=("stranger-1", "stranger-2"))


def another_sites_root(s: Signers) -> Files:
    other = Signers()
    return other.signed_set(3)


def twice_by_one_signer(s: Signers) -> Files:
    """The same signature again under another key id."""
    files = s.signed_set(3, by=("anna",))
    listed = msgspec.json.decode(files["targets.json"])
    (one,) = listed["signatures"]
    other = tuf_repository.key_id(s.keys["ben"].public_key())
    listed["signatures"] = [one, {**one, "keyid": other}]
    doubled = msgspec.json.encode(listed)
    return {**files, "targets.json": doubled, **s.online(doubled, snapshot=3, timestamp=3)}


def unsigned(s: Signers) -> Files:
    return s.signed_set(3, by=())


def signed_then_changed(s: Signers) -> Files:
    """One word is other than what was signed; the hub's key vouches for the whole again."""
    files = s.signed_set(3)
    changed = files["targets.json"].replace(b'"version":3', b'"version":4')
    assert changed != files["targets.json"]
    return {**files, "targets.json": changed, **s.online(changed, snapshot=4, timestamp=4)}


def two_of_one_version(s: Signers) -> Files:
    """Signers who sign two different sets as version 2; the second comes too late."""
    files = s.targets(2, **{PEOPLE: records.to_json(People())})
    return s.signed_set(2, files=files, snapshot=3, timestamp=3)


def another_timestamp_of_one_version(s: Signers) -> Files:
    return s.signed_set(3, timestamp=2)


def another_snapshot_of_one_version(s: Signers) -> Files:
    return s.signed_set(3, snapshot=2, timestamp=3)


def mixed(one: str) -> Callable[[Signers], Files]:
    """Version 3 with one file of version 1."""

    def make(s: Signers) -> Files:
        return {**s.signed_set(3), one: s.signed_set(1)[one]}

    make.__name__ = f"mixed_with_an_older_{one.removesuffix('.json')}"
    return make


def without(one: str) -> Callable[[Signers], Files]:
    """A set that never had it; the node would not fill in what signers did not name."""

    def make(s: Signers) -> Files:
        files = {name: data for name, data in s.targets(3).items() if name != one}
        return s.signed_set(3, files=files)

    make.__name__ = f"signers_named_no_{one.removesuffix('.json')}"
    return make


def cut(one: str) -> Callable[[Signers], Files]:
    def make(s: Signers) -> Files:
        files = s.signed_set(3)
        return {**files, one: files[one][:-20]}

    make.__name__ = f"cut_{one.removesuffix('.json')}"
    return make


def deeply_nested(s: Signers) -> Files:
    return {**s.signed_set(3), "timestamp.json": b"[" * 200_000}


def no_json(s: Signers) -> Files:
    return {**s.signed_set(3), "2.root.json": b"\xff\x00 no root"}


def an_older_policy_in_newer_targets(s: Signers) -> Files:
    return s.signed_set(3, files=s.targets(3, **{POLICY: policy(1)}))


def another_policy_of_the_same_sequence(s: Signers) -> Files:
    return s.signed_set(3, files=s.targets(3, **{POLICY: policy(2, "# other\n")}))


def people_that_cannot_be_read(s: Signers) -> Files:
    return s.signed_set(3, files=s.targets(3, **{PEOPLE: b'{"persons":[{"name":"x"}]}'}))


def a_policy_with_a_broken_rule(s: Signers) -> Files:
    broken = policy(3).replace(b"[places]", b"[nowhere]")
    return s.signed_set(3, files=s.targets(3, **{POLICY: broken}))


ATTACKS: list[tuple[Callable[[Signers], Files], str]] = [
    (lambda s: s.signed_set(1), "timestamp: New timestamp version 1 must be >= 2"),
    (lambda s: s.signed_set(1, timestamp=9), "New snapshot version must be >= 2"),
    (older_targets_by_the_hubs_own_key, "snapshot: Expected targets.json version"),
    (older_targets_that_the_snapshot_hides, "targets: Observed hash"),
    (lambda s: s.signed_set(3, by=("anna",)), "targets was signed by 1/2 keys"),
    (twice_by_one_signer, "targets was signed by 1/2 keys"),
    (unsigned, "targets was signed by 0/2 keys"),
    (lambda s: s.signed_set(3, by=("stranger-1", "stranger-2")), "signed by 0/2 keys"),
    (lambda s: s.signed_set(3, by=("root-1", "root-2")), "targets was signed by 0/2 keys"),
    (lambda s: s.signed_set(3, by=("online", "anna")), "targets was signed by 1/2 keys"),
    (lambda s: s.signed_set(3, online="stranger-1"), "timestamp was signed by 0/1 keys"),
    (lambda s: s.signed_set(3, online="anna"), "timestamp was signed by 0/1 keys"),
    (signed_then_changed, "targets was signed by 0/2 keys"),
    (lambda s: s.signed_set(3, days=-1), "targets is expired"),
    (lambda s: s.signed_set(3, online_at=NOW - timedelta(days=8)), "timestamp.json is expired"),
    (two_of_one_version, "targets: two files of the same version 2"),
    (another_timestamp_of_one_version, "timestamp: two files of the same version"),
    (another_snapshot_of_one_version, "snapshot: two files of the same version 2"),
    (mixed("timestamp.json"), "timestamp"),
    (mixed("snapshot.json"), "snapshot"),
    (mixed("targets.json"), "targets"),
    (mixed("policy.json"), "policy.json is not the file that signers named"),
    (mixed("people.json"), "people.json is not the file that signers named"),
    (without("policy.json"), "signers did not name policy.json"),
    (without("keys.json"), "signers did not name keys.json"),
    (cut("timestamp.json"), "timestamp: "),
    (cut("snapshot.json"), "snapshot: "),
    (cut("targets.json"), "targets: "),
    (cut("keys.json"), "keys.json is not the file that signers named"),
    (a_root_of_the_signers_alone, "root was signed by 0/2 keys"),
    (a_root_that_skips_one, "Expected root version 2"),
    (a_root_by_one_of_two, "root was signed by 1/2 keys"),
    (another_sites_root, "timestamp was signed by 0/1 keys"),
    (deeply_nested, "timestamp: "),
    (no_json, "root: "),
    (an_older_policy_in_newer_targets, "an older policy: sequence 1, 2 was in force"),
    (another_policy_of_the_same_sequence, "another policy of the same sequence 2"),
    (people_that_cannot_be_read, "people.json: "),
    (a_policy_with_a_broken_rule, "policy.json: "),
]


@pytest.mark.parametrize(
    ("attack", "because"), ATTACKS, ids=lambda one: getattr(one, "__name__", one)
)
def test_an_attack_on_signed_trust_changes_nothing(
    node: Node, attack: Callable[[Signers], Files], because: str
) -> None:
    before = state_of(node.folder)
    offered = packed(attack(node.signers))
    with pytest.raises(RefusedError) as refused:
        node.keeper.offer(offered, now=NOW)
    assert because in str(refused.value)
    node.demand_as_before(before)


def test_an_honest_newer_set_is_taken_after_all_that(node: Node) -> None:
    found = node.keeper.offer(packed(node.signers.signed_set(3)), now=NOW)
    assert found.belief.versions == {"root": 1, "targets": 3, "snapshot": 3, "timestamp": 3}
    kept = loaded(node.folder)
    assert kept is not None
    assert (kept.belief, kept.bundle.digest) == (found.belief, found.bundle.digest)
    assert kept.people.persons[0].name == "person-3"


@pytest.mark.parametrize(
    ("damage", "because"),
    [
        (lambda files: {**files, "evil.sh": b"x"}, "'evil.sh' is no file of signed trust"),
        (lambda files: {**files, "../people.json": b"x"}, "is no file of signed trust"),
        (lambda files: {**files, "01.root.json": b"x"}, "is no file of signed trust"),
        (
            lambda files: {**files, "9.root.json": b"\0" * MAX_PACKED_BYTES},
            f"at most {MAX_PACKED_BYTES}",
        ),
        (
            lambda files: {**files, **{f"{n}.root.json": b"x" for n in range(2, 70)}},
            "with 69 roots",
        ),
        (lambda files: {**files, "people.json": files["people.json"][:-3]}, "cut off"),
        (lambda files: {**files, "people.json": files["people.json"] + b"x"}, "something follows"),
        (lambda files: {**files, "people.json": b"no zlib"}, "damaged on its way"),
        (
            lambda files: {**files, "people.json": zlib.compress(bytes(200 * 1024 * 1024))},
            "more than 1048576 bytes",
        ),
    ],
    ids=["unknown", "outside", "other-spelling", "huge", "roots", "cut", "longer", "noise", "bomb"],
)
def test_a_set_in_another_form_changes_nothing(
    node: Node, damage: Callable[[Files], Files], because: str
) -> None:
    before = state_of(node.folder)
    with pytest.raises(TrustError) as refused:
        node.keeper.offer(damage(packed(node.signers.signed_set(3))), now=NOW)
    assert because in str(refused.value)
    node.demand_as_before(before)


def test_a_verifying_process_that_dies_or_babbles_changes_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state_of(node.folder)
    for answer in (b"", b"yes", msgspec.msgpack.encode({"refusal": ""})):
        with monkeypatch.context() as patch:
            patch.setattr(belief_module.aside, "ask", lambda *_, answer=answer, **__: answer)
            with pytest.raises(TrustError):
                node.keeper.offer(packed(node.signers.signed_set(3)), now=NOW)
    node.demand_as_before(before)


def test_a_root_can_be_rotated_and_its_old_signers_sign_nothing_more(node: Node) -> None:
    signers = node.signers
    signers.roots[2] = signers.root(
        2,
        by=("root-1", "root-2", "root-3"),
        roots=signers.public("root-2", "root-3"),
        signers=signers.public("carl", "stranger-1"),
    )
    with pytest.raises(TrustError, match="targets was signed by 0/2 keys"):
        node.keeper.offer(packed(signers.signed_set(3)), now=NOW)
    found = node.keeper.offer(packed(signers.signed_set(3, by=("carl", "stranger-1"))), now=NOW)
    assert found.belief.versions["root"] == 2
    older = signers.signed_set(4)
    del older["2.root.json"]  # who hides the new root from the node hides nothing
    with pytest.raises(TrustError, match="targets was signed by 0/2 keys"):
        node.keeper.offer(packed(older), now=NOW)
    kept = loaded(node.folder)
    assert kept is not None
    assert kept.belief.versions["root"] == 2


def test_an_online_key_that_ran_ahead_is_replaced_by_a_root_and_not_for_ever_ahead(
    node: Node,
) -> None:
    """Who had the online key made version 900,000,000; the next root names another key."""
    signers = node.signers
    ahead = signers.signed_set(2, snapshot=900_000_000, timestamp=900_000_000)
    node.keeper.offer(packed(ahead), now=NOW)
    with pytest.raises(TrustError, match="must be >="):
        node.keeper.offer(packed(signers.signed_set(3)), now=NOW)
    signers.roots[2] = signers.root(2, online=signers.public("stranger-1")[0])
    with pytest.raises(TrustError, match="older than 2"):
        node.keeper.offer(packed(signers.signed_set(1, online="stranger-1")), now=NOW)
    found = node.keeper.offer(packed(signers.signed_set(3, online="stranger-1")), now=NOW)
    assert found.belief.versions == {"root": 2, "targets": 3, "snapshot": 3, "timestamp": 3}


def test_only_what_changed_has_to_travel(node: Node) -> None:
    listed = node.signers.signed_set(2)
    renewed = node.signers.online(listed["targets.json"], snapshot=3, timestamp=3)
    found = node.keeper.offer(packed(renewed), now=NOW)
    assert found.belief.versions == {"root": 1, "targets": 2, "snapshot": 3, "timestamp": 3}
    assert found.people.persons[0].name == "person-2"
