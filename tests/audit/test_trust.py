"""Policy files: keys, witnesses and quorums as C2SP tlog-policy has them, and nothing else."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.cosignature import WitnessKey
from audit.errors import TrustError
from audit.trust import parse_policy
from tests.audit.builders import signer


def key(name: str) -> WitnessKey:
    """Always the same witness for the same name."""
    secret = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    return WitnessKey(name=name, key=secret.public_key().public_bytes_raw())


LOG = f"log {signer().vkey}\n"
THREE = "".join(f"witness {name} {key(name)}\n" for name in ("x1", "x2", "x3"))


def test_the_logs_keys_with_urls_comments_and_tabs() -> None:
    text = (
        f"# ours\n\n\tlog {signer().vkey}\thttps://x.example\nlog {signer(2).vkey}\nquorum none\n"
    )
    policy = parse_policy(text)
    assert [str(one) for one in policy.logs] == [signer().vkey, signer(2).vkey]
    assert policy.is_enough([])
    assert parse_policy(LOG).quorum == "none"


@pytest.mark.parametrize(
    ("lines", "saw", "enough"),
    [
        ("quorum x1\n", ["x1"], True),
        ("quorum x1\n", ["x2", "x3"], False),
        ("group g 2 x1 x2 x3\nquorum g\n", ["x1", "x3"], True),
        ("group g 2 x1 x2 x3\nquorum g\n", ["x1"], False),
        ("group g any x1 x2 x3\nquorum g\n", ["x3"], True),
        ("group g all x1 x2 x3\nquorum g\n", ["x1", "x2"], False),
        ("group g all x1 x2\ngroup h all g x3\nquorum h\n", ["x1", "x2", "x3"], True),
        ("group g all x1 x2\ngroup h any g x3\nquorum h\n", ["x1"], False),
        ("group g 2 x1 x2 x3\nquorum none\n", [], True),
    ],
)
def test_a_quorum_is_counted_as_the_file_says(lines: str, saw: list[str], enough: bool) -> None:  # noqa: FBT001
    policy = parse_policy(LOG + THREE + lines)
    assert policy.is_enough(key(name).key for name in saw) is enough


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no `log` line"),
        (THREE, "no `log` line"),
        (LOG + "witness w x\n", "line 2: a witness's vkey"),
        (LOG + f"witness w {signer(2).vkey}\n", "line 2: a witness's vkey"),
        (LOG + f"witness none {key('x1')}\n", "line 2: the name none is taken"),
        (LOG + f"witness x1 {key('x1')}\nwitness x1 {key('x2')}\n", "line 3: the name x1"),
        (LOG + f"witness x1 {key('x1')}\nwitness x2 {key('x1')}\n", "one key stands in two lines"),
        (LOG + "quorum g\n", "line 2: nothing above is called g"),
        (LOG + "quorum none\nquorum none\n", "line 3: 'quorum'"),
        (LOG + "quorum x1\n" + THREE, "line 2: nothing above"),
        (LOG + THREE + "group g 4 x1 x2 x3\n", "line 5: 4 of 3"),
        (LOG + THREE + "group g 0 x1\n", "line 5: 0 of 1"),
        (LOG + THREE + "group g 01 x1\n", "line 5: 01 of 1"),
        (LOG + THREE + "group g -1 x1\n", "line 5: -1 of 1"),
        (LOG + THREE + "group g all x1 x1\n", "line 5: x1 is a member twice"),
        (LOG + THREE + "group g all x1\ngroup h all g x1\n", "line 6: x1 is a member twice"),
        (LOG + THREE + "group g all none\n", "line 5: nothing above"),
        (LOG + THREE + "group g all\n", "line 5: 'group'"),
        (LOG + "surprise\n", "line 2: 'surprise'"),
        ("log nonsense\n", "line 1: a vkey is"),
        (LOG + f"log {signer(name='b').vkey}\n", "more than one log"),
        (LOG + f"second {signer(2).vkey}\n", "a name of its own"),
        (LOG + f"second {signer(2, name='b').vkey} {'9' * 17}\n", "line 2: 'second'"),
        (f"root {signer(3, name='l/root').vkey}\nsecond {signer(2, name='l').vkey}\n", "its own"),
        (LOG + LOG, "one key stands in two lines"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(TrustError, match=said):
        parse_policy(text)


def test_the_hash_of_a_witness_key_is_of_type_4() -> None:
    one = key("x1")
    digest = hashlib.sha256(b"x1\n\x04" + one.key).hexdigest()
    raw = base64.b64encode(b"\x04" + one.key).decode()
    assert str(one) == f"x1+{digest[:8]}+{raw}"
