"""Each policy allows what it must and refuses the rest: real requests with real tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.errors import SettingsError
from tests.vault.servers import DevServer
from vault.access import VaultAccess
from vault.door import Door
from vault.errors import VaultError
from vault.identity import make_key, request
from vault.setup import policies
from vault.setup.settings import SetupSettings

pytestmark = pytest.mark.vault

Ask = Callable[[Door], Any]


def csr(name: str, uri: str, *, dns: tuple[str, ...] = ()) -> str:
    return request(ec.generate_private_key(ec.SECP256R1()), name=name, uri=uri, dns=dns)


def sign(role: str, name: str, uri: str, *, dns: tuple[str, ...] = ()) -> Ask:
    body = {"csr": csr(name, uri, dns=dns), "common_name": name}
    return lambda door: door.write(f"pki_int/sign/{role}", body)


def secret(path: str) -> Ask:
    return lambda door: demanded(door.read(f"sentinel-kv/data/{path}"))


def demanded(found: dict[str, Any] | None) -> dict[str, Any]:
    assert found is not None
    return found


def write(path: str, **body: Any) -> Ask:
    return lambda door: door.write(path, body)


def read(path: str) -> Ask:
    return lambda door: door.read(path)


HUB = sign("hub", "hub.test", "spiffe://sentinel/hub", dns=("hub.test",))
CONSOLE = sign("console", "console.test", "spiffe://sentinel/console", dns=("console.test",))
DATABASE = sign("database", "sentinel", "spiffe://sentinel/database/sentinel")
NODE = sign("node", "h1.test", "spiffe://sentinel/node/h1.test")
SIGN_LOG = write("sentinel-transit/sign/sentinel-audit", input="eA==")
LOG_KEY = read("sentinel-transit/keys/sentinel-audit")

ACTIONS: dict[str, Ask] = {
    "a hub's certificate": HUB,
    "a console's certificate": CONSOLE,
    "the database's certificate": DATABASE,
    "a node's certificate": NODE,
    "the database's password": secret("database"),
    "the session key": secret("session"),
    "a signature of the log": SIGN_LOG,
    "the log's public key": LOG_KEY,
    "another secret": secret("other"),
    "the names of secrets": lambda door: door.list("sentinel-kv/metadata"),
    "another password": write("sentinel-kv/data/database", data={"password": "x"}),
    "an end of a secret": lambda door: door.write(
        "sentinel-kv/metadata/other", {}, method="delete"
    ),
    "the log's private key": read("sentinel-transit/export/signing-key/sentinel-audit"),
    "a rotated log's key": write("sentinel-transit/keys/sentinel-audit/rotate"),
    "a signature of another key": write("sentinel-transit/sign/other", input="eA=="),
    "a certificate with Vault's own key": write("pki_int/issue/hub", common_name="hub.test"),
    "a certificate without a role": write("pki_int/sign-verbatim", csr=csr("x", "spiffe://x")),
    "another role": write("pki_int/roles/evil", allow_any_name=True),
    "another authority": write("pki_int/root/generate/internal", common_name="evil"),
    "the root's signature": write("pki_root/root/sign-intermediate", csr=csr("x", "spiffe://x")),
    "a revocation": write("pki_int/revoke", serial_number="00:11"),
    "another policy": write("sys/policies/acl/evil", policy='path "*" {capabilities=["sudo"]}'),
    "a token": write("auth/token/create", policies=["root"]),
    "a token for a node": write("auth/token/create/sentinel-enroll", entity_alias="h1.test"),
    "a secret_id": write("auth/sentinel-approle/role/console/secret-id"),
    "mounts": read("sys/mounts"),
    "another mount": write("sys/mounts/evil", type="kv"),
    "a seal": write("sys/seal"),
    "an entity": write("identity/entity/name/sentinel-node-h1.test", metadata={"node": "h1.test"}),
    "another entity": write("identity/entity/name/admin", policies=["root"]),
    "which certificates there are": lambda door: door.list("pki_int/certs"),
    "whether a token is there": write("auth/token/lookup-accessor", accessor="none"),
    "a new token for itself": write("auth/token/renew-self"),
}
COMMON = {"the database's password", "the database's certificate", "a new token for itself"}
ALLOWED: dict[str, set[str]] = {
    "hub": COMMON | {"a hub's certificate", "whether a token is there"},
    "console": COMMON | {"a console's certificate", "the session key"},
    "notary": COMMON | {"a signature of the log", "the log's public key"},
    "reason": COMMON,
    "node": {"a node's certificate", "a new token for itself"},
    "enroll": {"a node's certificate"},
    "fleet": {
        "a token for a node",
        "an entity",
        "which certificates there are",
        "a revocation",
        "whether a token is there",
        "a new token for itself",
    },
}
DENIED = "permission denied"


@pytest.fixture(scope="module")
def site(ready: DevServer) -> DevServer:
    """With another secret and another key, so that a refusal is not for want of them."""
    door = ready.door()
    door.write("sentinel-kv/data/other", {"data": {"value": "x"}})
    door.write("sentinel-transit/keys/other", {"type": "ed25519"})
    entity(door, "h1.test")
    return ready


def entity(door: Door, node: str) -> str:
    """As `sentinel node add` makes it: the name of a node, for its tokens and its certificates."""
    body = {"metadata": {"node": node}}
    door.write(f"identity/entity/name/sentinel-node-{node}", body)
    found = demanded(door.read(f"identity/entity/name/sentinel-node-{node}"))["id"]
    sign_ons = demanded(door.read("sys/auth"))
    for mount in ("token/", "cert/"):
        alias = {"name": node, "canonical_id": found}
        door.write(
            "identity/entity-alias", {**alias, "mount_accessor": sign_ons[mount]["accessor"]}
        )
    return str(found)


def token_of(site: DevServer, policy: str) -> str:
    """A token with one policy and nothing else; of the node h1.test where it is one."""
    name = f"sentinel-{policy}"
    words = {"policies": [name], "no_default_policy": True}
    if policy in ("node", "enroll"):
        role = {"allowed_policies": [name], "allowed_entity_aliases": ["*"]}
        site.door().write("auth/token/roles/test-node", {**role, "token_no_default_policy": True})
        words |= {"entity_alias": "h1.test"}
        return str(site.door().write("auth/token/create/test-node", words)["client_token"])
    return str(site.door().write("auth/token/create", words)["client_token"])


def test_every_policy_has_its_line_in_the_table() -> None:
    assert set(ALLOWED) == set(policies.NAMES)


@pytest.mark.parametrize("policy", sorted(ALLOWED))
def test_a_policy_allows_what_it_must_and_refuses_the_rest(site: DevServer, policy: str) -> None:
    door = site.door(token_of(site, policy))
    got = {what for what, ask in ACTIONS.items() if is_allowed(door, ask)}
    assert got == ALLOWED[policy]
    assert site.door().read("sentinel-kv/data/other") is not None
    assert site.door().read("sys/policies/acl/evil") is None


def is_allowed(door: Door, ask: Ask) -> bool:
    """Whether the policy let it through, be the rest of the request right or wrong."""
    try:
        ask(door)
    except VaultError as error:
        return DENIED not in str(error)
    return True


@pytest.mark.parametrize(
    ("role", "name", "uri"),
    [
        ("hub", "hub.test", "spiffe://sentinel/node/h1.test"),
        ("hub", "hub.test", "spiffe://sentinel/console"),
        ("console", "console.test", "spiffe://sentinel/hub"),
        ("console", "console.test", "spiffe://sentinel/database/sentinel"),
        ("database", "postgres", "spiffe://sentinel/database/sentinel"),
        ("database", "sentinel", "spiffe://sentinel/database/postgres"),
        ("database", "sentinel", "spiffe://sentinel/hub"),
        ("node", "h2.test", "spiffe://sentinel/node/h2.test"),
        ("node", "h1.test", "spiffe://sentinel/node/h2.test"),
        ("node", "h2.test", "spiffe://sentinel/node/h1.test"),
        ("node", "h1.test", "spiffe://sentinel/hub"),
    ],
)
def test_no_role_issues_another_name(site: DevServer, role: str, name: str, uri: str) -> None:
    policy = {"database": "hub"}.get(role, role)
    door = site.door(token_of(site, policy))
    before = site.door().list("pki_int/certs")
    with pytest.raises(VaultError, match=r"not allowed|not valid for this role") as refused:
        sign(role, name, uri)(door)
    assert DENIED not in str(refused.value)  # the role refused, not the policy
    assert site.door().list("pki_int/certs") == before


@pytest.mark.parametrize("kind", ["rsa", "p224"])
def test_a_weak_key_is_not_signed(site: DevServer, kind: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else (
        ec.generate_private_key(ec.SECP224R1())
    )  # fmt: skip
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    with pytest.raises(VaultError, match="role requires"):
        site.door().write("pki_int/sign/hub", {"csr": pem, "common_name": "hub.test"})


def test_a_node_without_an_entity_obtains_nothing(site: DevServer) -> None:
    words = {"policies": ["sentinel-node"], "no_default_policy": True}
    door = site.door(str(site.door().write("auth/token/create", words)["client_token"]))
    with pytest.raises(VaultError):
        NODE(door)


@dataclass(frozen=True)
class Bearer:
    certificate: Path
    key: Path


def bearer(door: Door, folder: Path, role: str, name: str, uri: str) -> Bearer:
    """A certificate with its key, in files."""
    key = make_key(folder / "key.pem")
    body = {"csr": request(key, name=name, uri=uri), "common_name": name}
    answer = door.write(f"pki_int/sign/{role}", body)
    chain = [answer["certificate"], *answer["ca_chain"]]
    (folder / "cert.pem").write_text("\n".join(chain) + "\n")
    return Bearer(folder / "cert.pem", folder / "key.pem")


def test_each_process_signs_in_by_approle_and_its_token_ends_with_the_errand(
    site: DevServer, tmp_path: Path
) -> None:
    door = site.door()
    for name in ("hub", "console", "notary", "reason"):
        role = f"auth/sentinel-approle/role/{name}"
        (tmp_path / name).write_text(door.write(f"{role}/secret-id", {})["secret_id"])
        access = VaultAccess(
            url=site.url,
            role_id=demanded(door.read(f"{role}/role-id"))["role_id"],
            secret_id=tmp_path / name,
        )
        with access.opened() as opened:
            assert secret("database")(opened)["data"]["password"] == "the-databases-password"
        with pytest.raises(VaultError, match="permission denied"):
            secret("database")(opened)


def test_two_ways_to_sign_in_are_refused_and_so_is_half_of_one(tmp_path: Path) -> None:
    for words in (
        {},
        {"token": tmp_path / "t", "role_id": "r", "secret_id": tmp_path / "s"},
        {"role_id": "r"},
        {"certificate": tmp_path / "c", "key": tmp_path / "k"},
    ):
        access = VaultAccess(url="https://vault.test", **words)  # type: ignore[arg-type]
        with pytest.raises(SettingsError, match="one way to sign in"), access.opened():
            pass


def test_the_policies_name_no_mount_that_is_not_a_setting(chosen: SetupSettings) -> None:
    for name in policies.NAMES:
        raw = (policies.FOLDER / f"{name}.hcl").read_text()
        assert "pki_int" not in raw
        assert "sentinel-kv" not in raw
        assert "$" not in policies.text_of(chosen, name)
