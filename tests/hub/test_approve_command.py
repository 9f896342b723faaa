"""`sentinel approve`, run as people run it: what it shows, what it refuses, what it leaves."""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import envelope, records
from appliance.operator_key import credential
from appliance.people import KeyCredential, People, Person
from appliance.records import Approval
from hub.persist.database import Database
from hub.persist.people import put_in_force
from tests.console import seed
from tests.console.seed import Seeded

pytestmark = pytest.mark.postgres


@pytest.fixture
def config(tmp_path: Path, database: Database) -> Iterator[Path]:
    """The console's settings, on a database whose notary lives."""
    seed.node(database)
    file = tmp_path / "console.toml"
    file.write_text(f'dsn = "{database.dsn}"\ncertificate = "/x"\nkey = "/x"\nsession_key = "/x"\n')
    with seed.notary(database):
        yield file


@pytest.fixture
def key(tmp_path: Path) -> Path:
    envelope.make_key(tmp_path / "operator.key")
    return tmp_path / "operator.key"


def publish(database: Database, *keys: Path, role: str = "operator", **changes) -> People:
    persons = tuple(
        Person(
            name=f"person-{number}",
            role=role,  # type: ignore[arg-type]
            credentials=(credential(envelope.load_key(path)),),
        )
        for number, path in enumerate(keys, start=1)
    )
    made = People(persons=persons, **changes)
    with database.transaction() as work:
        put_in_force(work, made, now=seed.now())
    return made


def run(*words: object, typed: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "appliance", "approve", *map(str, words)],
        input=typed, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def state_of(database: Database, seeded: Seeded) -> str:
    with database.transaction() as work:
        row = work.one("lock_incident", incident_id=seeded.incident_id)
    assert row is not None
    return str(row["state"])


def test_a_yes_on_a_terminal_shows_what_runs_asks_signs_and_counts(
    database: Database, config: Path, key: Path
) -> None:
    publish(database, key)
    seeded = seed.judged(database)
    done = run(seeded.incident_id, "--key", key, "--config", config, typed="y\n")
    assert done.returncode == 0, done.stderr
    for text in (
        "you       person-1", "node      node-1", "LIVE: it really runs", "1. kill -TERM 4711",
        "runs     kill -TERM 4711", "nothing undoes this", "low risk", "needs     1 people",
        "yes so far: nobody yet", "min", "left", seeded.digest, "Say yes to exactly this?",
        "Approved. The order leaves once",
    ):  # fmt: skip
        assert text in done.stdout, text
    assert state_of(database, seeded) == "approved"
    with database.transaction() as work:
        (row,) = work.all(
            "approvals_of", incident_id=seeded.incident_id, shown_digest=seeded.digest
        )
    approval = records.from_builtins(row["body"], Approval)
    assert approval.operator == "person-1"
    assert approval.signature is not None


@pytest.mark.parametrize("typed", ["n\n", "\n", "", "yes please\n"])
def test_anything_but_a_yes_is_a_no(
    database: Database, config: Path, key: Path, typed: str
) -> None:
    publish(database, key)
    seeded = seed.judged(database)
    done = run(seeded.incident_id, "--key", key, "--config", config, typed=typed)
    assert done.returncode == 1
    assert "Nothing was approved." in done.stdout
    assert state_of(database, seeded) == "awaiting"


