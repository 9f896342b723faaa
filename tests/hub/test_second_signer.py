"""Vault signs every checkpoint, too: without it nothing is signed or approved, nothing lost."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.launch import Bao, Launcher, free_port
from audit.note import claimed, parse_vkey
from hub.approve import Answerer, approve
from hub.console.app import create_app
from hub.console.settings import ConsoleSettings
from hub.errors import NotaryError
from hub.persist import operators
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.persist.status import log_state
from tests.console.conftest import PASSWORD, Browser
from tests.hub.builders import outbox
from tests.hub.key_notary import LOG, EpochNotary, Officer
from tests.hub.test_notary import offer_many, offered, until
from tests.vault.test_transit import SETUP, shell
from vault.pki import wait_ready

pytestmark = [pytest.mark.postgres, pytest.mark.vault]


@pytest.fixture(scope="module")
def vault(launcher: Launcher) -> Iterator[Bao]:
    """A Vault of our own, because we stop it."""
    server = Bao(launcher=launcher, port=free_port(), token="our-own-token")
    server.start()
    wait_ready(server.url)
    yield server
    resume(server)


def halt(server: Bao) -> None:
    assert server.part is not None
    server.part.process.send_signal(signal.SIGSTOP)


def resume(server: Bao) -> None:
    assert server.part is not None
    server.part.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def prepared(vault: Bao, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The token and the vkey, by the documents' commands."""
    folder = tmp_path_factory.mktemp("second")
    shell(vault, folder, SETUP)
    return folder


@pytest.fixture
def notary(vault: Bao, prepared: Path, tmp_path: Path, dsn: str) -> Iterator[EpochNotary]:
    officer = Officer(tmp_path)
    second = prepared / "second.vkey"
    officer.run("sentinel-audit keys root --log site.example/log --out root.key")
    officer.run(
        "sentinel-audit keys epochs --root root.key --out epochs.note --state epoch.state"
        f" --second {second}"
    )
    settings = (
        f'[second]\nurl = "{vault.url}"\ntoken = "{prepared}/vault.token"\nvkey = "{second}"\n'
    )
    one = EpochNotary(tmp_path, dsn, settings)
    yield one
    resume(vault)
    if one.process is not None and one.process.poll() is None:
        one.end(signal.SIGKILL)


def trouble(database: Database) -> str | None:
    with database.transaction() as work:
        return log_state(work, now=datetime.now(UTC)).trouble


def audit(notary: EpochNotary, words: str, *, status: int = 0) -> str:
    return Officer(notary.folder).run(words, status=status)


def test_every_checkpoint_is_signed_by_both_and_an_auditor_demands_both(
    notary: EpochNotary, database: Database, prepared: Path
) -> None:
    offer_many(database, 5)
    notary.start()
    until(lambda: not outbox(database) and notary.last_note() != "")
    notary.stop()
    second = parse_vkey((prepared / "second.vkey").read_text())
    assert (second.name, second.key_hash) in claimed(notary.last_note())[1]
    assert f"second: {second}" in audit(notary, "sentinel-audit verify log --root root.vkey")


def test_while_vault_does_not_answer_nothing_is_signed_or_approved_and_then_all_of_it(
    notary: EpochNotary, database: Database, vault: Bao, tmp_path: Path
) -> None:
    notary.start()
    until(lambda: notary.last_note() != "" and trouble(database) is None)
    halt(vault)
    until(lambda: "cannot sign" in (trouble(database) or ""), within_s=40)
    ids = offer_many(database, 3)
    assert "Vault does not answer" in (trouble(database) or "")
    said = banner(database, tmp_path)
    assert "approvals are closed" in said
    assert "Vault does not answer" in said
    with pytest.raises(NotaryError, match="approvals are closed: the notary cannot sign"):
        approve(
            database,
            incident_id="00000000-0000-7000-8000-000000000000",
            who=Answerer(name="maria", role="operator", session="s"),
            shown_digest="0" * 64,
            comment="",
            now=datetime.now(UTC),
        )
    note = notary.last_note()
    assert len(outbox(database)) >= 3
    resume(vault)
    until(lambda: not outbox(database), within_s=40)
    until(lambda: trouble(database) is None, within_s=40)
    assert notary.last_note() != note
    notary.stop()
    assert offered(notary) == ids
    audit(notary, "sentinel-audit verify log --root root.vkey")


