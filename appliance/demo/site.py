"""The demo's folder: ports, keys, certificates and one settings file for each daemon.

Everything is below one folder, so that removing it removes the demo. The files are the same that
a real site has; reading them is a way to learn how one is set up.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from appliance import envelope, launch
from appliance.demo import leak
from appliance.records import Mode
from audit.signer import LocalSigner
from vault.pki import Issued, Pki

NODE = "demo-node"
OPERATOR = "demo"
HUB_NAME = "localhost"
ORIGIN = "demo.sentinel.internal/log"
LEAK_LIMIT_MB = 120  # the fault is over this long before it is over its own bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The loopback ports of the demo."""

    console: int
    hub: int
    vault: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the demo keeps what, and which ports it uses."""

    root: Path
    ports: Ports
    mode: Mode
    model: Path | None
    dsn: str
    vault_token: str
    password_only: bool = False  # an attended demo: browsers trust its certificate too little

    @property
    def operator_key(self) -> Path:
        """The demo operator's own key."""
        return self.root / "keys" / "operator.key"

    @property
    def log_folder(self) -> Path:
        """The audit log."""
        return self.root / "audit"

    @property
    def vkey(self) -> Path:
        """The audit log's public key, as the node pins it."""
        return self.root / "keys" / "log.vkey"

    @property
    def trust(self) -> Path:
        """The trust repository, which the demo's signers sign in."""
        return self.root / "trust"

    @property
    def trust_root(self) -> Path:
        """The root that hub, console and node pin."""
        return self.root / "root.json"

    @property
    def console_url(self) -> str:
        """Where a browser finds the console."""
        return f"https://localhost:{self.ports.console}"

    @property
    def ca(self) -> Path:
        """The CA that signed the console's certificate."""
        return self.root / "identity" / "console" / "ca.pem"

    def settings(self, name: str) -> Path:
        """The settings file of one daemon."""
        return self.root / "config" / f"{name}.toml"


def make_token() -> str:
    """A root token for the demo's own Vault; it ends with the demo."""
    return secrets.token_urlsafe(24)


def make_keys(site: Site) -> None:
    """The order key and the audit key, once; a second start on the same folder keeps them."""
    keys = site.root / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    for name in ("order.key", "audit.key"):
        if not (keys / name).exists():
            envelope.make_key(keys / name)
    signer = LocalSigner.from_pem(ORIGIN, (keys / "audit.key").read_bytes())
    site.vkey.write_text(signer.vkey + "\n", encoding="ascii")


def make_identities(site: Site, pki: Pki) -> None:
    """Certificates of hub, console and node, issued by Vault for keys made here."""
    folder = site.root / "identity"
    local = {"dns": [HUB_NAME], "addresses": ["127.0.0.1"]}
    pki.issue(
        role="hub", name=HUB_NAME, uri="spiffe://sentinel/hub", folder=folder / "hub", **local
    )
    pki.issue(
        role="console", name=HUB_NAME, uri="spiffe://sentinel/console", folder=folder / "console",
        **local,
    )  # fmt: skip
    pki.issue(role="node", name=NODE, uri=f"spiffe://sentinel/node/{NODE}", folder=folder / "node")


def write_settings(site: Site) -> None:
    """One TOML file for each daemon, as at a real site."""
    (site.root / "config").mkdir(exist_ok=True)
    for name in ("agent", "executor", "console"):
        (site.root / name).mkdir(exist_ok=True)
    texts = {
        "serve": _serve(site),
        "notary": _notary(site),
        "reason": _reason(site),
        "console": _console(site),
        "agent": _agent(site),
        "executor": _executor(site),
    }
    for name, text in texts.items():
        site.settings(name).write_text(text, encoding="utf-8")


def _identity(site: Site, name: str) -> str:
    folder = site.root / "identity" / name
    issued = Issued(certificate=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem")
    return f"""[identity]
certificate = "{issued.certificate}"
key = "{issued.key}"
ca = "{issued.ca}"
"""


def _serve(site: Site) -> str:
    return f"""dsn = "{site.dsn}"
bind = "127.0.0.1"
port = {site.ports.hub}
order_key = "{site.root}/keys/order.key"
log_origin = "{ORIGIN}"
audit_vkey = "{site.vkey}"
trust_root = "{site.trust_root}"
trust_key = "{site.root}/keys/online.key"
mode = "{site.mode.value}"

{_identity(site, "hub")}"""


def _notary(site: Site) -> str:
    return f"""dsn = "{site.dsn}"
folder = "{site.log_folder}"
origin = "{ORIGIN}"
key = "{site.root}/keys/audit.key"
trust_root = "{site.trust_root}"
"""


def _reason(site: Site) -> str:
    model = f'model = "{site.model}"\n' if site.model else ""
    return f'dsn = "{site.dsn}"\n{model}'


def _console(site: Site) -> str:
    folder = site.root / "identity" / "console"
    return f"""dsn = "{site.dsn}"
bind = "127.0.0.1"
port = {site.ports.console}
certificate = "{folder}/cert.pem"
key = "{folder}/key.pem"
session_key = "{site.root}/console/session.key"
trust_root = "{site.trust_root}"
log = "{site.log_folder}"
log_vkey = "{site.vkey}"
"""


def _agent(site: Site) -> str:
    return f"""hub = "127.0.0.1:{site.ports.hub}"
hub_name = "{HUB_NAME}"
state_dir = "{site.root}/agent"
executor_socket = "{site.root}/executor/socket"
cycle_s = 1.0
fire_after = 3
clear_after = 2
hold_s = 15.0

{_identity(site, "node")}
[limits]
# The demo watches its own fault; the rest of this machine is left alone as far as it goes.
process_memory_mb = {{ "{leak.NAME}" = {LEAK_LIMIT_MB} }}
process_memory_percent = 90.0
host_memory_percent = 99.0
cpu_percent = 100.0
load_per_cpu = 100.0
disk_percent = 99.9
inodes_percent = 99.9
"""


def _executor(site: Site) -> str:
    return f"""node = "{NODE}"
socket = "{site.root}/executor/socket"
state_dir = "{site.root}/executor"
trust_root = "{site.trust_root}"
mode = "{site.mode.value}"
"""


def default_model() -> Path:
    """The model that comes with the demo."""
    return launch.demo_model()
