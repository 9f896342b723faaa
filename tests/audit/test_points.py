"""Public keys under which anybody can sign, and second spellings of keys: refused at every door."""

import base64
import hashlib
from pathlib import Path

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.errors import SettingsError
from audit.__main__ import main
from audit.epochs import certify
from audit.errors import AuditRefusedError, EpochError, TrustError, VkeyError
from audit.note import check_point, parse_vkey
from audit.trust import parse_policy
from hub.log_keys import keys_of
from hub.settings import NotarySettings, SecondSigner
from tests.audit.epoch_log import ROOT, list_of

# Every encoding of the eight points whose order divides 8, canonical and not: the list of
# "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020), table 6, and of libsodium.
LOW_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]
BASE_POINT = "5866666666666666666666666666666666666666666666666666666666666666"
P = 2**255 - 19


def vkey_of(raw: bytes, *, name: str = "log.example/hub") -> str:
    """What somebody publishes who hopes that nobody looks."""
    blob = b"\x01" + raw
    mark = hashlib.sha256(name.encode() + b"\n" + blob).digest()[:4].hex()
    return f"{name}+{mark}+{base64.b64encode(blob).decode()}"


def test_a_signature_that_nobody_made_verifies_under_such_a_key() -> None:
    """Why they are refused: the library itself believes it, for every message."""
    anyone = bytes.fromhex(BASE_POINT) + (1).to_bytes(32, "little")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(LOW_ORDER[0]))
    for message in (b"one history", b"another history"):
        try:
            key.verify(anyone, message)
        except InvalidSignature:  # a library that is stricter is welcome
            pytest.skip("this library refuses low order by itself")


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_point_of_low_order_is_refused_in_every_spelling(point: str) -> None:
    raw = bytes.fromhex(point)
    with pytest.raises(VkeyError):
        check_point(raw)
    with pytest.raises(VkeyError):
        parse_vkey(vkey_of(raw))


@pytest.mark.parametrize("sign", [0, 1])
def test_a_number_above_the_field_is_refused_whatever_point_it_would_be(sign: int) -> None:
    for y in range(P, 2**255):
        raw = (y | sign << 255).to_bytes(32, "little")
        with pytest.raises(VkeyError, match="canonical"):
            parse_vkey(vkey_of(raw))


@pytest.mark.parametrize("point", LOW_ORDER)
def test_every_file_that_names_a_key_refuses_such_a_one(point: str, tmp_path: Path) -> None:
    bad = vkey_of(bytes.fromhex(point))
    for policy in (f"log {bad}\n", f"root {bad}\n", f"log {ROOT.vkey}\nsecond {bad}\n"):
        with pytest.raises(TrustError):
            parse_policy(policy)
    with pytest.raises(TrustError):
        parse_policy(f"log {bad}\n")
    epochs = list_of(2)
    for change in ({"vkey": bad}, {"second": bad}):
        changed = msgspec.structs.replace(epochs.epochs[1], **change)
        made = msgspec.structs.replace(epochs, epochs=(epochs.epochs[0], changed))
        with pytest.raises(EpochError):
            certify(made, ROOT)
    (tmp_path / "log.vkey").write_text(bad)
    assert main(["verify", str(tmp_path)]) == AuditRefusedError.exit_status


def test_the_notary_refuses_such_a_second_key(tmp_path: Path) -> None:
    (tmp_path / "second.vkey").write_text(vkey_of(bytes.fromhex(LOW_ORDER[0])))
    (tmp_path / "token").write_text("t")
    second = SecondSigner(
        url="http://127.0.0.1:1", token=tmp_path / "token", vkey=tmp_path / "second.vkey"
    )
    settings = NotarySettings(
        dsn="", folder=tmp_path, origin="log.example/hub", key=tmp_path / "key", second=second
    )
    with pytest.raises(SettingsError, match="not a vkey"):
        keys_of(settings)
