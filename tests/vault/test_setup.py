"""`sentinel setup vault` on a real server: a plan first, made once, and never made over."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from appliance.launch import Launcher
from tests.vault.servers import DevServer, settings_file, setup
from vault.setup.authority import KEY

pytestmark = pytest.mark.vault

READS = {"read", "list"}


@pytest.fixture(scope="module")
def server(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> DevServer:
    """One for all tests here: each works in a namespace of its own."""
    return DevServer(tmp_path_factory.mktemp("setup"), launcher, name="bao-setup").start()


@pytest.fixture
def space(server: DevServer, request: pytest.FixtureRequest) -> str:
    name = f"ns{abs(hash(request.node.name))}"
    server.door().write(f"sys/namespaces/{name}", {})
    return name


@pytest.fixture
def config(server: DevServer, space: str, tmp_path: Path) -> Path:
    return settings_file(tmp_path, f'url = "{server.url}"\nnamespace = "{space}"\n')


def more(config: Path, text: str) -> Path:
    config.write_text(config.read_text() + text)
    return config


def writes(server: DevServer, since: int) -> list[tuple[str, str]]:
    return [one for one in server.requests()[since:] if one[0] not in READS]


def test_the_plan_is_printed_and_nothing_is_changed(
    server: DevServer, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(server.requests())
    assert setup(config, server.token) == 1
    said = capsys.readouterr().out
    assert "make     root CA in pki_root" in said
    assert "make     policy sentinel-hub" in said
    assert "by hand  secret vault:database#password" in said
    assert "to do with --apply" in said
    assert len(server.requests()) > before
    assert writes(server, before) == []


def test_a_second_run_writes_nothing_as_vaults_own_audit_log_says(
    server: DevServer, config: Path, space: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert setup(config, server.token, "--apply") == 1
    door = server.door(namespace=space)
    door.write("sentinel-kv/data/database", {"data": {"password": "p" * 20}})
    before = len(server.requests())
    capsys.readouterr()
    assert setup(config, server.token, "--apply") == 0
    assert "everything is there; nothing to do" in capsys.readouterr().out
    assert len(server.requests()) > before
    assert writes(server, before) == []


def test_what_somebody_changed_is_named_and_put_right(
    server: DevServer, config: Path, space: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setup(config, server.token, "--apply")
    door = server.door(namespace=space)
    door.write("pki_int/roles/node", {"allow_any_name": True, "server_flag": True})
    door.write("sys/policies/acl/sentinel-node", {"policy": 'path "*" { capabilities = ["read"] }'})
    capsys.readouterr()
    assert setup(config, server.token) == 1
    said = capsys.readouterr().out
    assert "change   certificates of node: " in said
    assert "server_flag: True → False" in said
    assert "change   policy sentinel-node: policy: " in said
    setup(config, server.token, "--apply")
    role = door.read("pki_int/roles/node")
    assert role is not None
    assert role["allow_any_name"] is False
    assert setup(config, server.token) == 1  # the password alone
    assert "0 to do with --apply, 1 to do by hand" in capsys.readouterr().out


def test_lifetimes_are_settings_and_a_change_reaches_the_roles(
    server: DevServer, config: Path, space: str
) -> None:
    setup(config, server.token, "--apply")
    setup(more(config, '[lifetimes]\nnode = "24h"\n'), server.token, "--apply")
    role = server.door(namespace=space).read("pki_int/roles/node")
    assert role is not None
    assert (role["ttl"], role["max_ttl"]) == (24 * 3600, 24 * 3600)


def test_a_sites_own_mount_paths_are_used(server: DevServer, config: Path, space: str) -> None:
    text = """[mounts]
