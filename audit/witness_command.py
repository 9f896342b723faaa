"""`sentinel-witness`: an independent witness of audit logs, on a machine that is not the hub's.

It offers C2SP `add-checkpoint` for the logs it was given the keys of, and cosigns a checkpoint only
when all it cosigned before is in it. Whoever restores a hub from an old backup, or shows two
histories, is told no by it, and leaves two signed notes with it. It needs nothing of the hub's.
"""

import argparse
import logging
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import __version__, journal, settings
from appliance.envelope import load_key
from appliance.errors import SentinelError, SettingsError
from appliance.settings import Settings
from audit.add_checkpoint import (
    CONFLICT,
    MAX_BODY_BYTES,
    OK,
    SIZE_TYPE,
    Asked,
    Held,
    NotCosignedError,
    judge,
    origin_of,
    read,
)
from audit.checkpoint import open_checkpoint
from audit.cosignature import WitnessKey, cosign
from audit.errors import AuditRefusedError, VkeyError, WitnessError
from audit.note import Vkey, is_name, parse_vkey, split_note
from audit.witness_state import WitnessState

MOST_AT_ONCE = 32  # requests; a log asks every few seconds
PATIENCE_S = 10.0  # for a request that comes byte by byte
PATH = "/add-checkpoint"

_log = logging.getLogger(__name__)

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class WitnessSettings(Settings, frozen=True, kw_only=True):
    """`sentinel-witness`: who it is, which logs it knows, where it listens."""

    name: str  # of this witness, as in its vkey: a schema-less URL such as audit.site/witness
    key: Path  # its Ed25519 private key (PEM)
    state_dir: Path  # what it has cosigned; lost, it would cosign another history once
    logs: tuple[str, ...]  # the vkeys of the logs it knows; several of one origin while keys change
    bind: str = "127.0.0.1"
    port: Port = 7445
    certificate: Path | None = None  # TLS certificate chain (PEM); none: plain HTTP
    certificate_key: Path | None = None  # its private key (PEM)


