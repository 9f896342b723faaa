"""Settings of `sentinel setup vault`, one TOML file; the defaults suit a Vault of our own.

url = "https://vault.site.example:8200"
ca = "/etc/sentinel/vault-ca.pem"
"""

from pathlib import Path
from typing import Annotated

import msgspec

from appliance.settings import Settings

Lifetime = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,6}[smh]\Z")]
Mount = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*\Z")
]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")]

_UNIT_S = {"s": 1, "m": 60, "h": 3600}


class Mounts(Settings, frozen=True, kw_only=True):
    """Where things are in Vault; what a site has already may be named here."""

    root: Mount = "pki_root"  # the root CA; not used when the CA is the site's own
    pki: Mount = "pki_int"  # the intermediate CA, which signs all certificates
    transit: Mount = "sentinel-transit"
    kv: Mount = "sentinel-kv"  # KV version 2
    approle: Mount = "sentinel-approle"
    cert: Mount = "cert"  # sign-on by certificate


class Lifetimes(Settings, frozen=True, kw_only=True):
    """How long what is signed lives: a number and `h`, `m` or `s`."""

    root: Lifetime = "87600h"
    intermediate: Lifetime = "43800h"
    server: Lifetime = "720h"  # certificates of hub and console
    node: Lifetime = "72h"
    database: Lifetime = "720h"  # the client certificate towards PostgreSQL
    token: Lifetime = "10m"  # noqa: S105 - of a log-in; an errand takes seconds
    secret_id: Lifetime = "8760h"  # noqa: S105 - AppRole's other half; replace it sooner


class SetupSettings(Settings, frozen=True, kw_only=True):
    """`sentinel setup vault`: which Vault, which names in it, how long things live."""

    url: str  # of Vault or OpenBao
    ca: Path | None = None  # of Vault's certificate, in PEM
    namespace: str = ""
    mounts: Mounts = msgspec.field(default_factory=Mounts)
    lifetimes: Lifetimes = msgspec.field(default_factory=Lifetimes)
    own_ca: bool = False  # the site's own CA signs the intermediate: no root is made here
    prefix: Name = "sentinel"  # of the policies' names
    log_key: Name = "sentinel-audit"  # Ed25519 key that signs the audit log, too
    database_user: Name = "sentinel"  # PostgreSQL's role, the name in its client certificate
    audit_device: Name = "sentinel"
    audit_file: str = "/var/log/openbao/audit.log"  # on Vault's machine


def seconds(lifetime: str) -> int:
    """How many seconds `72h` is."""
    return int(lifetime[:-1]) * _UNIT_S[lifetime[-1]]