def banner(database: Database, folder: Path) -> str:
    """What an operator sees at the top of every page."""
    now = datetime.now(UTC)
    who = actor("operator", "setup")
    operators.add(database, name="maria", role="operator", by=who, now=now, password=PASSWORD)
    app = create_app(
        ConsoleSettings(
            dsn=database.dsn,
            certificate=folder / "tls.crt",
            key=folder / "tls.key",
            session_key=folder / "session.key",
        )
    )
    try:
        browser = Browser(app)
        browser.sign_in("maria")
        return browser.get("/incidents").text
    finally:
        app.extensions["database"].close()


def test_started_while_vault_is_away_it_waits_says_so_and_goes_on_by_itself(
    notary: EpochNotary, database: Database, vault: Bao
) -> None:
    halt(vault)
    ids = offer_many(database, 2)
    notary.start()
    until(lambda: "cannot sign" in (trouble(database) or ""), within_s=40)
    assert notary.process is not None
    assert notary.process.poll() is None
    assert notary.last_note() == ""
    resume(vault)
    until(lambda: not outbox(database), within_s=40)
    notary.stop()
    assert offered(notary) == ids
    audit(notary, "sentinel-audit verify log --root root.vkey")


def test_a_change_of_the_key_while_vault_is_away_is_done_when_it_is_back(
    notary: EpochNotary, database: Database, vault: Bao
) -> None:
    notary.start()
    until(lambda: notary.last_note() != "" and trouble(database) is None)
    halt(vault)
    audit(notary, "sentinel-audit keys rotate epoch.state --reason test --wait 1", status=1)
    until(lambda: "cannot sign" in (trouble(database) or ""), within_s=40)
    assert notary.epoch() == 0  # the old key is not forgotten before both have signed
    resume(vault)
    until(lambda: notary.epoch() == 1, within_s=40)
    notary.stop()
    assert notary.types().count("key.rotate") == 1
    audit(notary, "sentinel-audit verify log --root root.vkey")


def test_the_notary_without_its_second_signer_does_not_sign_what_demands_it(
    notary: EpochNotary, database: Database
) -> None:
    config = notary.folder / "notary.toml"
    config.write_text(config.read_text().partition("[second]")[0])
    offer_many(database, 1)
    notary.start()
    until(lambda: "demands a second signature" in (trouble(database) or ""))
    assert notary.last_note() == ""
    assert notary.end(signal.SIGTERM) == 0


def test_one_pinned_key_can_have_a_second_signer_as_well(
    notary: EpochNotary, database: Database, vault: Bao, prepared: Path, dsn: str
) -> None:
    """And an auditor's policy file demands both from the size on at which it began."""
    folder = notary.folder
    common = (
        f'dsn = "{dsn}"\nfolder = "{folder}/log"\norigin = "{LOG}"\nkey = "{folder}/audit.key"\n'
    )
    config = folder / "notary.toml"
    config.write_text(common)
    offer_many(database, 2)
    notary.start()
    until(lambda: not outbox(database) and notary.last_note() != "")
    notary.stop()
    size = int(notary.last_note().split("\n")[1])
    second = (prepared / "second.vkey").read_text().strip()
    config.write_text(
        common + f'[second]\nurl = "{vault.url}"\ntoken = "{prepared}/vault.token"\n'
        f'vkey = "{prepared}/second.vkey"\n'
    )
    offer_many(database, 2)
    notary.start()
    until(lambda: not outbox(database))
    notary.stop()
    own = (folder / "log" / "log.vkey").read_text()
    (folder / "both").write_text(f"log {own}second {second} {size + 1}\n")
    (folder / "all").write_text(f"log {own}second {second}\n")
    audit(notary, "sentinel-audit verify log --policy both")
    assert "lacks the signature" in audit(
        notary, "sentinel-audit verify log --policy all", status=1
    )
