"""Settings of `sentinel-hub console`, one TOML file.

dsn = "dbname=sentinel host=/run/sentinel-postgres"
certificate = "/etc/sentinel/console/tls.crt"
key = "/etc/sentinel/console/tls.key"
session_key = "/var/lib/sentinel/console/session.key"
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from appliance.settings import Settings
from hub.persist.sign_in import SigninRules
from vault.access import VaultAccess
from vault.settings import VaultSite

Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class ConsoleSettings(Settings, frozen=True, kw_only=True):
    """`sentinel-hub console`: who may reach it, how long a sign-in lasts, what stops guessing."""

    dsn: str  # PostgreSQL connection string, without a password
    password: str | None = None  # where its password is: `vault:PATH#FIELD` or `credential:NAME`
    secrets: VaultAccess | None = None  # the Vault that `vault:` is in
    certificate: Path  # TLS certificate chain (PEM) that browsers see
    key: Path  # its private key (PEM)
    session_key: Path  # secret of the form tokens: a file, made when missing; or as `password`
    trust_root: Path | None = None  # the site's TUF root, to say who may answer
    log: Path | None = None  # the audit log's folder, to verify what is shown; only read
    log_vkey: Path | None = None  # the log's key, or its root key; none: the one in the folder
    vault: VaultSite | None = None  # where its certificate comes from; with it, it renews itself
    bind: str = "127.0.0.1"  # address to listen on
    port: Port = 8443
    names: tuple[str, ...] = ()  # host names a browser may use; empty: any
    threads: Count = 8  # requests served at once
    database_connections: Count = 4
    idle_min: Count = 30  # without a click; a page that refreshes itself is not a click
    absolute_min: Count = 600  # then sign in again, whatever happened
    lockout_failures: Count = 5  # wrong guesses for one name …
    lockout_address_failures: Count = 20  # … or from one address …
    lockout_min: Count = 15  # … within this time, and locked until it has passed
    link_min: Count = 60  # a one-time sign-in link is good for
    page_rows: Count = 50  # of a list
    refresh_s: Count = 2  # how often an open page asks for what is new
    max_body_bytes: Annotated[int, msgspec.Meta(ge=4096)] = 64 * 1024  # of one request

    @property
    def rules(self) -> SigninRules:
        """The part about signing in."""
        return SigninRules(
            failures=self.lockout_failures,
            address_failures=self.lockout_address_failures,
            lockout=timedelta(minutes=self.lockout_min),
            idle=timedelta(minutes=self.idle_min),
            absolute=timedelta(minutes=self.absolute_min),
        )
