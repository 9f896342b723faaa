"""The hub's policy: remembered in the database, never older, each change told to the log."""

from pathlib import Path

import pytest

from appliance import envelope
from appliance.channel import Identity
from hub import policy
from hub.persist.database import Database
from hub.settings import ServeSettings
from policy.bundle import files_digest
from policy.signed import sign
from tests.hub.builders import outbox, sql

pytestmark = pytest.mark.postgres

RULES = b'[places]\nsecret = ["/root"]\n'


@pytest.fixture
def settings(tmp_path: Path, dsn: str) -> ServeSettings:
    envelope.make_key(tmp_path / "policy.key")
    nothing = Path("/nonexistent")
    return ServeSettings(
        dsn=dsn,
        identity=Identity(certificate=nothing, key=nothing, ca=nothing),
        order_key=nothing,
        log_origin="x",
        audit_vkey=nothing,
        policy=tmp_path / "site.policy",
        policy_key=tmp_path / "policy.pub",
    )


def publish(settings: ServeSettings, sequence: int, tail: bytes = b"") -> str:
    assert settings.policy
    files = {"a.toml": RULES + tail}
    key = envelope.load_key(settings.policy.with_name("policy.key"))
    settings.policy.write_bytes(sign(files, sequence=sequence, key=key))
    return files_digest(files)


def changes(db: Database) -> list[dict[str, object]]:
    return [row["body"] for row in outbox(db) if row["type"] == "policy.change"]


def test_a_change_of_policy_is_told_once_with_what_was_before(
    database: Database, settings: ServeSettings
) -> None:
    first = publish(settings, 1)
    for _ in range(2):
        assert policy.take(database, settings).digest == first
    second = publish(settings, 2, b"#\n")
    assert policy.take(database, settings).digest == second
    assert [(body["before_digest"], body["policy_digest"]) for body in changes(database)] == [
        (None, first),
        (first, second),
    ]
    assert settings.policy_key
    key = envelope.key_id(envelope.load_public_key(settings.policy_key))
    assert changes(database)[1] | {"signed_by": key, "sequence": 2} == changes(database)[1]


def test_an_older_or_broken_policy_refuses_everything_and_changes_nothing(
    database: Database, settings: ServeSettings
) -> None:
    digest = publish(settings, 2)
    policy.take(database, settings)
    publish(settings, 1)
    assert "an older policy" in policy.take(database, settings).refusal
    publish(settings, 2, b"#\n")
    assert "another policy of the same sequence" in policy.take(database, settings).refusal
    assert settings.policy
    settings.policy.write_bytes(b"")
    assert "not a policy of this key" in policy.take(database, settings).refusal
    assert len(changes(database)) == 1
    rows = sql(database, "SELECT digest, sequence FROM policy_in_force")
    assert rows == [{"digest": digest, "sequence": 2}]


def test_rules_from_a_folder_do_not_let_an_older_signed_file_in_later(
    database: Database, settings: ServeSettings, tmp_path: Path
) -> None:
    publish(settings, 3)
    policy.take(database, settings)
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "a.toml").write_bytes(RULES + b"# by hand\n")
    unsigned = ServeSettings(
        **{
            **{name: getattr(settings, name) for name in settings.__struct_fields__},
            "policy": folder,
            "policy_key": None,
        }
    )
    assert not policy.take(database, unsigned).refusal
    publish(settings, 2)
    assert "an older policy" in policy.take(database, settings).refusal
    assert [body["signed_by"] is None for body in changes(database)] == [False, True]
