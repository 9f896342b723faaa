"""The signed policy file: any edit, another key, an older or a second one is refused."""

import itertools
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance import canonical, envelope
from policy.bundle import engine_digest, files_digest, parse_bundle, read_folder
from policy.errors import PolicyError
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.signed import POLICY_TYPE, InForce, open_signed, sign
from policy.source import Source, demand, load
from policy.verdict import Ruling

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
RULES = (
    b'[places]\nsecret = ["/root"]\n'
    b'[[command]]\nname = "x"\npaths = ["/usr/bin/x"]\nwhy = "tries"\nallow = ["x"]\n'
)
FILES = {"10-x.toml": RULES}
FIRST = sign(FILES, sequence=1, key=KEY)
SECOND = sign({"10-x.toml": RULES + b"\n"}, sequence=2, key=KEY)


def refusal(data: bytes, **options: object) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        open_signed(data, **{"key": PUBLIC, **options})  # type: ignore[arg-type]
    return caught.value


def test_a_signed_policy_opens_to_what_was_signed() -> None:
    signed = open_signed(FIRST, key=PUBLIC)
    assert (signed.sequence, signed.files) == (1, FILES)
    assert signed.in_force == InForce(sequence=1, digest=files_digest(FILES))
    assert signed.key_id == envelope.key_id(PUBLIC)


def test_the_shipped_rules_can_be_signed_and_stay_the_same_policy() -> None:
    files = read_folder()
    signed = open_signed(sign(files, sequence=7, key=KEY), key=PUBLIC)
    assert parse_bundle(signed.files).digest == parse_bundle(files).digest


def test_any_edited_bit_of_a_signed_policy_is_refused() -> None:
    for place, bit in itertools.product(range(len(FIRST)), (0, 1, 4, 6)):
        edited = bytearray(FIRST)
        edited[place] ^= 1 << bit
        refusal(bytes(edited))


def test_what_is_not_a_signed_policy_is_refused() -> None:
    other = Ed25519PrivateKey.generate()
    for data in (
        b"",
        RULES,
        FIRST[:-1],
        FIRST + b"\n",
        sign(FILES, sequence=1, key=other),
        envelope.seal(b"{}", payload_type=POLICY_TYPE, key=KEY),
        envelope.seal(b"[1, 2]", payload_type=POLICY_TYPE, key=KEY),
        envelope.seal(RULES, payload_type="application/vnd.sentinel.order+json;v=1", key=KEY),
    ):
        assert "not a policy of this key" in refusal(data).message


@pytest.mark.parametrize(
    ("names", "sequence"),
    [(["b.toml", "a.toml"], 1), (["a.toml", "a.toml"], 1), (["../a.toml"], 1), (["a.toml"], 0),
     (["a"], 1), ([], 1), (["a.toml"], 2**53)],
)  # fmt: skip
def test_a_signed_policy_has_one_form(names: list[str], sequence: int) -> None:
    files = [{"name": name, "text": ""} for name in names]
    try:
        payload = canonical.encode({"engine": "x", "files": files, "sequence": sequence})
    except Exception:  # noqa: BLE001  # a number without canonical form cannot even be written
        return
    refusal(envelope.seal(payload, payload_type=POLICY_TYPE, key=KEY))


def test_an_older_policy_and_another_one_of_the_same_sequence_are_refused() -> None:
    first = open_signed(FIRST, key=PUBLIC).in_force
    second = open_signed(SECOND, key=PUBLIC, before=first).in_force
    assert open_signed(SECOND, key=PUBLIC, before=second).in_force == second
    assert "an older policy: sequence 1, 2 was" in refusal(FIRST, before=second).message
    twin = sign({"10-x.toml": RULES + b"#\n"}, sequence=2, key=KEY)
    assert "another policy of the same sequence" in refusal(twin, before=second).message


def test_broken_rules_are_not_signed() -> None:
    for files in (
        {},
        {"a.toml": b"x ="},
        {"a.toml": RULES.replace(b'allow = ["x"]', b'allow = ["x -a"]')},
        {"a": RULES},
    ):
        with pytest.raises(PolicyError):
            sign(files, sequence=1, key=KEY)


def test_another_engine_checks_the_examples_again(tmp_path: Path) -> None:
    wrong = RULES.replace(b'allow = ["x"]', b'allow = ["x -a"]').decode()
    for engine in (engine_digest(), "another"):
        payload = {
            "engine": engine,
            "files": [{"name": "10-x.toml", "text": wrong}],
            "sequence": 1,
        }
        data = envelope.seal(canonical.encode(payload), payload_type=POLICY_TYPE, key=KEY)
        (tmp_path / "site.policy").write_bytes(data)
        (tmp_path / "key.pub").write_bytes(
            PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        source = Source(policy=tmp_path / "site.policy", key=tmp_path / "key.pub")
        assert bool(load(source).bundle.refusal) is (engine == "another")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "key").mkdir()
    envelope.make_key(tmp_path / "key" / "policy.key")
    key = envelope.load_key(tmp_path / "key" / "policy.key")
    (tmp_path / "site.policy").write_bytes(sign(FILES, sequence=3, key=key))
    return tmp_path


def test_a_daemon_with_a_policy_key_takes_nothing_else(place: Path) -> None:
    key = place / "key" / "policy.pub"
    loaded = demand(Source(policy=place / "site.policy", key=key))
    assert (loaded.in_force, loaded.bundle.digest) == (
        InForce(sequence=3, digest=files_digest(FILES)),
        files_digest(FILES),
    )
    folder = place / "rules"
    folder.mkdir()
    (folder / "10-x.toml").write_bytes(RULES)
    (place / "other.policy").write_bytes(FIRST)
    for source in (
        Source(key=key),
        Source(key=key, policy=folder),
        Source(key=key, policy=place / "other.policy"),
        Source(key=key, policy=place / "none"),
        Source(key=place / "none", policy=place / "site.policy"),
    ):
        bundle = load(source).bundle
        verdict = judge("x", bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
        assert (verdict.ruling, verdict.reasons[0].code) == (Ruling.BLOCK, "policy")


def test_a_policy_that_refuses_everything_is_not_remembered_as_in_force(place: Path) -> None:
    before = InForce(sequence=9, digest="d")
    source = Source(policy=place / "site.policy", key=place / "key" / "policy.pub")
    loaded = load(source, before)
    assert loaded.in_force is None
    assert "older policy: sequence 3, 9 was in force" in loaded.bundle.refusal