root = "corp/root"
pki = "corp/issuing"
transit = "corp/sign"
kv = "corp/secrets"
approle = "corp-roles"
cert = "corp-certs"
"""
    setup(more(config, text), server.token, "--apply")
    door = server.door(namespace=space)
    engines, sign_ons = door.read("sys/mounts") or {}, door.read("sys/auth") or {}
    assert {"corp/root/", "corp/issuing/", "corp/sign/", "corp/secrets/"} <= set(engines)
    assert {"corp-roles/", "corp-certs/"} <= set(sign_ons)
    assert not any(path.startswith(("sentinel-", "pki")) for path in engines)
    policy = door.read("sys/policies/acl/sentinel-console")
    assert policy is not None
    assert 'path "corp/issuing/sign/console"' in policy["policy"]
    assert 'path "corp/secrets/data/session"' in policy["policy"]


def test_a_mount_of_another_kind_is_never_taken_over(
    server: DevServer, config: Path, space: str, capsys: pytest.CaptureFixture[str]
) -> None:
    door = server.door(namespace=space)
    door.write("sys/mounts/sentinel-kv", {"type": "kv", "options": {"version": "1"}})
    door.write("sentinel-kv/database", {"theirs": "x"})
    before = len(server.requests())
    assert setup(config, server.token) == 2
    assert "sentinel-kv is a mount of type kv, expected kv version 2" in capsys.readouterr().err
    assert writes(server, before) == []
    assert door.read("sentinel-kv/database") == {"theirs": "x"}


def test_secrets_that_are_there_stay_and_their_values_are_never_asked_for(
    server: DevServer, config: Path, space: str
) -> None:
    setup(config, server.token, "--apply")
    door = server.door(namespace=space)
    first = door.read("sentinel-kv/data/session")
    before = len(server.requests())
    setup(config, server.token, "--apply")
    asked = {path for _, path in server.requests()[before:]}
    assert not any("/data/" in path for path in asked)
    assert door.read("sentinel-kv/data/session") == first


def test_the_authority_is_p256_and_a_second_run_keeps_it(
    server: DevServer, config: Path, space: str
) -> None:
    setup(config, server.token, "--apply")
    door = server.door(namespace=space)
    pems = [
        (door.read(f"{one}/issuer/default") or {})["certificate"] for one in ("pki_root", "pki_int")
    ]
    for pem in pems:
        key = x509.load_pem_x509_certificate(pem.encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
    root, intermediate = (x509.load_pem_x509_certificate(pem.encode()) for pem in pems)
    intermediate.verify_directly_issued_by(root)
    setup(config, server.token, "--apply")
    assert (door.read("pki_int/issuer/default") or {})["certificate"] == pems[1]
    assert len(door.list("pki_int/keys")) == 1


def test_a_crash_before_the_intermediate_was_signed_goes_on_with_the_same_key(
    server: DevServer, config: Path, space: str
) -> None:
    door = server.door(namespace=space)
    door.write("sys/mounts/pki_int", {"type": "pki"})
    words = {"common_name": "x", "key_type": "ec", "key_bits": 256, "key_name": KEY}
    door.write("pki_int/intermediate/generate/internal", words)
    (key,) = door.list("pki_int/keys")
    setup(config, server.token, "--apply")
    assert door.list("pki_int/keys") == [key]
    assert (door.read("pki_int/issuer/default") or {})["key_id"] == key


class SiteCa:
    """A site's own CA, outside of Vault."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Corp Root")])
        self.root = self._made(self.name, self.key.public_key())

    def answer(self, csr: x509.CertificateSigningRequest, *, ca: bool = True) -> str:
        made = self._made(csr.subject, csr.public_key(), ca=ca)
        return b"".join(one.public_bytes(Encoding.PEM) for one in (made, self.root)).decode()

    def _made(self, subject: x509.Name, key: object, *, ca: bool = True) -> x509.Certificate:
        now = datetime.now(UTC)
        usage = dict.fromkeys(
            ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "encipher_only", "decipher_only"], False,
        )  # fmt: skip
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(key_cert_sign=ca, crl_sign=ca, **usage), critical=True)
            .sign(self.key, hashes.SHA384())
        )