class Witness:
    """One name and key, and the logs it knows."""

    def __init__(self, chosen: WitnessSettings, state: WitnessState) -> None:
        self._key = load_key(chosen.key)
        self._name = _public(chosen.name, self._key)
        self.logs = _logs(chosen.logs)
        self._state = state

    def add(self, asked: Asked) -> bytes:
        """The cosignature lines; when they are out, a restart knows. Raises `NotCosignedError`."""
        origin = origin_of(asked)
        with self._state.one_at_a_time():
            held = self._state.held(origin) if origin in self.logs else Held()
            try:
                new = judge(asked, held, self.logs.get(origin, ()))
            except NotCosignedError as refusal:
                if refusal.evidence:
                    self._state.keep_evidence(origin, held, asked.note)
                    _log.critical("the log %s does not extend what was seen: %s", origin, refusal)
                raise
            if new != held:
                self._state.hold(origin, new)
        # From here on a restart holds it. Nobody was told yet: the log asks again, is told the
        # size, and gets its cosignature for the same checkpoint with an empty proof.
        text = split_note(asked.note)[0]
        return f"{cosign(text, self._name, sign=self._key.sign, at=int(time.time()))}\n".encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        super().__init__(address, _Handler)
        self.witness = witness
        self.room = threading.BoundedSemaphore(MOST_AT_ONCE)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "sentinel-witness"
    sys_version = ""
    timeout = PATIENCE_S

    def do_POST(self) -> None:
        server = cast("_Server", self.server)
        if not server.room.acquire(blocking=False):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"busy\n", close=True)
            return
        try:
            self._add(server.witness)
        finally:
            server.room.release()

    def _add(self, witness: Witness) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != PATH:
            self._answer(HTTPStatus.NOT_FOUND, b"POST /add-checkpoint\n", close=True)
        elif not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"a length, and less\n", close=True)
        else:
            self._judge(witness, self.rfile.read(int(length)))

    def _judge(self, witness: Witness, data: bytes) -> None:
        try:
            self._answer(OK, witness.add(read(data)))
        except NotCosignedError as refusal:
            _log.warning("%s %s", refusal.status, journal.shown(str(refusal)))
            if refusal.status == CONFLICT:
                self._answer(CONFLICT, f"{refusal.size}\n".encode(), kind=SIZE_TYPE)
            else:
                self._answer(refusal.status, f"{journal.shown(str(refusal))}\n".encode())
        except WitnessError as error:
            _log.critical("nothing is cosigned: %s", error)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"the witness's disk fails\n")

    def _answer(
        self, status: int, body: bytes, *, kind: str = "text/plain; charset=utf-8",
        close: bool = False,
    ) -> None:  # fmt: skip
        self.close_connection = self.close_connection or close
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        _log.debug("%s %s", self.address_string(), journal.shown(format % args))


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; 0 when it ended as asked, 1 refused, 2 could not tell."""
    asked = _parser().parse_args(argv)
    journal.start("sentinel-witness", verbose=asked.verbose)
    try:
        chosen = settings.load(asked.config, WitnessSettings)
        if asked.show_key:
            sys.stdout.write(f"{_public(chosen.name, load_key(chosen.key))}\n")
            return 0
        state = WitnessState(chosen.state_dir)
        try:
            witness = Witness(chosen, state)
            if asked.accept is not None:
                return _accept(state, witness, asked.accept)
            if asked.check_config:
                sys.stdout.write(f"{asked.config}: the settings are right\n")
                return 0
            return _serve(chosen, witness)
        finally:
            state.close()
    except (SentinelError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"sentinel-witness: {error}\n")
        return getattr(error, "exit_status", 2)


def _serve(chosen: WitnessSettings, witness: Witness) -> int:
    server = _Server((chosen.bind, chosen.port), witness)
    if chosen.certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(chosen.certificate, chosen.certificate_key)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    _log.info("listening on %s:%d, pid %d", *server.server_address[:2], os.getpid())
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.2)
    server.server_close()
    return 0


def _accept(state: WitnessState, witness: Witness, path: Path) -> int:
    """People decided that a log which was set back goes on from this checkpoint."""
    note = path.read_text(encoding="utf-8")
    origin = origin_of(Asked(old=0, path=(), note=note))
    try:
        new = open_checkpoint(note, witness.logs.get(origin, ()))
    except AuditRefusedError as error:
        raise AuditRefusedError(f"that checkpoint is not believed: {error}") from error
    held = state.held(origin)
    if held.size:
        state.keep_evidence(origin, held, note)
    state.hold(origin, Held(size=new.size, root=new.root, note=note))
    sys.stdout.write(
        f"{origin}: {new.size} entries from now on, {held.size} were cosigned before; both notes"
        f" are kept\n{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z\n"
    )
    return 0


def _public(name: str, key: Ed25519PrivateKey) -> WitnessKey:
    if not is_name(name):
        raise SettingsError(f"name: {name!r} cannot be the name of a witness: a space or a plus")
    return WitnessKey(name=name, key=key.public_key().public_bytes_raw())


def _logs(texts: Sequence[str]) -> dict[str, list[Vkey]]:
    found: dict[str, list[Vkey]] = {}
    try:
        for vkey in map(parse_vkey, texts):
            found.setdefault(vkey.name, []).append(vkey)
    except VkeyError as error:
        raise SettingsError(f"logs: {error}") from error
    if not found:
        raise SettingsError("logs: a witness needs the vkey of a log")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sentinel-witness", description=__doc__)
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    default = Path("/etc/sentinel/witness.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"settings file (default: {default})"
    )
    parser.add_argument("--check-config", action="store_true", help="read all of it, and say so")
    parser.add_argument("--show-key", action="store_true", help="the vkey, for the site's policy")
    parser.add_argument(
        "--accept",
        type=Path,
        metavar="NOTE",
        help="from now on this signed checkpoint is where its log stands, though it does not "
        "extend what was cosigned: after docs/GOING-ON-AFTER-A-FORK.md; stop it before",
    )
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    sys.exit(main())
