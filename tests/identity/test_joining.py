"""A node joins a real Vault: its own key, one use, nothing pinned twice; and what thieves get."""

import json
import os
import signal
import stat
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from agent import enroll
from appliance.__main__ import main as sentinel
from appliance.channel import Identity
from hub.persist import identity
from hub.persist.database import Database
from tests.hub.builders import outbox
from tests.identity.conftest import ROOT_TOKEN, Site
from vault import certificates, redeem
from vault.client import Client
from vault.errors import JoinError, StolenTokenError, VaultDeniedError, VaultError
from vault.identity import make_key, request
from vault.joining import sign
from vault.settings import VaultSite
from vault.ticket import Pins, Ticket, read_answer, read_ticket

pytestmark = [pytest.mark.postgres, pytest.mark.vault]
NAME = "h1.test"
TRUST_ROOT, VKEY = '{"signed": "a root"}\n', "site.example/log+0+key\n"


class World:
    """A hub's settings and a node's, in one folder."""

    def __init__(self, site: Site, dsn: str, folder: Path) -> None:
        self.site, self.folder = site, folder
        folder.mkdir(exist_ok=True)
        (folder / "trust.json").write_text(TRUST_ROOT)
        (folder / "log.vkey").write_text(VKEY)
        self.serve = folder / "serve.toml"
        self.serve.write_text(f"""dsn = "{dsn}"
order_key = "order.key"
log_origin = "site.example/log"
audit_vkey = "{folder}/log.vkey"
trust_root = "{folder}/trust.json"
[identity]
certificate = "{folder}/hub.pem"
key = "{folder}/hub.key"
ca = "{site.root_ca}"
[vault]
url = "{site.vault.url}"
ca = "{site.vault.ca}"
""")
        self.node = self.make(NAME)

    def make(self, name: str) -> enroll.Node:
        at = self.folder / f"node-{name}"
        (at / "state").mkdir(parents=True)
        (at / "agent.toml").write_text(f"""hub = "127.0.0.1:1"
state_dir = "{at}/state"
executor_socket = "{at}/socket"
[identity]
certificate = "{at}/cert.pem"
key = "{at}/key.pem"
ca = "{at}/ca.pem"
[vault]
url = "{self.site.vault.url}"
ca = "{self.site.vault.ca}"
""")
        (at / "executor.toml").write_text(f"""node = "{name}"
socket = "{at}/socket"
state_dir = "{at}/executor"
trust_root = "{at}/root.json"
audit_vkey = "{at}/log.vkey"
""")
        return enroll.Node(
            name=name,
            identity=Identity(certificate=at / "cert.pem", key=at / "key.pem", ca=at / "ca.pem"),
            trust_root=at / "root.json",
            audit_vkey=at / "log.vkey",
            folder=at / "state" / enroll.FOLDER,
        )

    def add(self, name: str = NAME, *more: str) -> Ticket:
        out = self.folder / f"{name}.ticket"
        assert self.say("add", name, "--out", str(out), *more) == 0
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        return read_ticket(out.read_bytes())

    def say(self, *words: str) -> int:
        token = self.folder / "admin.token"
        token.write_text(ROOT_TOKEN)
        options = ["--config", str(self.serve), "--vault-token-file", str(token)]
        return sentinel(["node", *words, *options])

    def join(self, ticket: Ticket, node: enroll.Node | None = None, **more: str) -> list[str]:
        said: list[str] = []
        enroll.with_ticket(node or self.node, ticket, self.site.vault, say=said.append, **more)
        return said


@pytest.fixture
def world(site: Site, dsn: str, tmp_path: Path) -> World:
    return World(site, dsn, tmp_path / "world")


def nothing_in_place(node: enroll.Node) -> bool:
    places = [node.identity.certificate, node.identity.key, node.identity.ca]
    return not any(path.exists() for path in [*places, node.trust_root, node.audit_vkey] if path)


