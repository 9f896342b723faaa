"""The table of refused handshakes, with real certificates, on both ends of real TLS."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from agent import hub_certificate
from appliance.channel import (
    CLIENT_LIMITS,
    Identity,
    channel_credentials,
    server_credentials,
)
from appliance.errors import IdentityError, SettingsError
from appliance.wire import sentinel_pb2 as pb
from appliance.wire import sentinel_pb2_grpc
from hub.admission import Admission
from hub.persist.database import Database
from tests.hub.builders import outbox
from tests.hub.test_transport import HELLO, Served
from tests.identity.authority import (
    CLIENT,
    HUB_URI,
    NODE_URI,
    SERVER,
    AnyAuthority,
    p256,
    serial_of,
    weak,
)
from vault.crl import RevocationList, authorities, issuers_of

pytestmark = pytest.mark.postgres
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> AnyAuthority:
    return AnyAuthority()


@pytest.fixture(scope="module")
def hub(root: AnyAuthority, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return root.issue(tmp_path_factory.mktemp("hub"), uri=HUB_URI, usage=(SERVER,))


@pytest.fixture
def revoked(root: AnyAuthority, hub: Identity, tmp_path: Path) -> RevocationList:
    made = RevocationList(tmp_path / "crl.pem", issuers=authorities(hub.ca))
    assert made.take(root.crl(), keep=True)
    return made


@pytest.fixture
def served(database: Database, hub: Identity, revoked: RevocationList) -> Iterator[Served]:
    with Served(database, hub, Admission(database, revoked=revoked)) as one:
        yield one


@contextlib.asynccontextmanager
async def conversation(served: Served, credentials: Any) -> AsyncIterator[Any]:
    address = f"localhost:{served.port}"
    async with grpc.aio.secure_channel(address, credentials, options=CLIENT_LIMITS) as channel:
        yield sentinel_pb2_grpc.HubStub(channel).Converse()


def hello(served: Served, credentials: Any) -> pb.FromHub:
    """The hub's answer to a hello, or its refusal raised."""

    address = f"localhost:{served.port}"
    with grpc.secure_channel(address, credentials, options=CLIENT_LIMITS) as channel:
        call = sentinel_pb2_grpc.HubStub(channel).Converse(iter([HELLO]), timeout=20)
        return next(call)


Refused = Callable[[AnyAuthority, Path], Identity]
BY_TLS: dict[str, Refused] = {
    "wrong CA": lambda root, at: AnyAuthority("root").issue(at, believes=root),
    "self-signed": lambda root, at: root.issue(at, self_signed=True),
    "expired": lambda root, at: root.issue(at, starts=-9 * DAY, ends=-DAY),
    "not yet valid": lambda root, at: root.issue(at, starts=DAY, ends=9 * DAY),
    "server certificate as client": lambda root, at: root.issue(at, uri=HUB_URI, usage=(SERVER,)),
    "a node's name, for servers": lambda root, at: root.issue(at, usage=(SERVER,)),
}
BY_US: dict[str, tuple[Refused, str]] = {
    "weak key": (lambda root, at: root.issue(at, key=weak()), "an RSA key of 1024 bits"),
    "no usage": (lambda root, at: root.issue(at, usage=()), "does not say that it is for clients"),
    "the console's name": (
        lambda root, at: root.issue(at, uri="spiffe://sentinel/console"), "spiffe://sentinel/node",
    ),
    "no node's name": (lambda root, at: root.issue(at, uri=NODE_URI + "/x"), "spiffe://sentinel"),
}  # fmt: skip


@pytest.mark.parametrize("what", BY_TLS)
def test_the_handshake_is_refused(
    served: Served, root: AnyAuthority, database: Database, tmp_path: Path, what: str
) -> None:
    identity = BY_TLS[what](root, tmp_path)
    with pytest.raises(grpc.RpcError) as refused:
        hello(served, channel_credentials(identity))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert nothing_happened(served, database)


def test_a_client_without_a_certificate_is_refused(
    served: Served, hub: Identity, database: Database
) -> None:
    with pytest.raises(grpc.RpcError):
        hello(served, grpc.ssl_channel_credentials(hub.ca.read_bytes()))
    assert nothing_happened(served, database)


@pytest.mark.parametrize("what", BY_US)
def test_what_the_tls_library_lets_pass_is_refused_in_words(
    served: Served, root: AnyAuthority, database: Database, tmp_path: Path, what: str
) -> None:
    make, words = BY_US[what]
    with pytest.raises(grpc.RpcError) as refused:
        hello(served, channel_credentials(make(root, tmp_path)))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert words in refused.value.details()
    assert nothing_happened(served, database)


def test_a_revoked_certificate_is_refused_and_a_good_one_is_not(
    served: Served, root: AnyAuthority, revoked: RevocationList, database: Database, tmp_path: Path
) -> None:
    thief = root.issue(tmp_path / "thief")
    assert revoked.take(root.crl(serial_of(thief), number=2), keep=True)
    with pytest.raises(grpc.RpcError, match="was revoked"):
        hello(served, channel_credentials(thief))
    assert nothing_happened(served, database)
    good = channel_credentials(root.issue(tmp_path / "good"))
    assert hello(served, good).WhichOneof("of") == "welcome"