def test_a_sites_own_ca_signs_the_request_and_its_answer_is_taken(
    server: DevServer, config: Path, space: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more(config, "own_ca = true\n")
    csr, signed = tmp_path / "request.pem", tmp_path / "signed.pem"
    assert setup(config, server.token, "--apply", "--csr", str(csr)) == 1
    said = capsys.readouterr().out
    assert "by hand  the site's answer in pki_int: say --signed FILE" in said
    assert "by hand  sign-on by certificate of node: waits for the authority" in said
    request = x509.load_pem_x509_csr(csr.read_bytes())
    assert request.is_signature_valid
    door = server.door(namespace=space)
    assert "pki_root/" not in (door.read("sys/mounts") or {})

    corp = SiteCa()
    signed.write_text(corp.answer(request))
    assert setup(config, server.token, "--apply", "--signed", str(signed)) == 1  # the password
    issuer = door.read("pki_int/issuer/default") or {}
    assert x509.load_pem_x509_certificate(issuer["certificate"].encode()).issuer == corp.name
    assert issuer["key_id"]
    before = len(server.requests())
    assert setup(config, server.token, "--apply") == 1
    assert writes(server, before) == []


WRONG = {
    "another key": "it is for another key than the one in Vault",
    "no ca": "it is no CA that may sign",
    "no root": "is not signed by the next; expected the whole chain",
    "text": "cannot be read as certificates",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_of_a_sites_ca_is_refused_and_vault_never_sees_it(
    server: DevServer, config: Path, space: str, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:  # fmt: skip
    more(config, "own_ca = true\n")
    csr, signed = config.parent / "request.pem", config.parent / "signed.pem"
    setup(config, server.token, "--apply", "--csr", str(csr))
    request, corp = x509.load_pem_x509_csr(csr.read_bytes()), SiteCa()
    other = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(request.subject)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    right = corp.answer(request)
    signed.write_text(
        {
            "another key": corp.answer(other),
            "no ca": corp.answer(request, ca=False),
            "no root": right[: right.index("-----END") + 26],
            "text": "yes, all is well\n",
        }[wrong]
    )
    capsys.readouterr()
    assert setup(config, server.token, "--apply", "--signed", str(signed)) == 2
    assert WRONG[wrong] in capsys.readouterr().err
    assert server.door(namespace=space).list("pki_int/issuers") == []


def test_a_server_without_an_audit_device_says_which_lines_it_needs(
    bao: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings_file(tmp_path, f'url = "{bao.url}"\n')  # type: ignore[attr-defined]
    assert setup(config, bao.token) == 1  # type: ignore[attr-defined]
    said = capsys.readouterr().out
    assert 'by hand  audit device: in its configuration: audit "file" "sentinel"' in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('url = "http://vault.site.example:8200"\n', "expected https://"),
        ('url = "https://me:secret@vault.site.example"\n', "holds a name or a password"),
        ('url = "http://127.0.0.1:1"\n', "Vault does not answer"),
        ('url = "http://127.0.0.1:1"\n[lifetimes]\nnode = "3 days"\n', "lifetimes.node"),
        ('url = "http://127.0.0.1:1"\n[mounts]\nkv = "../sys"\n', "mounts.kv"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_no_token_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    assert setup(settings_file(tmp_path, text), "a-secret-token") == 2
    said = capsys.readouterr()
    assert why in said.err
    assert said.err.count("\n") == 1
    assert "a-secret-token" not in said.err + said.out
    assert "me:secret" not in said.err


def test_a_token_that_may_not_is_refused_and_nothing_is_made(
    server: DevServer, config: Path, space: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = server.door(namespace=space).write("auth/token/create", {"policies": ["default"]})
    assert setup(config, made["client_token"], "--apply") == 2
    assert "Vault refused; could not" in capsys.readouterr().err
    assert "pki_root/" not in (server.door(namespace=space).read("sys/mounts") or {})
