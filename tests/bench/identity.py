"""Identity: joining, renewing, handshakes, and what a stream costs that says nothing.

Vault and hub are real processes on this machine, and so are the nodes' connections; what the
clients cost is in the figures. Beside each stands what Vault or TLS alone takes for the same.
"""

import asyncio
import os
import resource
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509

from agent import enroll
from appliance import envelope
from appliance.channel import CLIENT_LIMITS, Identity, channel_credentials
from appliance.launch import Launcher, Postgres, _bao, free_port, port_is_open
from appliance.wire import sentinel_pb2 as pb
from appliance.wire import sentinel_pb2_grpc
from hub.persist.migrate import migrate
from tests.bench.figures import Figure
from tests.hub.builders import some_vkey
from tests.identity.authority import HUB_URI, SERVER, AnyAuthority
from tests.identity.conftest import ROOT_TOKEN, Site, _unsealed, set_up
from vault.client import Client
from vault.identity import make_key, request
from vault.renewal import Question, due, stand
from vault.settings import VaultSite
from vault.ticket import Pins, Ticket

JOINS, RENEWALS, HANDSHAKES = 60, 60, 200
STREAMS = int(os.environ.get("SENTINEL_BENCH_STREAMS", "1000"))
FLEET = 10_000
HELLO = pb.FromAgent(hello=pb.Hello(agent_version="bench", protocol=1, boot_id="b00t"))


def measure() -> list[Figure]:
    """All four."""
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as name:
        folder = Path(name)
        launcher = Launcher(folder)
        try:
            return [*_vault(launcher, folder), *_streams(launcher, folder)]
        finally:
            launcher.stop_all()


def _vault(launcher: Launcher, folder: Path) -> list[Figure]:
    site = _site(launcher, folder)
    joined = _per_second(JOINS, lambda number: _join(site, folder, number))
    renewed = _per_second(RENEWALS, lambda number: _renew(site, folder / str(number % JOINS)))
    key = make_key(folder / "peer.key")
    site.joining.admit("peer.test", minutes=5, now=_now())
    csr = request(key, name="root.test", uri="spiffe://sentinel/node/root.test")
    plain = {"csr": csr, "common_name": "root.test"}

    def only_sign(_: int) -> None:
        site.admin.call("POST", "pki_int/sign/plain", plain, what="sign")

    signed = _per_second(RENEWALS, only_sign)
    return [
        Figure(what="nodes that join", value=joined * 60, unit="per minute",
               peer="only signing, by Vault", peer_value=signed * 60, target="≥ 60"),
        Figure(what="certificates renewed, sign-on included", value=renewed, unit="per second",
               peer="only signing, by Vault", peer_value=signed,
               target=f"≥ {FLEET / 86400:.2f}: {FLEET:,} nodes within a day"),
    ]  # fmt: skip


def _streams(launcher: Launcher, folder: Path) -> list[Figure]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    root = AnyAuthority()
    hub = root.issue(folder / "hub", uri=HUB_URI, usage=(SERVER,))
    part, port = _hub(launcher, folder, hub)
    nodes = [
        root.issue(folder / f"n{number}", uri=f"spiffe://sentinel/node/n{number}.test")
        for number in range(STREAMS)
    ]
    rate = _per_second(HANDSHAKES, lambda number: _greet(port, nodes[number % 20]))
    bare = _bare_tls(hub, nodes[0])
    time.sleep(2)  # what the greetings left behind is collected
    before = _memory(part)
    after = asyncio.run(_idle(port, nodes, lambda: _memory(part)))
    each = (after - before) / STREAMS
    return [
        Figure(what="handshakes with welcome, mutual TLS 1.3", value=rate, unit="per second",
               peer="TLS alone", peer_value=bare),
        Figure(what=f"memory of the hub per idle stream, {STREAMS:,} real ones", value=each,
               unit="KiB"),
        Figure(what=f"the same, for {FLEET:,} nodes by arithmetic", value=each * FLEET / 1024,
               unit="MiB", target="< 2,048"),
    ]  # fmt: skip


def _per_second(times: int, act: Callable[[int], object]) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(act, range(times)))
    return times / (time.perf_counter() - began)


def _join(site: Site, folder: Path, number: int) -> None:
    name, at = f"j{number}.test", folder / str(number)
    door = site.joining.admit(name, minutes=5, now=_now())
    identity = Identity(certificate=at / "cert.pem", key=at / "key.pem", ca=at / "ca.pem")
    node = enroll.Node(
        name=name, identity=identity, trust_root=None, audit_vkey=None, folder=at / "enroll"
    )
    pins = Pins(ca=site.root_ca.read_text())
    ticket = Ticket(node=name, token=door.token, pins=pins)
    enroll.with_ticket(node, ticket, site.vault, say=lambda _: None)


