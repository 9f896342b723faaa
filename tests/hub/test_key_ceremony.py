"""The key ceremony of audit/README.md, command by command, with the real notary between."""

import json
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.persist.database import Database
from hub.persist.outbox import actor, offer
from hub.persist.status import log_state
from tests.hub.builders import outbox
from tests.hub.key_notary import EpochNotary, Officer, command
from tests.hub.test_notary import offer_many, until

pytestmark = pytest.mark.postgres


@pytest.fixture
def officer(tmp_path: Path) -> Officer:
    one = Officer(tmp_path)
    one.run(command("keys root"))
    return one


@pytest.fixture
def notary(officer: Officer, dsn: str) -> Iterator[EpochNotary]:
    one = EpochNotary(officer.folder, dsn)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.end(signal.SIGKILL)


def test_the_ceremony_of_the_documents_from_the_first_key_to_a_stolen_one(
    officer: Officer, notary: EpochNotary, database: Database
) -> None:
    for secret in ("root.key", "epoch.state"):
        assert (officer.folder / secret).stat().st_mode & 0o777 == 0o600
    first_secret = json.loads((officer.folder / "epoch.state").read_bytes())["key"]
    offer_many(database, 5)
    notary.start()
    until(lambda: not outbox(database) and notary.last_note() != "")
    officer.run(command("verify log"))
    assert "key.epochs" in notary.types()

    # the key is changed at once
    said = officer.run(command("keys rotate"))
    assert "epoch 0 ended; epoch 1 signs" in said
    assert first_secret not in (officer.folder / "epoch.state").read_text()
    offer_many(database, 5)
    until(lambda: not outbox(database))
    said = officer.run(command("verify log"))
    assert "VALID" in said
    assert "epochs 0 to 23 of list 1" in said
    notary.stop()

    # nodes and hub know the keys
    officer.run(command("--vkeys"))
    keys = (officer.folder / "log.vkeys").read_text().splitlines()
    assert len(keys) == 24
    proven = officer.run(f"sentinel-audit prove log 1 --root root.vkey --output {officer.folder}/p")
    assert proven == ""

    # more epochs, then a theft
    officer.run(command("--after"))
    officer.run(command("keys revoke"))
    assert notary.epoch() == 48
    notary.start()
    offer_many(database, 3)
    until(lambda: not outbox(database) and "key.rotate" in notary.types()[-6:])
    notary.stop()
    assert notary.types().count("key.epochs") == 2
    assert not (officer.folder / "epoch.state.next").exists()
    said = officer.run(command("verify log"))
    assert "VALID" in said
    assert "do not count" in said  # what the stolen key signed beyond the last trusted size
    officer.run("sentinel-audit verify log")  # by the list that was published beside it


def test_no_command_overwrites_a_key(officer: Officer) -> None:
    before = (officer.folder / "root.key").read_bytes()
    officer.run("sentinel-audit keys root --log site.example/log --out root.key", status=2)
    assert (officer.folder / "root.key").read_bytes() == before
    words = "sentinel-audit keys epochs --root root.key --out other.note --state epoch.state"
    officer.run(words, status=2)
    assert not (officer.folder / "other.note").exists()


def test_a_list_of_another_root_is_not_shown_and_not_followed(
    officer: Officer, notary: EpochNotary
) -> None:
    officer.run(
        "mkdir other && cd other && sentinel-audit keys root --log site.example/log --out root.key"
        " && sentinel-audit keys epochs --root root.key --out epochs.note --state epoch.state"
    )
    officer.run("sentinel-audit keys show other/epochs.note --root root.vkey", status=1)
    shutil.copy(officer.folder / "other" / "epochs.note", officer.folder / "epochs.note")
    notary.start()
    assert notary.process is not None
    assert notary.process.wait(20) == 2
    assert "cannot use the list of epochs" in notary.said()
    assert not (officer.folder / "log" / "seg").exists()


def test_an_older_list_than_the_one_in_force_is_not_followed(
    officer: Officer, notary: EpochNotary
) -> None:
    shutil.copy(officer.folder / "epochs.note", officer.folder / "first.note")
    officer.run(command("--after") + "\nmv epochs-2.note epochs.note")
    notary.start()
    until((notary.log / "epochs.note").exists)
    notary.stop()
    shutil.copy(officer.folder / "first.note", officer.folder / "epochs.note")
    lines = notary.lines()
    notary.start()
    assert notary.process is not None
    assert notary.process.wait(20) != 0
    assert "older than 2, in force" in notary.said()
    assert notary.lines() == lines
    officer.run("sentinel-audit verify log --root root.vkey --epochs epochs.note", status=1)


