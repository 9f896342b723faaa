"""Start every part of the appliance in its order, and wait until each is ready.

PostgreSQL, Vault, then the hub's four processes, then the node's two. Each waits for what it
needs by itself; here we only wait so that the demo can say what happened, and when.
"""

import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.demo import leak, site, trust
from appliance.demo.site import OPERATOR, Ports, Site
from appliance.launch import (
    Bao,
    Launcher,
    Part,
    Postgres,
    demand_free_port,
    free_port,
    port_is_open,
)
from appliance.records import Mode
from hub.persist import operators
from hub.persist.database import Database
from hub.persist.migrate import migrate
from hub.persist.outbox import actor
from vault.pki import Pki, wait_ready

LINK_VALID = timedelta(hours=1)
START_WITHIN_S = 60

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asked for."""

    root: Path
    mode: Mode
    model: Path | None
    console_port: int | None
    hub_port: int | None
    vault_port: int | None
    password_only: bool = False  # no operator's key is asked for


@dataclass(slots=True)
class Assembly:
    """The running appliance."""

    wanted: Wanted
    launcher: Launcher
    say: Say
    postgres: Postgres | None = None
    password: str = ""

    def start(self) -> Site:
        """Start everything; raises `LaunchError` naming the part that did not start."""
        ports = _ports(self.wanted)
        dsn = self._start_postgres()
        chosen = Site(
            root=self.wanted.root,
            ports=ports,
            mode=self.wanted.mode,
            model=self.wanted.model,
            dsn=dsn,
            vault_token=site.make_token(),
        )
        self._start_vault(chosen)
        site.make_keys(chosen)
        site.write_settings(chosen)
        self._publish(chosen)
        self._start_hub(chosen)
        self._start_node(chosen)
        return chosen

    def first_operator(self, db: Database) -> str:
        """The demo's operator with a fresh password; returns a one-time sign-in token."""
        by, now = actor("hub", "demo"), datetime.now(UTC)
        self.password = secrets.token_urlsafe(18)
        if any(one.name == OPERATOR for one in operators.listed(db)):
            operators.set_password(db, name=OPERATOR, password=self.password, by=by, now=now)
        else:
            operators.add(db, name=OPERATOR, role="admin", by=by, now=now, password=self.password)
        return operators.new_link(db, name=OPERATOR, valid_for=LINK_VALID, by=by, now=now)

    def start_fault(self, *, limit_mb: int, rate_mb: float) -> Part:
        """A real process that really leaks, outside the appliance."""
        words = [sys.executable, leak.__file__, "--limit-mb", str(limit_mb)]
        return self.launcher.start("leak", [*words, "--rate-mb", str(rate_mb)])

    def stop(self) -> None:
        """End everything we started, the last first."""
        if self.postgres is not None and self.postgres.part in self.launcher.parts:
            self.launcher.parts.remove(self.postgres.part)
            self.launcher.parts.insert(0, self.postgres.part)
        self.launcher.stop_all()
        if self.postgres is not None:
            self.postgres.close()

    def _start_postgres(self) -> str:
        self.postgres = Postgres(folder=self.wanted.root / "postgres", launcher=self.launcher)
        self.postgres.start()
        if not self.postgres.exists("sentinel"):
            self.postgres.create("sentinel")
        dsn = self.postgres.dsn()
        migrate(dsn)
        self.say("start", "PostgreSQL, socket only")
        return dsn

    def _start_vault(self, chosen: Site) -> None:
        vault = Bao(launcher=self.launcher, port=chosen.ports.vault, token=chosen.vault_token)
        vault.start()
        wait_ready(vault.url)
        pki = Pki(url=vault.url, token=vault.token)
        pki.bootstrap()
        site.make_identities(chosen, pki)
        self.say("start", "Vault API (OpenBao); certificates issued for hub, console and node")

    def _publish(self, chosen: Site) -> None:
        password_only = self.wanted.password_only
        told = trust.publish(chosen, operator=OPERATOR, password_only=password_only)
        self.say("start", f"policy, people and keys by {len(trust.SIGNERS)} signers; {told[0]}")

    def _start_hub(self, chosen: Site) -> None:
        for name in ("notary", "serve", "reason", "console"):
            self._daemon(chosen, name, "-m", "hub", name)
        self._wait("serve", lambda: port_is_open(chosen.ports.hub))
        self._wait("console", lambda: port_is_open(chosen.ports.console))
        model = chosen.model.name if chosen.model else "no model"
        self.say("start", f"hub, notary, console, reasoner with {model}")

    def _start_node(self, chosen: Site) -> None:
        socket = chosen.root / "executor" / "socket"
        socket.unlink(missing_ok=True)
        self._daemon(chosen, "executor", "-m", "agent.executor_process")
        self._wait("executor", socket.exists)
        self._daemon(chosen, "agent", "-m", "agent", "run")
        self.say("start", f"agent and executor of {site.NODE}, {chosen.mode.value}")

    def _daemon(self, chosen: Site, name: str, *words: str) -> None:
        argv = [sys.executable, *words, "--config", str(chosen.settings(name))]
        self.launcher.start(name, argv, environment={"PYTHONUNBUFFERED": "1"})

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        part = next(part for part in self.launcher.parts if part.name == name)
        self.launcher.wait(part, ready, timeout_s=START_WITHIN_S)


def make_root(wanted: Path | None) -> Path:
    """The demo's folder: the one asked for, or a fresh one."""
    if wanted is None:
        import tempfile  # noqa: PLC0415 - only here

        return Path(tempfile.mkdtemp(prefix="sentinel-demo-"))
    wanted.mkdir(parents=True, exist_ok=True)
    wanted.chmod(0o755 if os.geteuid() == 0 else 0o700)
    return wanted.resolve()


def _ports(wanted: Wanted) -> Ports:
    asked = {
        "console": (wanted.console_port, "--port"),
        "hub": (wanted.hub_port, "--hub-port"),
        "vault": (wanted.vault_port, "--vault-port"),
    }
    for what, (port, option) in asked.items():
        if port:
            demand_free_port(port, what=what, option=option)
    return Ports(**{what: port or free_port() for what, (port, _) in asked.items()})
