"""What the hub sends a node of signed trust: what it lacks, once on each stream, and no more."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.channel import Identity
from appliance.trust_files import ONLINE, TARGETS
from appliance.wire import sentinel_pb2 as pb
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.publish import Hub, publish, renew
from hub.transport import Transport
from hub.trust import HubTrust
from hub.trust_offers import TrustOffers
from tests.attacks.forge import wait_for
from tests.hub.builders import NODE, sql
from tests.hub.test_transport import (
    HELLO,
    Served,
    conversation,
    hub_identity,
    node_identity,
    talk,
)
from tests.trust.signers import Signers

__all__ = ["hub_identity", "node_identity"]

pytestmark = [pytest.mark.postgres, pytest.mark.vault]

ALL = {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}


class Site:
    """A hub that has published version 1, and its streams."""

    def __init__(self, db: Database, folder: Path, served: Served) -> None:
        self.signers = Signers(at=datetime.now(UTC).replace(microsecond=0))
        (folder / "root.json").write_bytes(self.signers.roots[1])
        self.hub = Hub(db=db, root=self.signers.roots[1], key=self.signers.keys["online"])
        self.served, self.db = served, db
        assert served.transport is not None
        self.transport: Transport = served.transport
        self.transport._trust = TrustOffers(db, HubTrust(folder / "root.json"))
        self.publish(1)

    def publish(self, version: int) -> None:
        files = self.signers.signed_set(version)
        offered = {name: data for name, data in files.items() if name not in ONLINE[:2]}
        publish(self.hub, offered, by=actor("operator", "anna"), now=self.signers.at)

    async def news(self) -> None:
        """As the database's notification makes the hub look."""
        loop = self.served._loop
        future = asyncio.run_coroutine_threadsafe(self.transport.offer_trust(), loop)
        await asyncio.wrap_future(future)


@pytest.fixture
def site(database: Database, hub_identity: Identity, tmp_path: Path) -> Iterator[Site]:
    with Served(database, hub_identity) as served:
        yield Site(database, tmp_path, served)


def held(versions: dict[str, int], refusal: str = "") -> pb.FromAgent:
    return pb.FromAgent(trust_held=pb.TrustHeld(versions=versions, refusal=refusal))


async def begun(call: Any) -> None:
    await call.write(HELLO)
    assert (await call.read()).WhichOneof("of") == "welcome"


async def quiet(call: Any) -> bool:
    """Nothing comes for a while; what was asked before has been answered by then."""
    try:
        async with asyncio.timeout(1.5):
            await call.read()
    except TimeoutError:
        return True
    return False


def test_a_node_that_lacks_everything_is_sent_everything_once_whatever_it_says(
    site: Site, node_identity: Identity
) -> None:
    async def go() -> None:
        async with conversation(site.served, node_identity) as call:
            await begun(call)
            await call.write(held({}))
            sent = (await call.read()).trust.files
            assert set(sent) == {"1.root.json", *ONLINE, *TARGETS}
            for _ in range(3):  # a node that refuses is not sent the same again and again
                await call.write(held({}, refusal="it does not please me"))
            await site.news()
            assert await quiet(call)

    talk(go)
    (row,) = sql(site.db, "SELECT node, versions, refusal FROM node_trust")
    assert row == {"node": NODE, "versions": {}, "refusal": "it does not please me"}


def test_a_node_that_has_it_all_is_sent_nothing_until_there_is_something_new(
    site: Site, node_identity: Identity
) -> None:
    async def go() -> None:
        async with conversation(site.served, node_identity) as call:
            await begun(call)
            await call.write(held(ALL))
            await asyncio.to_thread(wait_for, lambda: sql(site.db, "SELECT 1 FROM node_trust"))
            site.publish(2)
            await site.news()
            sent = (await call.read()).trust.files  # the first that comes
            assert set(TARGETS) <= set(sent)

    talk(go)


def test_a_renewal_travels_without_the_targets(site: Site, node_identity: Identity) -> None:
    async def go() -> None:
        async with conversation(site.served, node_identity) as call:
            await begun(call)
            assert renew(site.hub, now=site.signers.at + timedelta(days=4)) is not None
            await call.write(held(ALL))
            sent = (await call.read()).trust.files
            assert set(sent) == {"1.root.json", *ONLINE}

    talk(go)


def test_a_node_that_has_not_said_what_it_believes_is_sent_nothing(
    site: Site, node_identity: Identity
) -> None:
    async def go() -> None:
        async with conversation(site.served, node_identity) as call:
            await begun(call)
            await site.news()
            assert await quiet(call)

    talk(go)


def test_what_a_node_says_is_bounded_and_of_known_roles(
    site: Site, node_identity: Identity
) -> None:
    async def go() -> None:
        async with conversation(site.served, node_identity) as call:
            await begun(call)
            said = {**ALL, "root": 2**64 - 1, "emperor": 7, **{f"x{n}": n for n in range(500)}}
            await call.write(held(said, refusal="\x1b[2J" + "long " * 2000))
            assert (await call.read()).WhichOneof("of") == "trust"

    talk(go)
    (row,) = sql(site.db, "SELECT versions, refusal FROM node_trust")
    assert row["versions"] == {**ALL, "root": 2**53 - 1}
    assert "\x1b" not in row["refusal"]
    assert len(row["refusal"]) < 1100
