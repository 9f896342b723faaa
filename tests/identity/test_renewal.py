"""Certificates that renew themselves: when, by what right, and what happens when it cannot be."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from agent import status
from agent.renewal import Renewal, Standing
from agent.settings import AgentSettings
from appliance.channel import Identity
from hub.persist.database import Database
from tests.agent.test_status import status as well
from tests.hub.builders import event, finding, outbox
from tests.identity.authority import AnyAuthority, serial_of
from tests.identity.conftest import NAME, Site
from tests.identity.running import Hub, eventually, transport
from vault import files
from vault.client import Client
from vault.errors import VaultDeniedError
from vault.identity import request
from vault.joining import sign
from vault.renewal import Question, due, stand
from vault.settings import VaultSite

pytestmark = pytest.mark.vault
AWAY = "https://127.0.0.1:1"


@pytest.fixture
def mine(site: Site, tmp_path: Path) -> Identity:
    return site.node(tmp_path / "node")


@pytest.fixture
def question(site: Site, mine: Identity, tmp_path: Path) -> Question:
    return Question(identity=mine, vault=site.vault, crl=tmp_path / "crl.pem")


def leaf(mine: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(mine.certificate.read_bytes())


def bytes_of(mine: Identity) -> tuple[bytes, bytes]:
    return mine.certificate.read_bytes(), mine.key.read_bytes()


def test_it_is_due_between_two_thirds_of_its_life_and_a_tenth_later(tmp_path: Path) -> None:
    root = AnyAuthority()
    begin, life = timedelta(days=-1), timedelta(days=3)
    shares = []
    for number in range(50):
        one = leaf(root.issue(tmp_path / str(number), starts=begin, ends=begin + life))
        shares.append((due(one) - one.not_valid_before_utc) / life)
        assert due(one) == due(one)
    assert min(shares) >= 2 / 3 - 1e-9
    assert max(shares) <= 2 / 3 + 0.1 + 1e-9
    assert max(shares) - min(shares) > 0.05  # they do not come together


def test_before_it_is_due_nothing_is_asked(question: Question, mine: Identity) -> None:
    before = bytes_of(mine)
    away = msgspec.structs.replace(question, vault=VaultSite(url=AWAY), crl=None)
    found = stand(away, now=due(leaf(mine)) - timedelta(seconds=1))
    assert (found.renewed, found.trouble, bytes_of(mine)) == (False, "", before)


def test_when_it_is_due_it_is_renewed_by_itself_with_a_new_key(
    question: Question, mine: Identity
) -> None:
    before, old = bytes_of(mine), leaf(mine)
    found = stand(question, now=due(old))
    assert (found.renewed, found.trouble) == (True, "")
    assert files.fit(mine.certificate, mine.key)
    assert leaf(mine).serial_number != old.serial_number
    assert bytes_of(mine)[1] != before[1]
    assert mine.key.stat().st_mode & 0o777 == 0o600
    assert stand(question, now=datetime.now(UTC)).renewed is False


def test_renewing_gives_no_other_name_than_ones_own(
    site: Site, mine: Identity, tmp_path: Path
) -> None:
    client = Client(site.vault, identity=(mine.certificate, mine.key))
    answer = client.call("POST", "auth/cert/login", {"name": "node"}, what="sign on")
    token = answer["auth"]["client_token"]
    other = site.node(tmp_path / "other", "h2.test")  # its request, with our token
    csr = request(files.load_key(other.key), name="h2.test", uri="spiffe://sentinel/node/h2.test")
    with pytest.raises(VaultDeniedError):
        sign(Client(site.vault), site.vault, csr, node="h2.test", token=token)


def test_with_vault_away_for_days_it_works_until_it_ends_and_recovers_by_itself(
    question: Question, mine: Identity, site: Site
) -> None:
    before, old = bytes_of(mine), leaf(mine)
    away = msgspec.structs.replace(question, vault=VaultSite(url=AWAY), crl=None)
    for hours in (0, 5, 12, 16):
        found = stand(away, now=due(old) + timedelta(hours=hours))
        assert "Vault does not answer" in found.trouble
        assert (found.renewed, bytes_of(mine)) == (False, before)
        assert 1 <= found.again_s <= 2 * 3600
    assert stand(question, now=due(old) + timedelta(hours=12)).renewed


def test_the_warning_is_early_and_says_how_much_is_left(tmp_path: Path, mine: Identity) -> None:
    settings = AgentSettings(
        hub="h:1", identity=mine, state_dir=tmp_path, executor_socket=tmp_path / "s",
        vault=VaultSite(url=AWAY),
    )  # fmt: skip
    renewal = Renewal(settings, go_over=lambda: True)
    old = leaf(mine)
    question = Question(identity=mine, vault=VaultSite(url=AWAY))
    renewal.standing = msgspec.convert(
        msgspec.to_builtins(stand(question, now=due(old))), type=Standing
    )
    words = renewal.warning(due(old))
    assert words.startswith("not renewed, ")
    assert "are left: Vault does not answer" in words
    assert renewal.warning(old.not_valid_after_utc).startswith("ENDED on")
    assert "clock" in renewal.warning(old.not_valid_before_utc - timedelta(days=1))


def test_a_node_that_cannot_renew_is_not_well_and_says_so() -> None:
    bad = msgspec.structs.replace(well(), certificate="not renewed, 9:00:00 are left: sealed")
    assert status.is_well(well())
    assert not status.is_well(bad)
    assert "identity  not renewed, 9:00:00 are left: sealed" in status.lines(bad)


@pytest.mark.parametrize("jump", [timedelta(days=3650), timedelta(days=-3650)])
def test_a_clock_that_is_years_wrong_spoils_nothing_and_heals(
    question: Question, mine: Identity, jump: timedelta
) -> None:
    before = bytes_of(mine)
    found = stand(question, now=datetime.now(UTC) + jump)
    assert not found.renewed
    assert "does not lead to the pinned root" in found.trouble
    assert bytes_of(mine) == before
    assert stand(question, now=datetime.now(UTC)).trouble == ""


def test_a_revoked_node_does_not_renew(question: Question, mine: Identity, site: Site) -> None:
    before = bytes_of(mine)
    site.joining.shut(NAME)
    found = stand(question, now=due(leaf(mine)))
    site.joining._entity(NAME, disabled=False)
    assert "permission denied" in found.trouble
    assert bytes_of(mine) == before


def test_the_revocation_list_comes_along_and_is_verified(
    question: Question, mine: Identity, site: Site
) -> None:
    assert question.crl is not None
    assert stand(question, now=datetime.now(UTC)).crl_trouble == ""
    assert b"X509 CRL" in question.crl.read_bytes()
    question.crl.write_bytes(AnyAuthority("Site issuing").crl(serial_of(mine), number=10**9))
    assert stand(question, now=datetime.now(UTC)).crl_trouble == ""
    loaded = x509.load_pem_x509_crl(question.crl.read_bytes())
    assert loaded.get_revoked_certificate_by_serial_number(serial_of(mine)) is None


KILLED = """
import os, signal, sys
from pathlib import Path
from vault import files
count, last = [0], int(sys.argv[1])
def strike(real):
    def call(*words, **named):
        for _ in (0, 1):
            count[0] += 1
            if count[0] > last:
                os.kill(os.getpid(), signal.SIGKILL)
            if _ == 0:
                found = real(*words, **named)
        return found
    return call
