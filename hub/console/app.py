"""Put the console together: one Flask application from one settings record."""

from datetime import timedelta

from flask import Flask
from flask_wtf import CSRFProtect

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
from hub.console.secrets import ConsoleSecrets, secrets_of
from hub.console.settings import ConsoleSettings
from hub.persist.database import Database
from hub.trust import HubTrust

_PAGES = (signin, incidents, incident, nodes, audit, audit_export, trust, status, people, keys)


def create_app(settings: ConsoleSettings, secrets: ConsoleSecrets | None = None) -> Flask:
    """The application; it opens its own pool of database connections."""
    known = secrets or secrets_of(settings)
    app = Flask("hub.console")
    app.config.update(
        SECRET_KEY=known.session_key,
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
    database = Database(known.dsn, size=settings.database_connections)
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
