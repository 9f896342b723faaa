"""`sentinel-hub serve`: the agents' streams, the pipeline and their wake-ups, in one process."""

import asyncio
import logging
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import grpc

from appliance.channel import SERVER_LIMITS, server_credentials
from appliance.envelope import load_key, public_pem
from appliance.errors import LaunchError, SentinelError, TrustError
from appliance.wire import sentinel_pb2_grpc
from audit.counting import parse_keys
from audit.errors import VkeyError
from hub import opened_tickets, outside_witnesses, own_certificates, policy, publish, secrets
from hub.admission import Admission
from hub.dispatch import OrderDesk
from hub.errors import DatabaseError, NotaryError
from hub.ingest import Ingest, utc_now
from hub.live import LiveOutputs
from hub.nodes import Nodes
from hub.outside_witness import named
from hub.own_certificates import OwnCertificates
from hub.persist import ingest as storage
from hub.persist import migrate
from hub.persist.database import Database
from hub.persist.in_force import tell_settings
from hub.persist.listen import Listener
from hub.persist.status import beat
from hub.pipeline import Pipeline
from hub.settings import ServeSettings
from hub.transport import Transport
from hub.trust import HubTrust
from hub.trust_offers import TrustOffers
from hub.validate import Gate
from hub.witnesses import Witnesses
from policy.worker import GuardedReader
from vault import crl

BEAT_S = 5.0
RENEW_EVERY_TURNS = 30  # of a second: a look whether the online part is due; it lasts days
LOOK_AT_ROWS_S = 3.0  # a notification may be lost, and a revoked node's stream ends within 5 s
GRACE_S = 3.0  # for streams to end when we stop

_log = logging.getLogger(__name__)


def run(settings: ServeSettings) -> int:
    """Serve until SIGTERM; 0 when it ended as asked."""
    owned = own_certificates.of_hub(settings)
    own_certificates.settle(owned)
    dsn = secrets.dsn_of(settings, wait=threading.Event())
    with Database(dsn, size=8) as db, GuardedReader() as second:
        _demand_schema(dsn)
        tell_settings(db, "serve", settings)
        policy.demand_one_source(settings)
        db.people = trust = HubTrust(settings.trust_root) if settings.trust_root else None
        gate = _gate(db, settings, second, trust)
        desk = OrderDesk(
            key=load_key(settings.order_key),
            vkey=_vkey(settings.audit_vkey),
            valid_for=timedelta(seconds=settings.order_valid_s),
            command_timeout_s=settings.command_timeout_s,
        )
        pipeline = Pipeline(
            db=db,
            gate=gate,
            desk=desk,
            mode=settings.mode,
            answer_within=timedelta(seconds=settings.answer_within_s),
            report_within=timedelta(seconds=settings.report_within_s),
            trust=trust,
        )
        stop = threading.Event()
        thread = threading.Thread(target=pipeline.run, args=(stop,), name="pipeline")
        thread.start()
        try:
            witnesses = Witnesses(db, desk.tree, desk.vkey)
            outside = named(settings.witnesses) if settings.witnesses else []
            outside_witnesses.start(db, witnesses, outside, ca=settings.witness_ca, stop=stop)
            opened_tickets.start(db, settings, stop=stop)
            own = OwnCertificates(owned, stop)
            own.start()
            return asyncio.run(_serve(settings, db, gate, witnesses, trust, own=own))
        finally:
            stop.set()
            thread.join()


def check(settings: ServeSettings) -> None:
    """Read all that a start would read; raises with the file and what is wrong with it."""
    secrets.check(settings)
    server_credentials(settings.identity)
    _revocations(settings)
    load_key(settings.order_key)
    _vkey(settings.audit_vkey)
    policy.demand_one_source(settings)
    if settings.witnesses is not None:
        named(settings.witnesses)
    if settings.trust_root is None:
        policy.check(settings)
    else:
        HubTrust(settings.trust_root)
    if settings.trust_key:
        load_key(settings.trust_key)


def _gate(
    db: Database, settings: ServeSettings, second: GuardedReader, trust: HubTrust | None
) -> Gate:
    if trust is None:
        return Gate(bundle=policy.take(db, settings), second=second)
    with db.transaction() as work:
        gate = trust.gate(work, second, now=utc_now())
    if gate.bundle.refusal:
        why = gate.bundle.refusal
        _log.error("%s; every command is refused until `sentinel policy publish`", why)
    return gate


async def _serve(
    settings: ServeSettings,
    db: Database,
    gate: Gate,
    witnesses: Witnesses,
    trust: HubTrust | None,
    *,
    own: OwnCertificates,
) -> int:
    nodes, revoked = Nodes(db), _revocations(settings)
    await asyncio.to_thread(nodes.all_disconnected)
    ingest = Ingest(lambda batch: storage.store_events(db, batch, now=utc_now()))
    transport = Transport(
        ingest=ingest,
        nodes=nodes,
        witnesses=witnesses,
        max_in_flight=settings.max_in_flight,
        trust=TrustOffers(db, trust),
        live=LiveOutputs(db),
        admission=Admission(db, revoked=revoked, required=settings.crl_required),
    )
    server = grpc.aio.server(options=SERVER_LIMITS)
    sentinel_pb2_grpc.add_HubServicer_to_server(transport, server)  # type: ignore[no-untyped-call]
    address = f"{settings.bind}:{settings.port}"
    try:
        server.add_secure_port(address, server_credentials(settings.identity))
    except RuntimeError as error:
        raise LaunchError(f"cannot listen on {address}: is the port taken?") from error
    await server.start()
    _log.info("serving agents on %s, policy %s", address, gate.bundle.digest[:16])
    tasks = [
        asyncio.create_task(ingest.run()),
        asyncio.create_task(_orders(db.dsn, transport)),
        asyncio.create_task(_log_rounds(db.dsn, transport)),
        asyncio.create_task(_identities(settings, db.dsn, transport, revoked)),
        asyncio.create_task(_beat(db, nodes, transport, gate, trust, own=own)),
    ]
    if trust is not None:
        tasks.append(asyncio.create_task(_trust(settings, db, transport, trust)))
    await _until_stopped(tasks)
    await transport.close()
    await server.stop(GRACE_S)
    for task in tasks:
        task.cancel()
    return 0


