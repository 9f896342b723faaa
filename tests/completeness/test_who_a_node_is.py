"""Joining, renewing and revoking leave an entry for each change."""

from datetime import UTC, datetime, timedelta

import pytest

from hub.persist import identity
from hub.persist.database import Database
from hub.persist.identity import Shown
from hub.persist.outbox import actor
from tests.completeness import watch
from tests.completeness.watch import misshapen, silent, types
from tests.hub.builders import NODE

pytestmark = pytest.mark.postgres
BY = actor("operator", "admin-1")


def test_every_change_of_who_a_node_is_has_its_entry(database: Database) -> None:
    watch.install(database)
    now = datetime.now(UTC)
    ends = now + timedelta(hours=1)
    for state in ("expired", "stolen"):
        identity.asked(database, node=NODE, wrap="w", wrapped="t", expires_at=ends, by=BY, now=now)
        (one,) = identity.waiting(database)
        identity.settle(database, one, state, by=BY, now=now)
    identity.asked(database, node=NODE, wrap="", wrapped="", expires_at=ends, by=BY, now=now)
    shown = Shown(
        node=NODE, serial="0a", key_sha256="ab" * 32, sha256="cd" * 32,
        not_before=now, not_after=ends,
    )  # fmt: skip
    for _ in range(2):  # joins, then comes back
        assert identity.admit(database, shown, now=now) is None
    identity.asked(database, node=NODE, wrap="w", wrapped="t", expires_at=ends, by=BY, now=now)
    identity.revoke(database, node=NODE, reason="stolen", by=BY, now=now)
    assert identity.admit(database, shown, now=now) is not None
    assert silent(database) == []
    assert misshapen(database) == []
    assert types(database).count("node.enroll") == 7
    assert types(database).count("node.revoke") == 1
