"""Serve the console over TLS with gunicorn: one process, some threads, a graceful end."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from appliance.errors import LaunchError, SettingsError
from audit.errors import VkeyError
from audit.note import parse_vkey
from hub import own_certificates, secrets
from hub.console.app import create_app
from hub.console.secrets import ConsoleSecrets, secrets_of, session_key
from hub.console.settings import ConsoleSettings
from hub.own_certificates import OwnCertificates
from hub.persist.in_force import tell_settings_once_it_can
from hub.trust import HubTrust
from vault.own import Own
from vault.references import is_reference

_log = logging.getLogger(__name__)
_GRACE_S = 10  # requests under way at the end may take so long


def check(settings: ConsoleSettings) -> None:
    """Whether it could start: certificate, key and session key can be read and fit."""
    _tls(settings)
    secrets.check(settings, settings.session_key)
    if not is_reference(str(settings.session_key)):
        session_key(settings)
    if settings.trust_root:
        HubTrust(settings.trust_root)
    if settings.log_vkey:
        _vkey(settings.log_vkey)


def run(settings: ConsoleSettings) -> int:
    """Serve until a signal ends it; the exit status."""
    own_certificates.settle(_owned(settings))
    check(settings)
    known = secrets_of(settings, wait=threading.Event())
    _free(settings)
    _log.info("console on https://%s:%d", settings.bind, settings.port)
    try:
        _Gunicorn(settings, known).run()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def _owned(settings: ConsoleSettings) -> list[Own]:
    if settings.vault is None:
        return []
    own = Own(
        role="console",
        certificate=settings.certificate,
        key=settings.key,
        signer="console",
        signer_pair=(settings.certificate, settings.key),
        vault=settings.vault,
    )
    return [own, *own_certificates.of_database(own, settings.dsn)]


def _vkey(path: Path) -> None:
    try:
        parse_vkey(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, VkeyError) as error:
        raise SettingsError(f"log_vkey: {path}: {error}") from error


def _free(settings: ConsoleSettings) -> None:
    """Refuse a taken address in one line; gunicorn would try again and again."""
    try:
        family = socket.getaddrinfo(settings.bind, settings.port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.bind, settings.port))
    except OSError as error:
        raise LaunchError(
            f"console: cannot listen on {settings.bind} port {settings.port}: {error.strerror};"
            " change `bind` or `port`, or end what listens there"
        ) from error


def _tls(settings: ConsoleSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"certificate and key: {settings.certificate}, {settings.key}: {error}"
        ) from error
    return context


class _Journal(Logger):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's own messages as lines of this program's log; no access log, links are secret."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)
        self._access_log_enabled = False

    def access(self, *_: Any) -> None:
        """Addresses hold one-time tokens; they are not logged."""

    def reopen_files(self) -> None:
        """There are no files."""

    def close_on_exec(self) -> None:
        """There are no files."""


class _Gunicorn(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn without its command line and configuration file."""

    def __init__(self, settings: ConsoleSettings, known: ConsoleSecrets) -> None:
        self._settings, self._secrets = settings, known
        self._good: ssl.SSLContext | None = None
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        for key, value in {
            "bind": [f"{settings.bind}:{settings.port}"],
            "worker_class": "gthread",
            "workers": 1,
            "threads": settings.threads,
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - gunicorn's heartbeat file, unlinked at once
            "graceful_timeout": _GRACE_S,
            "keepalive": 15,
            "limit_request_line": 4094,
            "certfile": str(settings.certificate),
            "keyfile": str(settings.key),
            "ssl_context": self._context,
            "logger_class": _Journal,
            "proc_name": "sentinel-console",
            "control_socket_disable": True,
            "forwarded_allow_ips": "",
        }.items():
            self.cfg.set(key, value)

    def load(self) -> Flask:
        """In the worker, after the fork: database connections must not be shared with it."""
        app = create_app(self._settings, self._secrets)
        words = (app.extensions["database"], "console", self._settings, threading.Event())
        threading.Thread(target=tell_settings_once_it_can, args=words, daemon=True).start()
        own = OwnCertificates(_owned(self._settings), threading.Event())
        app.extensions["certificates"] = own
        own.start()
        return app

    def _context(self, _config: Any, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Asked for every connection, so a renewed certificate counts without a restart."""
        try:
            self._good = _tls(self._settings)
        except SettingsError as error:  # in the middle of a replacement
            if self._good is None:
                raise
            _log.warning("%s; going on with the one before", error)
        return self._good
