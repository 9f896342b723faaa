"""Durable events per second: 50 agents over mTLS into one hub, beside pgbench's same inserts."""

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path

import grpc

from appliance.channel import CLIENT_LIMITS, Identity, channel_credentials
from appliance.demo import site
from appliance.demo.assembly import Assembly, Wanted
from appliance.launch import Launcher, Postgres, port_is_open
from appliance.records import Mode
from appliance.wire import sentinel_pb2 as pb
from appliance.wire import sentinel_pb2_grpc
from appliance.wire.convert import to_wire
from hub.persist.database import Database
from tests.bench.figures import Figure
from tests.hub.builders import event, finding, sql
from vault.pki import Pki

AGENTS = 50
EVENTS_EACH = 100
PGBENCH_S = 5


def measure() -> list[Figure]:
    """The burst of 50 agents, and what PostgreSQL does without us."""
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        (root / "logs").mkdir()
        assembly = _Hub(
            Wanted(
                root=root, mode=Mode.DRY_RUN, model=None, console_port=None, hub_port=None,
                vault_port=None,
            ),
            Launcher(root / "logs"),
            lambda *_: None,
        )  # fmt: skip
        try:
            chosen = assembly.start()
            identities = assembly.identities(chosen, AGENTS)
            seconds = asyncio.run(_burst(chosen.ports.hub, identities))
            stored = _stored(chosen.dsn)
            assert assembly.postgres is not None
            peer = _pgbench(assembly.postgres, root)
        finally:
            assembly.stop()
    rate = AGENTS * EVENTS_EACH / seconds
    lost = AGENTS * EVENTS_EACH - stored
    what = f"durable events, {AGENTS} agents over mTLS"
    return [
        Figure(
            what=what, value=rate, unit="events/s", peer="pgbench, same inserts, 8 clients",
            peer_value=peer,
        ),
        Figure(what="of these lost", value=lost, unit="events", target="0"),
    ]  # fmt: skip


class _Hub(Assembly):
    """Only PostgreSQL, Vault and the hub's gRPC process."""

    def _start_hub(self, chosen: site.Site) -> None:
        self._daemon(chosen, "serve", "-m", "hub", "serve")
        self._wait("serve", lambda: port_is_open(chosen.ports.hub))

    def _start_node(self, chosen: site.Site) -> None:
        """No node: the agents are ours."""

    def identities(self, chosen: site.Site, count: int) -> list[Identity]:
        """Real certificates of so many nodes."""
        url = f"http://127.0.0.1:{chosen.ports.vault}"
        pki = Pki(url=url, token=chosen.vault_token)
        found = []
        for number in range(count):
            name = f"bench-{number}"
            issued = pki.issue(
                role="node", name=name, uri=f"spiffe://sentinel/node/{name}",
                folder=chosen.root / "bench" / name,
            )  # fmt: skip
            found.append(Identity(certificate=issued.certificate, key=issued.key, ca=issued.ca))
        return found


async def _burst(port: int, identities: list[Identity]) -> float:
    messages = [
        [pb.FromAgent(event=to_wire(event(finding()), pb.Event())) for _ in range(EVENTS_EACH)]
        for _ in identities
    ]
    ready, go = asyncio.Barrier(len(identities) + 1), asyncio.Event()
    tasks = [
        asyncio.create_task(_agent(port, identity, mine, ready, go))
        for identity, mine in zip(identities, messages, strict=True)
    ]
    await ready.wait()
    began = time.perf_counter()
    go.set()
    await asyncio.gather(*tasks)
    return time.perf_counter() - began


async def _agent(
    port: int,
    identity: Identity,
    messages: list[pb.FromAgent],
    ready: asyncio.Barrier,
    go: asyncio.Event,
) -> None:
    async with grpc.aio.secure_channel(
        f"localhost:{port}", channel_credentials(identity), options=CLIENT_LIMITS
    ) as channel:
        call = sentinel_pb2_grpc.HubStub(channel).Converse()
        await call.write(pb.FromAgent(hello=pb.Hello(agent_version="bench", protocol=1)))
        await call.read()
        await ready.wait()
        await go.wait()
        for message in messages:
            await call.write(message)
        waiting = len(messages)
        while waiting:
            answer = await call.read()
            waiting -= len(answer.ack.event_ids)


def _stored(dsn: str) -> int:
    with Database(dsn, size=1) as db:
        (row,) = sql(db, "SELECT count(*) FROM incident")
    return int(row["count"])


def _pgbench(postgres: Postgres, root: Path) -> float | None:
    """Transactions per second of the same four inserts, by PostgreSQL's own tool."""
    script = root / "same.sql"
    script.write_text(Path(__file__).with_name("same_inserts.sql").read_text())
    script.chmod(0o644)
    words = postgres.pgbench(script, database="sentinel", clients=8, seconds=PGBENCH_S)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("tps = "):
            return float(line.split()[2])
    return None