async def _until_stopped(tasks: list[asyncio.Task[None]]) -> None:
    """Until SIGTERM or SIGINT; a task that ends by itself is an error and ends us too."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait())
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _orders(dsn: str, transport: Transport) -> None:
    """Offer new orders and halts as the database announces them."""
    listener = Listener(dsn, channels=("sentinel_order", "sentinel_halt"))
    while True:
        await asyncio.to_thread(listener.wait, 1.0)
        try:
            await transport.tell_halts()
            await transport.offer_orders()
        except DatabaseError as error:
            _log.warning("orders wait: %s", error)


async def _log_rounds(dsn: str, transport: Transport) -> None:
    """Offer the nodes new checkpoints as the database announces them."""
    listener = Listener(dsn, channels=("sentinel_checkpoint",))
    while True:
        await asyncio.to_thread(listener.wait, 1.0)
        try:
            await transport.offer_log()
        except (DatabaseError, NotaryError) as error:
            _log.warning("the log's round waits: %s", error)


def _revocations(settings: ServeSettings) -> crl.RevocationList | None:
    if settings.crl is None:
        return None
    found = crl.RevocationList(settings.crl, issuers=crl.issuers_of(settings.identity))
    found.reload()
    return found


async def _identities(
    settings: ServeSettings, dsn: str, transport: Transport, revoked: crl.RevocationList | None
) -> None:
    """End streams of nodes that are no longer believed, and learn what Vault revoked."""
    listener = Listener(dsn, channels=("sentinel_identity",))
    asked = looked = -settings.crl_every_s
    notice: str | None = None
    while True:
        if revoked is not None and time.monotonic() - asked >= settings.crl_every_s:
            asked = time.monotonic()
            if settings.vault is None:
                await asyncio.to_thread(revoked.reload)
            else:
                await asyncio.to_thread(revoked.fetch, settings.vault)
        rows = notice is not None or time.monotonic() - looked >= LOOK_AT_ROWS_S
        looked = time.monotonic() if rows else looked
        try:
            await transport.end_unwelcome(rows=rows)
        except DatabaseError as error:
            _log.warning("who is still welcome cannot be told: %s", error)
        notice = await asyncio.to_thread(listener.wait, 1.0)


async def _trust(
    settings: ServeSettings, db: Database, transport: Transport, trust: HubTrust
) -> None:
    """Offer what is published as the database announces it, and keep it from going stale."""
    listener = Listener(db.dsn, channels=("sentinel_trust",))
    key = load_key(settings.trust_key) if settings.trust_key else None
    complained = ""
    while True:
        try:
            if key is not None:
                hub = publish.Hub(db=db, root=trust.root, key=key)
                await asyncio.to_thread(publish.renew, hub, now=utc_now())
            await transport.offer_trust()
            await asyncio.to_thread(_demand_our_key, settings, db, trust)
            complained = ""
        except SentinelError as error:
            if str(error) != complained:
                _log.error("signed trust: %s", error)
            complained = str(error)
        for _ in range(RENEW_EVERY_TURNS):
            if await asyncio.to_thread(listener.wait, 1.0):
                break


def _demand_our_key(settings: ServeSettings, db: Database, trust: HubTrust) -> None:
    """Nodes refuse every order of a key that signers did not name: say so before one leaves."""
    with db.transaction() as work:
        keys = trust.keys(work, now=utc_now())
    ours = public_pem(load_key(settings.order_key).public_key())
    if keys is not None and ours not in keys.order_keys:
        raise TrustError(f"{settings.order_key} is no order key of the published keys.json")


async def _beat(
    db: Database,
    nodes: Nodes,
    transport: Transport,
    gate: Gate,
    trust: HubTrust | None,
    *,
    own: OwnCertificates,
) -> None:
    """Say every few seconds that we live, and which nodes do."""
    instance = f"{os.uname().nodename}:{os.getpid()}"
    while True:
        digest = trust.policy_digest if trust else gate.bundle.digest
        detail = {"nodes": len(transport.connected), "policy": digest, "warning": own.warning()}
        try:
            await nodes.seen(transport.connected)
            await asyncio.to_thread(beat, db, part="hub", instance=instance, detail=detail)
        except DatabaseError as error:
            _log.warning("heartbeat waits: %s", error)
        await asyncio.sleep(BEAT_S)


def _demand_schema(dsn: str) -> None:
    waiting = migrate.pending(dsn)
    if waiting:
        raise DatabaseError(f"the database lacks {', '.join(waiting)}: run `sentinel-hub migrate`")


def _vkey(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
        parse_keys(text)
    except (OSError, UnicodeDecodeError, VkeyError) as error:
        raise LaunchError(f"{path}: cannot use the audit log's key: {error}") from error
    return text