def test_an_epoch_that_ends_while_the_notary_runs_is_followed_by_the_next(
    tmp_path: Path, dsn: str, database: Database
) -> None:
    officer = Officer(tmp_path)
    officer.run("sentinel-audit keys root --log site.example/log --out root.key")
    days = 6 / 86_400  # six seconds each
    officer.run(
        f"sentinel-audit keys epochs --root root.key --count 3 --days {days}"
        " --out epochs.note --state epoch.state"
    )
    notary = EpochNotary(tmp_path, dsn, "rotate_before_s = 0.5\n")
    notary.start()
    try:
        until(lambda: notary.epoch() == 2, within_s=40)
        assert "have the security officer certify more" in notary.said()
        until(lambda: "the last of the list" in notary.said(), within_s=40)
        said = notary.lines()
        offer_many(database, 2)  # nothing signs any more: nothing is taken
        until(lambda: trouble(database) is not None)
        assert "cannot sign" in (trouble(database) or "")
        assert len(outbox(database)) == 2
        assert notary.lines() == said
        notary.stop()
    finally:
        if notary.process is not None and notary.process.poll() is None:
            notary.end(signal.SIGKILL)
    assert notary.types().count("key.rotate") == 2
    officer.run("sentinel-audit verify log --root root.vkey")


def trouble(database: Database) -> str | None:
    with database.transaction() as work:
        return log_state(work, now=datetime.now(UTC)).trouble


def test_what_only_the_notary_says_is_not_taken_from_the_outbox(
    notary: EpochNotary, database: Database, officer: Officer
) -> None:
    """A hub that is taken over offers entries in the notary's name."""
    with database.transaction() as work:
        for kind, who in (
            ("key.rotate", "hub"), ("key.epochs", "hub"), ("log.open", "hub"),
            ("log.fork", "operator"), ("time.status", "hub"), ("config.change", "notary"),
        ):  # fmt: skip
            body = {"old_vkey": "x", "new_vkey": "y", "sequence": 99, "list_digest": "0" * 64}
            offer(work, type=kind, actor=actor(who, who), at=datetime.now(UTC), body=body)
    notary.start()
    until(lambda: not outbox(database) and notary.types().count("redaction") == 6)
    notary.stop()
    assert notary.types().count("key.epochs") == 1
    assert notary.types().count("log.open") == 1
    assert "key.rotate" not in notary.types()
    officer.run(command("verify log"))


def test_an_entry_from_the_future_does_not_make_the_log_look_forged(
    notary: EpochNotary, database: Database, officer: Officer
) -> None:
    with database.transaction() as work:
        at = datetime(2999, 1, 1, tzinfo=UTC)
        offer(work, type="config.change", actor=actor("hub", "hub"), at=at, body={"what": "x"})
    notary.start()
    until(lambda: not outbox(database) and "config.change" in notary.types())
    notary.stop()
    assert "a clock is wrong" in notary.said()
    officer.run(command("verify log"))


def test_a_log_of_one_key_is_moved_to_epochs_as_the_documents_say(
    tmp_path: Path, dsn: str, database: Database
) -> None:
    officer, notary = Officer(tmp_path), EpochNotary(tmp_path, dsn)
    config = tmp_path / "notary.toml"
    epochs = config.read_text()
    key = f'key = "{tmp_path}/audit.key"\n'
    config.write_text("".join(x for x in epochs.splitlines(True) if "epoch" not in x) + key)
    try:
        offer_many(database, 5)
        notary.start()
        until(lambda: not outbox(database) and notary.last_note() != "")
        notary.stop()
        officer.run("sentinel-audit keys root --log site.example/log --out root.key")
        officer.run(command("--adopt"))
        config.write_text(epochs + key)
        offer_many(database, 5)
        notary.start()
        until(lambda: not outbox(database) and "key.epochs" in notary.types())
        officer.run(command("keys rotate"))
        notary.stop()
        assert not (tmp_path / "audit.key").exists()
        assert notary.types().count("key.rotate") == 2
        assert "VALID" in officer.run(command("verify log"))
        config.write_text(epochs)  # the key's line is taken out afterwards
        notary.start()
        until(lambda: notary.types().count("log.resume") == 2)
        notary.stop()
        officer.run(command("verify log"))
    finally:
        if notary.process is not None and notary.process.poll() is None:
            notary.end(signal.SIGKILL)
