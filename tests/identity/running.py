"""A real hub process and the real transport of a node, under certificates of a real Vault."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent.spool import Spool
from agent.transport import Transport
from appliance import envelope
from appliance.channel import Identity
from appliance.launch import Part, free_port, port_is_open
from audit.note import Vkey
from tests.identity.conftest import Site
from vault.settings import VaultSite


def eventually(condition: Callable[[], bool], *, within_s: float = 30) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Hub:
    """`sentinel-hub serve`."""

    def __init__(
        self, site: Site, dsn: str, folder: Path, *, vault: VaultSite | None = None
    ) -> None:
        self.port, self.settings = free_port(), folder / "serve.toml"
        self._site = site
        vault = vault or site.vault
        mine = site.hub(folder / "hub")
        envelope.make_key(folder / "order.key")
        key = envelope.make_key(folder / "log.key").public_key().public_bytes_raw()
        (folder / "log.vkey").write_text(f"{Vkey(name='site.example/log', key=key)}\n")
        self.settings.write_text(f"""dsn = "{dsn}"
order_key = "{folder}/order.key"
log_origin = "site.example/log"
audit_vkey = "{folder}/log.vkey"
bind = "127.0.0.1"
port = {self.port}
crl = "{folder}/crl.pem"
crl_every_s = 0.5
[identity]
certificate = "{mine.certificate}"
key = "{mine.key}"
ca = "{mine.ca}"
[vault]
url = "{vault.url}"
ca = "{vault.ca}"
""")
        words = [sys.executable, "-m", "hub", "serve", "--config", str(self.settings)]
        self.part: Part = site.launcher.start(f"hub-{self.port}", words)
        site.launcher.wait(self.part, lambda: port_is_open(self.port), timeout_s=60)

    def stop(self) -> None:
        self._site.launcher.stop(self.part)


def transport(hub: Hub, identity: Identity, folder: Path) -> Transport:
    folder.mkdir(parents=True, exist_ok=True)
    made = Transport(
        hub=f"localhost:{hub.port}",
        hub_name="localhost",
        identity=identity,
        spool=Spool(folder / "spool.db", limit_bytes=1 << 20),
        boot_id="b00t",
        dry_run=lambda: True,
        take_order=lambda *_: None,
    )
    made.start()
    return made
