"""Put the console together: one Flask application from one settings record."""

import os
from datetime import timedelta
from pathlib import Path

from flask import Flask
from flask_wtf import CSRFProtect

from appliance.errors import SettingsError
from hub.console import errors, present, security, signing
from hub.console.log_check import LogCheck
from hub.console.pages import (
    audit,
    audit_export,
    incident,
    incidents,
    keys,
    nodes,
    people,
    signin,
    status,
    trust,
)
from hub.console.settings import ConsoleSettings
from hub.persist.database import Database
from hub.trust import HubTrust

_PAGES = (signin, incidents, incident, nodes, audit, audit_export, trust, status, people, keys)
_KEY_BYTES = 32


def create_app(settings: ConsoleSettings) -> Flask:
    """The application; it opens its own pool of database connections."""
    app = Flask("hub.console")
    app.config.update(
        SECRET_KEY=session_key(settings.session_key),
        SESSION_COOKIE_NAME="__Host-sentinel-form",  # holds the form token, not the sign-in
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=timedelta(minutes=settings.absolute_min),
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        MAX_FORM_MEMORY_SIZE=settings.max_body_bytes,
        MAX_FORM_PARTS=50,
        TRUSTED_HOSTS=list(settings.names) or None,
        WTF_CSRF_TIME_LIMIT=settings.absolute_min * 60,
        WTF_CSRF_SSL_STRICT=False,  # it wants a Referer, which we ask browsers not to send
        PREFERRED_URL_SCHEME="https",
    )
    app.extensions["settings"] = settings
    signed = HubTrust(settings.trust_root) if settings.trust_root else None
    database = Database(settings.dsn, size=settings.database_connections)
    database.people = signed
    app.extensions["database"] = database
    app.extensions["trust"] = signed
    app.extensions["log"] = LogCheck(folder=settings.log, vkey=settings.log_vkey)
    CSRFProtect(app)
    security.install(app)
    errors.install(app)
    present.install(app)
    signing.install(app)
    for page in _PAGES:
        app.register_blueprint(page.pages)
    return app


def session_key(path: Path) -> bytes:
    """The secret that signs form tokens; a missing one is made, readable by its owner only."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
    except FileExistsError:
        pass
    except OSError as error:
        raise SettingsError(f"session_key: cannot make {path}: {error.strerror}") from error
    try:
        secret = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"session_key: cannot read {path}: {error.strerror}") from error
    if len(secret) < _KEY_BYTES:
        raise SettingsError(f"session_key: {path} holds fewer than {_KEY_BYTES} bytes; remove it")
    return secret