Path.replace = strike(Path.replace)
Path.unlink = strike(Path.unlink)
at = Path(sys.argv[2])
files.replace_pair(at / "cert.pem", at / "key.pem", chain=(at / "c2").read_bytes(),
                   private=(at / "k2").read_bytes())
"""


def test_a_renewal_that_is_killed_at_any_step_leaves_a_pair_that_fits(tmp_path: Path) -> None:
    root, kills, seen = AnyAuthority(), 0, set()
    for last in range(40):
        at = tmp_path / str(last)
        mine = root.issue(at)
        new = root.issue(at / "new")
        (at / "c2").write_bytes(new.certificate.read_bytes())
        (at / "k2").write_bytes(new.key.read_bytes())
        child = [sys.executable, "-c", KILLED, str(last), str(at)]
        done = subprocess.run(child, capture_output=True, check=False, timeout=60)
        files.settle(mine.certificate, mine.key)
        assert files.fit(mine.certificate, mine.key)
        seen.add(serial_of(mine) == serial_of(new))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
    assert kills >= 8
    assert seen == {True, False}


def test_the_process_that_renews_answers_in_one_line_of_json(
    question: Question, mine: Identity, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "vault.renew"]
    sent = msgspec.json.encode(question, enc_hook=str)
    done = subprocess.run(words, input=sent, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["renewed"] is False
    mine.certificate.unlink()
    done = subprocess.run(words, input=sent, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert b"there is no certificate to renew" in done.stderr


@pytest.fixture
def hub(site: Site, dsn: str, tmp_path: Path) -> Iterator[Hub]:
    running = Hub(site, dsn, tmp_path)
    yield running
    running.stop()


@pytest.mark.postgres
def test_a_node_outlives_its_certificate_without_losing_a_word(
    hub: Hub, site: Site, database: Database, tmp_path: Path
) -> None:
    """Renewed while the stream lasts; then, before the old one ends, a new stream."""
    site.ttl("16s", backdated="2s")
    mine = site.node(tmp_path / "node")
    first = leaf(mine)
    stream = transport(hub, mine, tmp_path / "state")
    settings = AgentSettings(
        hub="h:1", identity=mine, state_dir=tmp_path / "state", executor_socket=tmp_path / "s",
        vault=site.vault,
    )  # fmt: skip
    renewal = Renewal(settings, go_over=stream.renew_stream)
    sent = []
    try:
        assert eventually(lambda: stream.connected), stream.trouble
        renewal.start()
        assert eventually(lambda: renewal.standing is not None and renewal.standing.renewed)
        assert leaf(mine).serial_number != first.serial_number
        assert stream.connected  # the renewal itself did nothing to it
        assert kinds(database, "node.disconnect") == 0

        def another() -> bool:
            one = event(finding())
            sent.append(one.event_id)
            stream._spool.put([one])
            return datetime.now(UTC) > first.not_valid_after_utc + timedelta(seconds=1)

        assert eventually(another, within_s=60)
        assert eventually(lambda: stream._spool.counts().waiting == 0)
        assert stream.connected
    finally:
        renewal.stop()
        stream.stop()
    assert kinds(database, "incident.open") == len(sent)
    # The new stream may take the place of the old one before that has left, which is no loss.
    assert kinds(database, "node.connect") >= 2
    serials = [row["body"]["certificate_sha256"] for row in outbox(database)
               if row["type"] == "node.enroll"]  # fmt: skip
    assert len(serials) == len(set(serials)) >= 2


def kinds(database: Database, kind: str) -> int:
    return [row["type"] for row in outbox(database)].count(kind)


def test_a_hub_ends_a_stream_whose_certificate_has_ended(
    hub: Hub, site: Site, tmp_path: Path
) -> None:
    site.ttl("4s", backdated="1s")
    stream = transport(hub, site.node(tmp_path / "node"), tmp_path / "state")
    try:
        assert eventually(lambda: stream.connected), stream.trouble
        assert eventually(lambda: not stream.connected)
        assert eventually(lambda: stream.trouble != "the hub ended the stream")
        assert not stream.connected
    finally:
        stream.stop()