def _renew(site: Site, at: Path) -> None:
    identity = Identity(certificate=at / "cert.pem", key=at / "key.pem", ca=at / "ca.pem")
    leaf = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    assert stand(Question(identity=identity, vault=site.vault), now=due(leaf)).renewed


def _site(launcher: Launcher, folder: Path) -> Site:
    port = free_port()
    words = [_bao(), "server", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token"]
    part = launcher.start(
        "vault", [*words, f"-dev-listen-address=127.0.0.1:{port}"],
        environment={"BAO_DEV_ROOT_TOKEN_ID": ROOT_TOKEN, "HOME": str(folder)},
    )  # fmt: skip
    launcher.wait(part, lambda: port_is_open(port))
    vault = VaultSite(url=f"https://127.0.0.1:{port}", ca=folder / "vault-ca.pem")
    admin = Client(vault, token=ROOT_TOKEN)
    launcher.wait(part, lambda: _unsealed(admin))
    (folder / "root.pem").write_text(set_up(admin))
    site = Site(
        vault=vault, admin=admin, root_ca=folder / "root.pem", folder=folder, launcher=launcher
    )
    site.ttl("72h")
    role = {"allow_any_name": True, "allowed_uri_sans": ["*"], "key_type": "ec", "key_bits": 256}
    admin.call("POST", "pki_int/roles/plain", role, what="make a role")
    return site


def _hub(launcher: Launcher, folder: Path, identity: Identity) -> tuple[int, int]:
    server = Postgres(folder=folder / "pg", launcher=launcher)
    server.start()
    server.create("sentinel")
    migrate(server.dsn())
    port = free_port()
    envelope.make_key(folder / "order.key")
    (folder / "log.vkey").write_text(some_vkey("bench/log"))
    (folder / "serve.toml").write_text(f"""dsn = "{server.dsn()}"
order_key = "{folder}/order.key"
log_origin = "bench/log"
audit_vkey = "{folder}/log.vkey"
bind = "127.0.0.1"
port = {port}
[identity]
certificate = "{identity.certificate}"
key = "{identity.key}"
ca = "{identity.ca}"
""")
    words = [sys.executable, "-m", "hub", "serve", "--config", str(folder / "serve.toml")]
    part = launcher.start("hub", words)
    launcher.wait(part, lambda: port_is_open(port), timeout_s=60)
    return part.process.pid, port


def _greet(port: int, identity: Identity) -> None:
    options = [*CLIENT_LIMITS, ("grpc.use_local_subchannel_pool", 1)]
    credentials = channel_credentials(identity)
    with grpc.secure_channel(f"localhost:{port}", credentials, options=options) as channel:
        call = sentinel_pb2_grpc.HubStub(channel).Converse(iter([HELLO]), timeout=60)
        assert next(call).WhichOneof("of") == "welcome"


async def _idle(port: int, nodes: list[Identity], memory: Callable[[], float]) -> float:
    """The hub's memory while every node has a stream on which nothing is said."""
    options = [*CLIENT_LIMITS, ("grpc.use_local_subchannel_pool", 1)]
    channels, calls = [], []
    gate = asyncio.Semaphore(50)

    async def connect(identity: Identity) -> None:
        async with gate:
            channel = grpc.aio.secure_channel(
                f"localhost:{port}", channel_credentials(identity), options=options
            )
            call = sentinel_pb2_grpc.HubStub(channel).Converse()
            await call.write(HELLO)
            assert (await call.read()).WhichOneof("of") == "welcome"
            channels.append(channel)
            calls.append(call)

    await asyncio.gather(*(connect(one) for one in nodes))
    await asyncio.sleep(5)
    assert not any(call.done() for call in calls)
    found = memory()
    for channel in channels:
        await channel.close()
    return found


def _bare_tls(server: Identity, client: Identity) -> float:
    """Mutual TLS 1.3 between two threads of this process, and nothing else."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server.certificate, server.key)
    serving.load_verify_locations(server.ca)
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.num_tickets = 0
    asking = ssl.create_default_context(cafile=client.ca)
    asking.load_cert_chain(client.certificate, client.key)
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)

    def serve() -> None:
        for _ in range(HANDSHAKES):
            peer, _ = listening.accept()
            with serving.wrap_socket(peer, server_side=True) as wrapped:
                wrapped.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()

    def ask(_: int) -> None:
        with (
            socket.create_connection(listening.getsockname()) as plain,
            asking.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(b"x")

    rate = _per_second(HANDSHAKES, ask)
    thread.join()
    listening.close()
    return rate


def _memory(pid: int) -> float:
    """Proportional set size in KiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise AssertionError(pid)


def _now() -> datetime:
    return datetime.now(UTC)
