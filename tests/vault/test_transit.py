"""Vault's signature under a checkpoint, by the real server: pinned, narrow, verified at once."""

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.launch import Bao, _bao, free_port
from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.errors import NoteError
from audit.note import Signer, open_note, parse_vkey
from tests.audit.builders import signer
from vault.errors import VaultError
from vault.transit import TransitKey, TransitSigner, read_token

pytestmark = pytest.mark.vault

LOG = "site.example/log"
README = (Path(__file__).parents[2] / "vault" / "README.md").read_text()
(SETUP,) = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def shell(bao: Bao, folder: Path, text: str) -> str:
    """Run the documents' words with an administrator's token."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    root = Path(__file__).parents[2]
    for name, words in (
        ("bao", f'exec {_bao()} "$@"'),
        ("sentinel-audit", f'PYTHONPATH={root} exec {sys.executable} -m audit "$@"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{words}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-euc", text],
        cwd=folder,
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            "BAO_ADDR": bao.url,
            "BAO_TOKEN": bao.token,
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def site(bao: Bao, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after the documents' commands were run."""
    folder = tmp_path_factory.mktemp("transit")
    shell(bao, folder, SETUP)
    return folder


@pytest.fixture
def key(bao: Bao, site: Path) -> TransitKey:
    """With the notary's own token."""
    return TransitKey(url=bao.url, token=read_token(site / "vault.token"), key="sentinel-audit")


@pytest.fixture
def second(key: TransitKey, site: Path) -> TransitSigner:
    vkey = parse_vkey((site / "second.vkey").read_text())
    return TransitSigner(key, vkey=str(vkey), public=vkey.key)


CHECKPOINT = Checkpoint(origin=LOG, size=17, root=b"r" * 32)


def test_a_checkpoint_has_two_signature_lines_and_each_verifies_alone(
    second: TransitSigner,
) -> None:
    own = signer(name=LOG)
    note = sign_checkpoint(CHECKPOINT, own, second)
    assert note.count("\n\u2014 ") == 2
    both = [parse_vkey(own.vkey), parse_vkey(second.vkey)]
    assert len(open_note(note, both).keys) == 2
    assert open_checkpoint(note, both[:1]) == CHECKPOINT
    text = note[: note.index("\n\n") + 1].encode()
    blob = base64.b64decode(note.rsplit(" ", 1)[1])
    Ed25519PublicKey.from_public_bytes(both[1].key).verify(blob[4:], text)  # by another library


def test_it_is_a_signer_as_the_log_knows_them(second: TransitSigner) -> None:
    signing: Signer = second
    assert signing.vkey.startswith(f"{LOG}/second+")
    second.ready()


def test_the_notarys_token_signs_with_this_key_and_does_nothing_else(
    bao: Bao, site: Path, key: TransitKey
) -> None:
    shell(bao, site, "bao write -f sentinel-transit/keys/other type=ed25519")
    token = read_token(site / "vault.token")
    assert (site / "vault.token").stat().st_mode & 0o777 == 0o600
    other = TransitKey(url=bao.url, token=token, key="other")
    for refused in (lambda: other.sign(b"x", 1), lambda: other.version_of(b"x" * 32)):
        with pytest.raises(VaultError, match="refused"):
            refused()
    for words in (
        "bao read sentinel-transit/export/signing-key/sentinel-audit",
        "bao write -f sentinel-transit/keys/sentinel-audit/rotate",
        "bao delete sentinel-transit/keys/sentinel-audit",
        "bao list sentinel-transit/keys",
        "bao token create",
    ):
        shell(bao, site, f"export BAO_TOKEN={token}; ! {words}")
    key.renew()


def test_a_key_that_was_rotated_in_vault_goes_on_with_the_pinned_version(
    bao: Bao, site: Path, second: TransitSigner
) -> None:
    shell(bao, site, "bao write -f sentinel-transit/keys/sentinel-audit/rotate")
    second.ready()
    note = sign_checkpoint(CHECKPOINT, signer(name=LOG), second)
    assert len(open_note(note, [parse_vkey(second.vkey)]).keys) == 1


def test_another_key_than_the_pinned_one_is_refused_before_it_signs(
    key: TransitKey, site: Path
) -> None:
    other = parse_vkey(signer(9, name=f"{LOG}/second").vkey)
    wrong = TransitSigner(key, vkey=str(other), public=other.key)
    with pytest.raises(VaultError, match="not the one"):
        wrong.ready()
    with pytest.raises(VaultError, match="not the one"):
        sign_checkpoint(CHECKPOINT, signer(name=LOG), wrong)


def test_a_vault_that_lies_publishes_nothing(key: TransitKey, second: TransitSigner) -> None:
    """It signs, but not what it was asked to."""

    class Liar(TransitSigner):
        def sign(self, message: bytes) -> bytes:
            return super().sign(message + b"!")

    liar = Liar(key, vkey=second.vkey, public=parse_vkey(second.vkey).key)
    with pytest.raises(NoteError, match="does not verify"):
        sign_checkpoint(CHECKPOINT, signer(name=LOG), liar)


def test_a_key_of_another_kind_is_refused(bao: Bao, site: Path) -> None:
    shell(bao, site, "bao write -f sentinel-transit/keys/wrong type=aes256-gcm96")
    wrong = TransitKey(url=bao.url, token=bao.token, key="wrong")
    with pytest.raises(VaultError, match="expected ed25519"):
        wrong.version_of(b"x" * 32)


def test_a_vault_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    absent = TransitKey(url=f"http://127.0.0.1:{free_port()}", token="t", key="k")
    with pytest.raises(VaultError, match="does not answer") as raised:
        absent.sign(b"x", 1)
    assert "\n" not in str(raised.value)
    with pytest.raises(VaultError, match="cannot read the token"):
        read_token(tmp_path / "absent")


def test_a_token_that_was_taken_back_is_refused_in_words(bao: Bao, site: Path) -> None:
    text = "bao token create -policy=sentinel-sign -no-default-policy -field=token"
    token = shell(bao, site, text).strip()
    key = TransitKey(url=bao.url, token=token, key="sentinel-audit")
    key.sign(b"x", 1)
    shell(bao, site, f"bao token revoke {token}")
    with pytest.raises(VaultError, match="refused"):
        key.sign(b"x", 1)