def test_without_a_current_revocation_list_nobody_is_admitted_unless_the_site_says_so(
    database: Database, hub: Identity, root: AnyAuthority, tmp_path: Path
) -> None:
    good = channel_credentials(root.issue(tmp_path / "good"))
    missing = RevocationList(tmp_path / "none.pem", issuers=authorities(hub.ca))
    missing.reload()
    old = RevocationList(tmp_path / "old.pem", issuers=authorities(hub.ca))
    assert old.take(root.crl(until=-DAY), keep=True)
    for one in (missing, old):
        with Served(database, hub, Admission(database, revoked=one)) as strict:
            with pytest.raises(grpc.RpcError, match="current revocation list"):
                hello(strict, good)
            assert nothing_happened(strict, database)
    lax = Admission(database, revoked=missing, required=False)
    with Served(database, hub, lax) as other:
        assert hello(other, good).WhichOneof("of") == "welcome"


def test_a_list_of_another_authority_or_an_older_one_changes_nothing(
    root: AnyAuthority, hub: Identity, tmp_path: Path
) -> None:
    file = tmp_path / "crl.pem"
    ours = RevocationList(file, issuers=authorities(hub.ca))
    assert ours.take(root.crl(7, number=5), keep=True)
    kept = file.read_bytes()
    for forged in (AnyAuthority("root").crl(number=9), root.crl(number=4), b"", b"junk"):
        assert not ours.take(forged, keep=True)
        assert (ours.revoked(7), file.read_bytes()) == (True, kept)
    again = RevocationList(file, issuers=authorities(hub.ca))
    again.reload()
    assert again.revoked(7)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_older_protocol_than_tls_1_3_gets_no_stream(
    served: Served, root: AnyAuthority, database: Database, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    """1.1 ends in the handshake; 1.2 gets as far as the hub's own check."""
    identity = root.issue(tmp_path)
    context = ssl.create_default_context(cafile=identity.ca)
    context.load_cert_chain(identity.certificate, identity.key)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = newest
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as plain:
        if newest is ssl.TLSVersion.TLSv1_1:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(plain, server_hostname="localhost")
        else:
            with context.wrap_socket(plain, server_hostname="localhost") as peer:
                assert peer.version() == "TLSv1.2"
    with pytest.raises(IdentityError, match=r"TLS 1\.3"):
        asyncio.run(Admission().admit({"ssl_tls_version": [b"TLSv1.2"]}))
    assert nothing_happened(served, database)


HUBS: dict[str, tuple[Callable[[AnyAuthority, Path], Identity], str]] = {
    "wrong CA": (
        lambda root, at: AnyAuthority().issue(at, uri=HUB_URI, usage=(SERVER,), believes=root),
        "another CA|does not verify",
    ),
    "self-signed": (
        lambda root, at: root.issue(at, uri=HUB_URI, usage=(SERVER,), self_signed=True),
        "another CA",
    ),
    "expired": (
        lambda root, at: root.issue(at, uri=HUB_URI, usage=(SERVER,), starts=-9 * DAY, ends=-DAY),
        "has expired",
    ),
    "not yet valid": (
        lambda root, at: root.issue(at, uri=HUB_URI, usage=(SERVER,), starts=DAY, ends=9 * DAY),
        "not valid yet",
    ),
    "another DNS name": (
        lambda root, at: root.issue(at, uri=HUB_URI, usage=(SERVER,), dns="other.test"),
        "another name",
    ),
    "the console's certificate, of the same host": (
        lambda root, at: root.issue(at, uri="spiffe://sentinel/console", usage=(SERVER,)),
        "expected spiffe://sentinel/hub",
    ),
    "a node's certificate": (lambda root, at: root.issue(at, usage=(CLIENT,)), "not for servers"),
    "weak key": (
        lambda root, at: root.issue(at, uri=HUB_URI, usage=(SERVER,), key=weak()), "too weak",
    ),
}  # fmt: skip


class Fake:
    """Whoever has this certificate, and listens; nothing is said after the handshake."""

    def __init__(self, identity: Identity) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(identity.certificate, identity.key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._tls = context
        self.heard = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            peer, _ = self._socket.accept()
            peer.settimeout(10)
            with self._tls.wrap_socket(peer, server_side=True) as wrapped:
                self.heard = wrapped.recv(1000)

    def close(self) -> None:
        self._socket.close()
        self._thread.join(15)


@pytest.mark.parametrize("what", HUBS)
def test_a_node_says_nothing_to_a_false_hub(root: AnyAuthority, tmp_path: Path, what: str) -> None:
    make, words = HUBS[what]
    fake = Fake(make(root, tmp_path / "fake"))
    mine = root.issue(tmp_path / "mine")
    try:
        with pytest.raises(IdentityError, match=words):
            hub_certificate.look(fake.address, "localhost", mine)
    finally:
        fake.close()
    assert fake.heard == b""


def test_a_node_leaves_a_hub_whose_certificate_was_revoked(
    root: AnyAuthority, tmp_path: Path
) -> None:
    false = root.issue(tmp_path / "hub", uri=HUB_URI, usage=(SERVER,))
    mine, crl = root.issue(tmp_path / "mine"), tmp_path / "crl.pem"
    crl.write_bytes(root.crl(serial_of(false)))
    fake = Fake(false)
    try:
        with pytest.raises(IdentityError, match="was revoked"):
            hub_certificate.look(fake.address, "localhost", mine, crl)
    finally:
        fake.close()


def test_a_list_that_is_too_old_is_asked_for_only_where_the_site_demands_it(
    served: Served, root: AnyAuthority, tmp_path: Path
) -> None:
    mine, crl = root.issue(tmp_path / "mine"), tmp_path / "old.pem"
    crl.write_bytes(root.crl(until=-DAY))
    address = f"localhost:{served.port}"
    assert hub_certificate.look(address, "localhost", mine, crl)
    for one in (crl, tmp_path / "missing.pem"):
        with pytest.raises(IdentityError, match=r"revocation list|cannot read"):
            hub_certificate.look(address, "localhost", mine, one, required=True)


def test_a_list_of_the_root_does_not_stand_for_that_of_the_issuing_authority(
    root: AnyAuthority, hub: Identity, tmp_path: Path
) -> None:
    """It is signed by somebody in the chain, and newer, and revokes nothing of ours."""
    other = AnyAuthority("the root above")
    chain = tmp_path / "chain.pem"
    pems = [
        root.certificate.public_bytes(Encoding.PEM),
        other.certificate.public_bytes(Encoding.PEM),
    ]
    chain.write_bytes(b"".join(pems))
    both = Identity(certificate=hub.certificate, key=hub.key, ca=chain)
    ours = RevocationList(tmp_path / "crl.pem", issuers=issuers_of(both))
    assert ours.take(root.crl(7, number=5), keep=True)
    assert not ours.take(other.crl(number=9), keep=True)
    assert ours.revoked(7)


def test_the_stream_believes_only_the_certificate_that_was_looked_at(
    served: Served, root: AnyAuthority, database: Database, tmp_path: Path
) -> None:
    """Who forwards the first handshake to the real hub and answers the second gets nothing."""
    mine = root.issue(tmp_path / "mine")
    seen = hub_certificate.look(f"localhost:{served.port}", "localhost", mine)
    good = hello(served, channel_credentials(mine, believes=seen))
    assert good.WhichOneof("of") == "welcome"
    twin = root.issue(tmp_path / "twin", uri=HUB_URI, usage=(SERVER,))
    with (
        Served(database, twin, Admission()) as other,
        pytest.raises(grpc.RpcError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        hello(other, channel_credentials(mine, believes=seen))


def test_a_renewed_server_certificate_counts_from_the_next_handshake_and_ends_no_stream(
    database: Database, root: AnyAuthority, tmp_path: Path
) -> None:
    identity = root.issue(tmp_path / "hub", uri=HUB_URI, usage=(SERVER,))
    mine = root.issue(tmp_path / "mine")

    async def talk(served: Served) -> None:
        async with conversation(served, channel_credentials(mine)) as call:
            await call.write(HELLO)
            await call.read()
            before = await asyncio.to_thread(look, served)
            root.issue(tmp_path / "hub", uri=HUB_URI, usage=(SERVER,))
            after = await asyncio.to_thread(look, served)
            assert before != after
            identity.key.write_bytes(b"half a key")  # in the middle of a replacement
            assert await asyncio.to_thread(look, served) == after
            await call.write(pb.FromAgent(order_taken=pb.OrderTaken(order_id="x")))
            await call.write(wire_event())
            assert (await call.read()).WhichOneof("of") in ("ack", "nack")

    def look(served: Served) -> bytes:
        return hub_certificate.look(f"localhost:{served.port}", "localhost", mine)

    with Served(database, identity, Admission()) as served:
        asyncio.run(talk(served))


def test_a_server_with_a_key_of_another_certificate_does_not_start(
    root: AnyAuthority, tmp_path: Path
) -> None:
    identity = root.issue(tmp_path, uri=HUB_URI, usage=(SERVER,))
    root.issue(tmp_path / "other")
    identity.key.write_bytes((tmp_path / "other" / "key.pem").read_bytes())
    with pytest.raises(SettingsError, match="mismatch"):
        server_credentials(identity)


def test_the_tables_authority_issues_what_is_good_when_nothing_is_wrong(
    served: Served, root: AnyAuthority, tmp_path: Path
) -> None:
    """Or every refusal above could be for another reason."""
    for kind, at in ((p256(), "a"), (None, "b")):
        one = root.issue(tmp_path / at, key=kind)
        assert hello(served, channel_credentials(one)).WhichOneof("of") == "welcome"


def wire_event() -> pb.FromAgent:
    return pb.FromAgent(event=pb.Event(event_id="no uuid"))


def nothing_happened(served: Served, database: Database) -> bool:
    assert served.transport is not None
    return served.transport.connected == [] and outbox(database) == []