def test_a_node_joins_with_its_own_key_and_pins_the_site(
    world: World, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = world.add()
    shown = capsys.readouterr().out
    said = world.join(ticket, expected=ticket.pins.fingerprint)
    mine = world.node.identity
    leaf = certificates.chain_of(mine.certificate.read_bytes())[0]
    assert certificates.uris(leaf) == [f"spiffe://sentinel/node/{NAME}"]
    assert stat.S_IMODE(mine.key.stat().st_mode) == 0o600
    assert mine.ca.read_text() == world.site.root_ca.read_text()
    assert world.node.trust_root
    assert world.node.trust_root.read_text() == TRUST_ROOT
    assert world.node.audit_vkey
    assert world.node.audit_vkey.read_text() == VKEY
    assert ticket.pins.fingerprint in shown
    assert f"site      {ticket.pins.fingerprint}" in said
    assert f"our key   {certificates.key_fingerprint(leaf.public_key())}" in said
    assert not list(world.node.folder.iterdir())
    (entry,) = [row for row in outbox(database) if row["type"] == "node.enroll"]
    assert entry["body"]["state"] == "asked"


def test_the_private_key_never_leaves_and_the_token_is_in_no_answer_of_the_command(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = world.add()
    assert ticket.token not in capsys.readouterr().out
    world.join(ticket)
    key = world.node.identity.key.read_text()
    found = [
        path for path in world.site.folder.rglob("*")
        if path.is_file() and key.splitlines()[1] in path.read_text(errors="replace")
    ]  # fmt: skip
    assert found == []


def test_the_command_enrolls_from_standard_input_in_a_process_of_its_own(world: World) -> None:
    ticket = world.add()
    at = world.node.identity.key.parent
    words = [sys.executable, "-m", "agent", "enroll", "--token-stdin", "--config",
             str(at / "agent.toml"), "--executor-config", str(at / "executor.toml"),
             "--expect", ticket.pins.fingerprint]  # fmt: skip
    done = subprocess.run(
        words, input=msgspec.json.encode(ticket), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert b"enrolled  h1.test" in done.stdout
    again = subprocess.run(
        words, input=msgspec.json.encode(ticket), capture_output=True, check=False, timeout=60
    )
    assert (again.returncode, again.stdout.count(b"enrolled")) == (1, 0)
    assert b"this node is enrolled" in again.stderr


def test_a_token_joins_once(world: World) -> None:
    ticket = world.add()
    world.join(ticket)
    other = World(world.site, "x", world.folder / "elsewhere")
    with pytest.raises(StolenTokenError, match="already unwrapped"):
        other.join(ticket)
    assert nothing_in_place(other.node)


def test_what_is_in_a_ticket_can_become_this_one_node_and_nothing_else(
    world: World, tmp_path: Path
) -> None:
    ticket = world.add()
    client = Client(world.site.vault)
    token = redeem.unwrap(client, ticket.token).token
    key = make_key(tmp_path / "thief.key")
    for name in ("h2.test", "hub", "*.test", "h1.test.evil"):
        csr = request(key, name=name, uri=f"spiffe://sentinel/node/{name}")
        with pytest.raises(VaultDeniedError):
            sign(client, world.site.vault, csr, node=name, token=token)
    mixed = request(key, name=NAME, uri="spiffe://sentinel/hub")
    with pytest.raises(VaultDeniedError):
        sign(client, world.site.vault, mixed, node=NAME, token=token)


def test_what_is_in_a_ticket_reads_nothing_of_vault(world: World) -> None:
    token = redeem.unwrap(Client(world.site.vault), world.add().token).token
    client = Client(world.site.vault, token=token)
    for path in ("sys/mounts", "sys/auth"):
        with pytest.raises(VaultDeniedError):
            client.call("GET", path, what="look around")
    client = Client(
        world.site.vault,
        token=redeem.unwrap(Client(world.site.vault), world.add("h3.test").token).token,
    )
    with pytest.raises(VaultDeniedError):
        client.call("LIST", "pki_int/certs", what="look around")
    with pytest.raises(VaultDeniedError):
        client.call("POST", "auth/token/create", {}, what="make another token")


def test_a_thief_who_unwraps_first_is_found_and_shut_out(
    world: World, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = world.add()
    thief = World(world.site, "x", world.folder / "thief")
    thief.join(ticket)  # somebody took the ticket and was faster
    with pytest.raises(StolenTokenError, match="sentinel node check"):
        world.join(ticket)
    assert nothing_in_place(world.node)
    capsys.readouterr()
    assert world.say("check") == 1
    assert "OPENED, and the node has not connected" in capsys.readouterr().out
    assert world.say("check", NAME, "--stolen") == 1
    assert "SHUT OUT" in capsys.readouterr().out
    states = [row["body"].get("state") for row in outbox(database) if row["type"] == "node.enroll"]
    assert states == ["asked", "stolen"]
    assert [row["type"] for row in outbox(database)].count("node.revoke") == 1
    assert [row["node"] for row in identity.stolen(database)] == [NAME]
    assert revoked_in_vault(world.site, thief.node.identity.certificate)
    with pytest.raises(VaultDeniedError):  # nor does what was stolen sign on again
        signs_on(world.site, thief.node.identity)


def test_a_ticket_whose_token_was_swapped_is_not_opened(world: World) -> None:
    """The thief opened it, and wrapped something of their own in its place."""
    ticket = world.add()
    made = world.site.admin.call(
        "POST", "sys/wrapping/wrap", {"client_token": "s.evil"}, what="wrap", wrap_s=300
    )
    swapped = msgspec.structs.replace(ticket, token=made["wrap_info"]["token"])
    with pytest.raises(StolenTokenError, match="made at sys/wrapping/wrap"):
        world.join(swapped)
    assert nothing_in_place(world.node)
    assert world.site.admin.call(  # it was looked at, and not opened
        "POST", "sys/wrapping/unwrap", what="open it", token=swapped.token
    )["data"] == {"client_token": "s.evil"}  # fmt: skip


def test_a_ticket_with_another_root_is_refused_before_it_is_spent(world: World) -> None:
    ticket = world.add()
    forged = msgspec.structs.replace(ticket, pins=Pins(ca="another root", audit_vkey=VKEY))
    with pytest.raises(JoinError, match="another site"):
        world.join(forged, expected=ticket.pins.fingerprint)
    assert nothing_in_place(world.node)
    world.join(ticket, expected=ticket.pins.fingerprint)  # so the token is still good


def test_a_ticket_that_names_another_vault_is_refused_before_its_token_leaves(
    world: World,
) -> None:
    """Who answers there could keep the token, and let the node join all the same."""
    ticket = world.add()
    pins = msgspec.structs.replace(ticket.pins, vault="https://127.0.0.1:1")
    with pytest.raises(JoinError, match="another site"):
        world.join(msgspec.structs.replace(ticket, pins=pins), expected=ticket.pins.fingerprint)
    site = enroll.site_of(world.node, ticket)
    assert site.url == world.site.vault.url
    enroll.with_ticket(world.node, ticket, site, say=lambda _: None)  # by the ticket's own CA


def test_a_node_that_pins_one_site_does_not_join_another(world: World) -> None:
    assert world.node.trust_root
    world.node.trust_root.write_text("the root of another site")
    with pytest.raises(JoinError, match="pins something else"):
        world.join(world.add())
    assert world.node.trust_root.read_text() == "the root of another site"
    assert not world.node.identity.certificate.exists()


def test_a_ticket_for_another_node_is_not_spent(world: World) -> None:
    ticket = world.add("h2.test")
    with pytest.raises(JoinError, match=r"for h2\.test, this node is h1\.test"):
        world.join(ticket)
    world.join(ticket, world.make("h2.test"))


def test_a_ticket_that_is_over_joins_nobody_and_says_what_to_do(world: World) -> None:
    ticket = world.add()
    for row in identity_rows(world):
        world.site.joining.close(row["wrap"])
    with pytest.raises(StolenTokenError, match="or its time is over"):
        world.join(ticket)
    assert nothing_in_place(world.node)


def test_a_vault_that_is_another_than_the_pinned_one_gets_no_token(
    world: World, tmp_path: Path
) -> None:
    ticket = world.add()
    wrong = msgspec.structs.replace(world.site.vault, ca=world.site.root_ca)
    with pytest.raises(VaultError, match="is not believed"):
        enroll.with_ticket(world.node, ticket, wrong, say=lambda _: None)
    with pytest.raises(VaultError, match="without TLS"):
        Client(VaultSite(url="http://192.0.2.1:8200"))
    world.join(ticket)


@pytest.mark.parametrize("garbage", [b"", b"{}", b"hvs.token", b"[" * 100_000, b"x" * 600_000])
def test_what_is_no_ticket_is_refused_in_words(garbage: bytes) -> None:
    with pytest.raises(JoinError, match="ticket"):
        read_ticket(garbage)


KILLED = """
import os, signal, sys
from pathlib import Path
from agent import enroll
from agent.__main__ import main
from vault import files, redeem
import vault.files, agent.enroll, vault.client
count, last = [0], int(sys.argv[1])
def strike(real):
    def call(*words, **named):
        count[0] += 1
        if count[0] > last:
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*words, **named)
        count[0] += 1
        if count[0] > last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return call
for name in ("replace", "unlink"):
    setattr(Path, name, strike(getattr(Path, name)))
vault.client.Client.fetch = strike(vault.client.Client.fetch)
sys.exit(main(sys.argv[2:]))
"""


def test_a_node_that_is_killed_at_any_step_joins_with_a_second_try_or_says_what_to_do(
    world: World,
) -> None:
    """Before and after every request to Vault and every file that takes its place."""
    killed, again, most = 0, 0, 60
    for last in range(most):
        name = f"k{last}.test"
        node, ticket = world.make(name), world.add(name)
        at = node.identity.key.parent
        (at / "ticket").write_bytes(msgspec.json.encode(ticket))
        words = ["enroll", "--token-file", str(at / "ticket"), "--config", str(at / "agent.toml"),
                 "--executor-config", str(at / "executor.toml")]  # fmt: skip
        child = [sys.executable, "-c", KILLED, str(last), *words]
        done = subprocess.run(child, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        if why := second_try(world, ticket, node):
            assert "may have been this node" in why or "this node is enrolled" in why
        if "may have been" in why:
            again += 1
            world.join(world.add(name), node)
        assert enroll.files.fit(node.identity.certificate, node.identity.key)
    else:
        pytest.fail("it never came to its end")
    assert killed > 15
    assert 1 <= again <= 2  # between Vault's answer and the disk: after the one, before the other


def second_try(world: World, ticket: Ticket, node: enroll.Node) -> str:
    try:
        world.join(ticket, node)
    except JoinError as error:
        return str(error)
    return ""


def test_a_node_without_a_way_to_vault_joins_by_files(
    world: World, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    csr = world.folder / "h1.csr"
    enroll.write_request(world.node, csr, say=said.append)
    (key,) = [line.removeprefix("our key   ") for line in said if line.startswith("our key")]
    out = world.folder / "h1.answer"
    assert world.say("sign", str(csr), "--key", key, "--out", str(out)) == 0
    answer = read_answer(out.read_bytes())
    assert key in capsys.readouterr().out
    enroll.with_answer(world.node, answer, expected=answer.pins.fingerprint, say=said.append)
    assert any(line.startswith("enrolled  h1.test") for line in said)
    assert b"PRIVATE" not in out.read_bytes() + csr.read_bytes()


def test_a_request_is_not_signed_when_the_node_shows_another_key(
    world: World, database: Database
) -> None:
    enroll.write_request(world.node, world.folder / "h1.csr", say=lambda _: None)
    before = serials(world.site)
    assert world.say("sign", str(world.folder / "h1.csr"), "--key", "0000 1111") == 1
    assert serials(world.site) == before
    assert outbox(database) == []


def test_an_answer_for_another_key_or_of_another_root_is_not_taken(
    world: World, tmp_path: Path
) -> None:
    enroll.write_request(world.node, world.folder / "h1.csr", say=lambda _: None)
    pins = world.add("h9.test").pins
    other = make_key(tmp_path / "other.key")
    csr = request(other, name=NAME, uri=world.node.uri)
    chain = world.site.joining.sign(NAME, csr)
    answer = read_answer(msgspec.json.encode({"node": NAME, "chain": chain, "pins": pins}))
    with pytest.raises(JoinError, match="another key"):
        enroll.with_answer(world.node, answer, say=lambda _: None)
    ours = world.site.joining.sign(NAME, (world.folder / "h1.csr").read_text())
    wrong_root = (world.site.folder / "vault-ca.pem").read_text()
    forged = {"node": NAME, "chain": ours, "pins": {"ca": wrong_root}}
    with pytest.raises(JoinError, match="does not lead to the pinned root"):
        enroll.with_answer(world.node, read_answer(msgspec.json.encode(forged)), say=lambda _: None)
    assert nothing_in_place(world.node)


def identity_rows(world: World) -> list[dict[str, object]]:
    with Database(json.loads(json.dumps(dsn_of(world)))) as db:
        return identity.waiting(db)


def dsn_of(world: World) -> str:
    (line,) = [one for one in world.serve.read_text().splitlines() if one.startswith("dsn")]
    return line.split('"')[1]


def serials(site: Site) -> list[str]:
    try:
        return sorted(site.admin.call("LIST", "pki_int/certs", what="list")["data"]["keys"])
    except VaultDeniedError as error:  # of an empty list Vault says that there is none
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return []


def revoked_in_vault(site: Site, certificate: Path) -> bool:
    leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
    path = f"pki_int/cert/{certificates.serial_text(leaf.serial_number)}"
    return bool(site.admin.call("GET", path, what="look")["data"]["revocation_time"])


def signs_on(site: Site, mine: Identity) -> str:
    client = Client(site.vault, identity=(mine.certificate, mine.key))
    answer = client.call("POST", "auth/cert/login", {"name": "node"}, what="sign on")
    return str(answer["auth"]["client_token"])


def test_a_revoked_certificate_does_not_sign_on_when_its_name_is_added_again(
    world: World, database: Database
) -> None:
    world.join(world.add())
    assert signs_on(world.site, world.node.identity)
    assert world.say("revoke", NAME, "--reason", "its disk was stolen") == 0
    assert world.say("add", NAME, "--out", str(world.folder / "t")) == 1  # too soon
    world.site.joining.admit(NAME, minutes=5, now=outbox(database)[0]["at"])
    with pytest.raises(VaultDeniedError):
        signs_on(world.site, world.node.identity)
    assert revoked_in_vault(world.site, world.node.identity.certificate)


def test_an_environment_with_a_token_of_nobody_joins_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "BAO_TOKEN", "s.nobody")
    assert sentinel(["node", "add", NAME, "--config", str(world.serve)]) == 2
    assert "Vault refused" in capsys.readouterr().err
