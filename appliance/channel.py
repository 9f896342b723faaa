"""The mTLS channel between agents and hub: credentials, limits, and who the peer is.

A certificate names its role and its bearer in one URI (SPIFFE ID, `spiffe://sentinel/node/NAME`),
so that a server's or console's certificate from the same CA cannot speak as a node. gRPC's TLS
stack checks chain, validity and key usage; the client checks the hub's DNS name as well.
"""

import logging
import re
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path

import grpc

from appliance.errors import IdentityError, SettingsError
from appliance.settings import Settings

MAX_MESSAGE_BYTES = 1024 * 1024  # a finding has at most 256 KiB of evidence; 10 MB is an attack
NODE_URI = re.compile(r"spiffe://sentinel/node/(?P<name>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)\Z")

LIMITS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),  # a cut cable is noticed, not waited for
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
SERVER_LIMITS = [
    *LIMITS,
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
]
CLIENT_LIMITS = [
    *LIMITS,
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 15_000),
]


_log = logging.getLogger(__name__)


class Identity(Settings, frozen=True, kw_only=True):
    """Where a process finds its certificate, its key and the CA it believes (PEM files)."""

    certificate: Path  # the chain, leaf first
    key: Path
    ca: Path


def server_credentials(identity: Identity) -> grpc.ServerCredentials:
    """Credentials of a server that demands a client certificate of the same CA.

    A renewed certificate counts from the next handshake on, without a restart.
    """
    files = _Renewed(identity)
    return grpc.dynamic_ssl_server_credentials(
        files.configuration(),
        files.changed,  # type: ignore[arg-type]  # None: as it is, says grpc's own documentation
        require_client_authentication=True,
    )


def channel_credentials(
    identity: Identity, *, believes: bytes | None = None
) -> grpc.ChannelCredentials:
    """Credentials of a client that shows its own certificate and believes only this CA.

    Or believes `believes` alone: certificates that were looked at before, in PEM.
    """
    return grpc.ssl_channel_credentials(
        root_certificates=believes or _read(identity.ca),
        private_key=_read(identity.key),
        certificate_chain=_read(identity.certificate),
    )


class _Renewed:
    """The identity's files, read again when they changed; two that do not fit are not taken."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._seen = self._marks()

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """What lies in the files now; raises `SettingsError` when it is no identity."""
        one = self._identity
        pair = (_read(one.key), _read(one.certificate))
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(one.certificate, one.key)
            context.load_verify_locations(one.ca)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"{one.certificate}, {one.key}, {one.ca}: {error}") from error
        return grpc.ssl_server_certificate_configuration([pair], _read(one.ca))

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """At each handshake: the new identity, or None to go on with the one in use."""
        try:
            marks = self._marks()
            if marks == self._seen:
                return None
            made = self.configuration()
        except SettingsError as error:
            _log.warning("the renewed identity is not taken yet: %s", error)
            return None
        self._seen = marks
        return made

    def _marks(self) -> tuple[tuple[int, int], ...]:
        one = self._identity
        try:
            found = [path.stat() for path in (one.certificate, one.key, one.ca)]
        except OSError as error:
            raise SettingsError(f"{error.filename}: cannot read: {error.strerror}") from error
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in found)


def node_name(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """The node a peer's verified certificate names; raises `IdentityError` if none or several."""
    names = [
        bytes(name).decode("utf-8", "replace")
        for name in auth_context.get("x509_subject_alternative_name", ())
    ]
    nodes = [found["name"] for name in names if (found := NODE_URI.match(name))]
    if len(nodes) != 1:
        raise IdentityError(
            f"expected a certificate with one URI spiffe://sentinel/node/NAME, got {names}"
        )
    return nodes[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot read: {error.strerror}") from error
