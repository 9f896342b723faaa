"""The certificate authority, on a real Vault API: narrow roles, readable refusals."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.launch import Bao, free_port
from vault.errors import VaultError
from vault.pki import Issued, Pki

pytestmark = pytest.mark.vault


def extension(issued: Issued, kind: type[x509.ExtensionType]) -> x509.ExtensionType:
    certificate = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    return certificate.extensions.get_extension_for_class(kind).value


def test_a_node_gets_a_client_certificate_with_its_one_name(pki: Pki, tmp_path: Path) -> None:
    issued = pki.issue(
        role="node", name="h1.test", uri="spiffe://sentinel/node/h1.test", folder=tmp_path
    )
    usage = extension(issued, x509.ExtendedKeyUsage)
    assert isinstance(usage, x509.ExtendedKeyUsage)
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = extension(issued, x509.SubjectAlternativeName)
    assert isinstance(names, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["spiffe://sentinel/node/h1.test"]
    assert stat.S_IMODE(issued.key.stat().st_mode) == 0o600


def test_the_hub_gets_a_server_certificate(pki: Pki, tmp_path: Path) -> None:
    issued = pki.issue(
        role="hub", name="localhost", uri="spiffe://sentinel/hub", folder=tmp_path,
        dns=["localhost"], addresses=["127.0.0.1"],
    )  # fmt: skip
    usage = extension(issued, x509.ExtendedKeyUsage)
    assert isinstance(usage, x509.ExtendedKeyUsage)
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize(
    ("role", "uri"),
    [
        ("node", "spiffe://sentinel/hub"),
        ("node", "spiffe://sentinel/console"),
        ("hub", "spiffe://sentinel/node/h1.test"),
        ("console", "spiffe://sentinel/hub"),
        ("console", "spiffe://sentinel/node/h1.test"),
    ],
)
def test_no_role_issues_another_roles_name(pki: Pki, tmp_path: Path, role: str, uri: str) -> None:
    with pytest.raises(VaultError, match="Vault refused"):
        pki.issue(role=role, name="h1.test", uri=uri, folder=tmp_path)
    assert not (tmp_path / "cert.pem").exists()


def test_a_node_cannot_have_an_address_or_a_wildcard(pki: Pki, tmp_path: Path) -> None:
    uri = "spiffe://sentinel/node/h1.test"
    with pytest.raises(VaultError):
        pki.issue(role="node", name="h1.test", uri=uri, folder=tmp_path, addresses=["10.0.0.1"])
    with pytest.raises(VaultError):
        pki.issue(role="node", name="*.test", uri=uri, folder=tmp_path)


def test_setting_up_twice_keeps_the_root(bao: Bao, tmp_path: Path) -> None:
    one = Pki(url=bao.url, token=bao.token, mount="twice-pki")
    one.bootstrap()
    first = one.issue(
        role="node", name="a.test", uri="spiffe://sentinel/node/a.test", folder=tmp_path / "1"
    )
    one.bootstrap()
    second = one.issue(
        role="node", name="a.test", uri="spiffe://sentinel/node/a.test", folder=tmp_path / "2"
    )
    assert first.ca.read_text() == second.ca.read_text()


def test_a_vault_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    absent = Pki(url=f"http://127.0.0.1:{free_port()}", token="t")
    with pytest.raises(VaultError, match="does not answer") as raised:
        absent.bootstrap()
    assert "\n" not in str(raised.value)


def test_a_wrong_token_is_refused_in_words(bao: Bao) -> None:
    with pytest.raises(VaultError, match="Vault refused; could not set up the PKI"):
        Pki(url=bao.url, token="wrong", mount="other").bootstrap()
