"""A whole appliance for a test: real parts, one fault, and a person who answers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from appliance.demo.people import OPERATOR

from appliance.demo.assembly import Assembly, Wanted
from appliance.demo.command import let_the_log_settle
from appliance.demo.operator import Console, ConsoleError
from appliance.demo.site import Site
from appliance.launch import Launcher, Part
from appliance.records import Mode
from audit.__main__ import main as sentinel_audit
from hub.errors import DatabaseError
from hub.persist.database import Database
from hub.persist.story import since, story

WITHIN_S = 90


@dataclass
class Running:
    """The running appliance, as a test pokes it."""

    assembly: Assembly
    site: Site
    fault: Part | None = None
    seen: list[str] = field(default_factory=list)

    def start_fault(self) -> Part:
        """A leak that is over its limit within seconds."""
        self.fault = self.assembly.start_fault(limit_mb=300, rate_mb=100)
        return self.fault

    def part(self, name: str) -> Part:
        return next(part for part in self.assembly.launcher.parts if part.name == name)

    def kill(self, name: str) -> None:
        """SIGKILL a part with all its children, and start it again."""
        part = self.part(name)
        os.killpg(part.process.pid, signal.SIGKILL)
        part.process.wait()
        self.assembly.launcher.restart(part)

    def incident(self) -> str | None:
        """The incident about the fault, if there is one."""
        assert self.fault is not None
        about = f"pid {self.fault.process.pid} "
        found = [one.incident_id for one in since(self.database(), 0) if about in one.subject]
        return found[0] if found else None

    def state(self) -> str:
        """The state of the fault's incident, or `none` while there is none or no database."""
        try:
            incident = self.incident()
            return str(story(self.database(), incident)["state"]) if incident else "none"
        except DatabaseError:
            return "none"

    def row(self) -> dict[str, Any]:
        """Everything about the fault's incident."""
        incident = self.incident()
        assert incident is not None
        return story(self.database(), incident)

    def until(self, *states: str, within_s: float = WITHIN_S) -> str:
        """Until the fault's incident is in one of these states."""
        wait_for(lambda: self.state() in states, within_s=within_s, why=str(states))
        return self.state()

    def approve(self) -> None:
        """A person's yes at the console, as often as it takes for the console to be there."""
        self.until("awaiting")
        incident = self.incident()
        assert incident is not None

        def answered() -> bool:
            try:
                self.yes(incident)
            except (ConsoleError, httpx.HTTPError):
                return self.state() in ("approved", "dispatched", "executed", "resolved")
            return True

        wait_for(answered, within_s=WITHIN_S, why="the approval")

    def yes(self, incident: str) -> None:
        """Sign in and approve, once."""
        with Console(self.site.console_url, ca=self.site.ca) as console:
            console.sign_in(OPERATOR, self.assembly.password)
            console.approve(incident, comment="test", key=self.site.operator_key)

    def verify(self) -> int:
        """What the auditors' program says of the log, once all is written."""
        let_the_log_settle(self.site)
        part = self.part("notary")
        self.assembly.launcher.stop(part)
        return sentinel_audit(
            ["verify", str(self.site.log_folder), "--vkey-file", str(self.site.vkey)]
        )

    def entries(self, kind: str) -> int:
        """How many entries of a type the log has."""
        files = (self.site.log_folder / "seg").glob("*.jsonl")
        return sum(path.read_text().count(f'"type":"{kind}"') for path in files)

    def database(self) -> Database:
        if self._db is None:
            self._db = Database(self.site.dsn, size=1)
        return self._db

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    _db: Database | None = None


@contextmanager
def running(
    root: Path, *, mode: Mode = Mode.LIVE, model: Path | None = None, password_only: bool = False
) -> Iterator[Running]:
    """Start everything; end everything."""
    (root / "logs").mkdir(parents=True)
    wanted = Wanted(
        root=root, mode=mode, model=model, console_port=None, hub_port=None, vault_port=None,
        password_only=password_only,
    )  # fmt: skip
    assembly = Assembly(wanted, Launcher(root / "logs"), lambda *_: None)
    one: Running | None = None
    try:
        site = assembly.start()
        with Database(site.dsn, size=1) as db:
            assembly.first_operator(db)
        one = Running(assembly, site)
        yield one
    finally:
        if one is not None:
            one.close()
        assembly.stop()


def wait_for(condition: Callable[[], bool], *, within_s: float, why: str) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not come to pass: {why}"
        time.sleep(0.05)