def test_two_people_and_a_list_that_says_who_is_missing(
    database: Database, config: Path, key: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.key"
    envelope.make_key(other)
    people = publish(database, key, other, quorum={"low": 2, "high": 2})
    seeded = seed.judged(database, people=people)
    first = run(seeded.incident_id, "--key", key, "--config", config, "--yes", "--comment", "one")
    assert first.returncode == 0, first.stderr
    assert "Your yes counts: 1 of 2." in first.stdout
    assert state_of(database, seeded) == "awaiting"
    listed = run("--list", "--config", config)
    assert listed.stdout.startswith(seeded.incident_id)
    assert "needs 2, yes from person-1" in listed.stdout
    again = run(seeded.incident_id, "--key", key, "--config", config, "--yes")
    assert (again.returncode, state_of(database, seeded)) == (1, "awaiting")
    assert "you said yes already" in again.stderr
    second = run(seeded.incident_id, "--key", other, "--config", config, "--yes")
    assert "yes so far: person-1" in second.stdout
    assert state_of(database, seeded) == "approved"
    assert "nothing waits for a yes" in run("--list", "--config", config).stdout


def test_what_is_refused_changes_nothing_and_says_why(
    database: Database, config: Path, key: Path, tmp_path: Path
) -> None:
    seeded = seed.judged(database)
    stranger = tmp_path / "stranger.key"
    envelope.make_key(stranger)
    nobody = run(seeded.incident_id, "--key", key, "--config", config, "--yes")
    publish(database, key, role="viewer")
    viewer = run(seeded.incident_id, "--key", key, "--config", config, "--yes")
    unknown = run(seeded.incident_id, "--key", stranger, "--config", config, "--yes")
    gone = run("01a20df3-1a55-7333-88c1-97d1d4ef9fde", "--key", key, "--config", config, "--yes")
    late = seed.judged(database, valid_for=timedelta(seconds=-1))
    publish(database, key)
    expired = run(late.incident_id, "--key", key, "--config", config, "--yes")
    key.chmod(0o644)
    readable = run(seeded.incident_id, "--key", key, "--config", config, "--yes")
    for done, because in (
        (nobody, "people.json"), (viewer, "may look"), (unknown, "nobody's"),
        (gone, "no plan to answer"), (readable, "others can read"), (expired, "expired"),
    ):  # fmt: skip
        assert done.returncode == 1, done
        assert because in done.stderr, done.stderr
    assert state_of(database, seeded) == state_of(database, late) == "awaiting"


def test_a_database_that_shows_one_thing_and_names_the_digest_of_another_gets_no_signature(
    database: Database, config: Path, key: Path
) -> None:
    publish(database, key)
    seeded = seed.judged(database)
    with database.transaction() as work:
        work._connection.execute(
            "UPDATE judgement SET shown = jsonb_set(shown, '{steps,0,argv}', '[[\"reboot\"]]')"
        )
    done = run(seeded.incident_id, "--key", key, "--config", config, "--yes")
    assert done.returncode == 1
    assert "runs     reboot" in done.stdout
    assert "another digest than that of what it shows" in done.stderr
    assert state_of(database, seeded) == "awaiting"


@pytest.mark.parametrize(
    "words", [(), ("key",), ("some-id",), ("some-id", "x"), ("--config", "/nowhere", "--list")]
)
def test_what_cannot_be_told_is_2(words: tuple[str, ...], config: Path) -> None:
    more = () if "--config" in words else ("--config", config)
    done = run(*words, *more)
    assert done.returncode == 2, done
    assert done.stderr


def test_a_key_is_made_once_for_its_owner_alone_and_printed_for_the_list_of_people(
    tmp_path: Path,
) -> None:
    file = tmp_path / "new" / "operator.key"
    done = run("key", file)
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    public = re.search(r"public key +(\S+)", done.stdout)
    assert public is not None
    made = credential(envelope.load_key(file))
    assert public[1] == made.public_key
    assert made.credential_id in done.stdout
    assert len(base64.b64decode(public[1])) == 32
    before = file.read_bytes()
    again = run("key", file)
    assert (again.returncode, file.read_bytes()) == (1, before)
    assert "is there already" in again.stderr


def test_words_with_blanks_or_without_letters_are_seen_for_what_they_are() -> None:
    from appliance.approving import _words  # noqa: PLC0415 - beside its one use

    assert _words(("a b", "", "c", "d'e", "\u202e")) == "'a b' '' c \"d'e\" \\u202e"
    assert isinstance(credential(Ed25519PrivateKey.generate()), KeyCredential)
