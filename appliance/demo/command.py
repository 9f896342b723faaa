"""`sentinel demo`: start the appliance, make a real fault, follow it through all eight steps."""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance import launch
from appliance.demo.assembly import Assembly, Wanted, make_root
from appliance.demo.operator import Console
from appliance.demo.site import OPERATOR, Site
from appliance.demo.timeline import Clock, follow, tell
from appliance.errors import LaunchError
from appliance.launch import Launcher, Part
from appliance.lifecycle import State
from appliance.records import Mode
from hub.persist.database import Database
from hub.persist.story import Happening, story

WITHIN_S = 240  # an unattended run that takes longer has failed
ENDS = {  # no further step of the demo follows these
    State.RESOLVED,
    State.REHEARSED,
    State.UNRESOLVED,
    State.REFUSED,
    State.UNKNOWN,
    State.MANUAL,
    State.EXPIRED,
    State.RECOVERED,
}


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run of the demo: the appliance, the fault, and when it began."""

    clock: Clock
    db: Database
    site: Site
    assembly: Assembly
    fault: Part
    fault_at: datetime

    def attended(self) -> int:
        """Print what happens until Ctrl-C."""
        for happening in follow(self.db, until=float("inf")):
            if happening is not None:
                tell(self.clock, self.db, happening)
                if happening.after is State.AWAITING:
                    link = f"{self.site.console_url}/incidents/{happening.incident_id}"
                    _say(self.clock, "console", f"it waits for your answer: {link}")
            self._demand_alive()
        return 0

    def unattended(self) -> int:
        """Approve the fault's incident at the console, see it through, and say how it went."""
        last = self._see_through()
        if last is None:
            pid = self.fault.process.pid
            raise LaunchError(
                f"no finding about pid {pid} within {WITHIN_S} s; see {self.site.root}"
            )
        summary = self._summary(last)
        sys.stdout.write(json.dumps(summary, sort_keys=True) + "\n")
        return 0 if summary["ok"] else 1

    def _see_through(self) -> Happening | None:
        last = None
        for happening in follow(self.db, until=time.monotonic() + WITHIN_S):
            self._demand_alive()
            if happening is None:
                continue
            tell(self.clock, self.db, happening)
            if not _is_about(happening, self.fault.process.pid):
                continue
            last = happening
            if happening.after is State.AWAITING:
                self._approve(happening.incident_id)
            if happening.after in ENDS:
                break
        return last

    def _demand_alive(self) -> None:
        self.assembly.launcher.demand_alive(but=self.fault)

    def _approve(self, incident_id: str) -> None:
        with Console(self.site.console_url, ca=self.site.ca) as console:
            console.sign_in(OPERATOR, self.assembly.password)
            console.approve(
                incident_id, comment="approved by the unattended demo", key=self.site.operator_key
            )
        _say(self.clock, "approve", f"{OPERATOR} said yes at {self.site.console_url}")

    def _summary(self, last: Happening) -> dict[str, Any]:
        """What really happened, measured from outside as far as that goes."""
        live = self.site.mode is Mode.LIVE
        row = story(self.db, last.incident_id)
        report = row["report"] or {}
        ended_by = _ended_by(self.fault) if live else None
        verified, verdict = _verify(self.site, self.assembly)
        _say(self.clock, "audit", verdict)
        good = {
            "state": last.after is (State.RESOLVED if live else State.REHEARSED),
            "fault": ended_by == "SIGTERM" if live else self.fault.alive,
            "report": report.get("outcome") == ("succeeded" if live else "dry_run"),
            "audit": verified,
        }
        return {
            "ok": all(good.values()),
            "good": good,
            "incident": last.incident_id,
            "state": last.after.value,
            "mode": self.site.mode.value,
            "fault_pid": self.fault.process.pid,
            "fault_ended_by": ended_by,
            "plan_by": row["plan"]["origin"] if row["plan"] else None,
            "dir": str(self.site.root),
            **_figures(row, report, self.fault_at),
        }


def run(asked: argparse.Namespace) -> int:
    """Run the demo; 0 only when it did what it says."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    root = make_root(asked.dir)
    (root / "logs").mkdir(exist_ok=True)
    clock = Clock(datetime.now(UTC))
    wanted = Wanted(
        root=root,
        mode=Mode.DRY_RUN if asked.dry_run else Mode.LIVE,
        model=_model(asked),
        console_port=asked.port,
        hub_port=asked.hub_port,
        vault_port=asked.vault_port,
        # A browser makes no WebAuthn signature on a page whose certificate it does not trust.
        password_only=not asked.headless,
    )
    assembly = Assembly(wanted, Launcher(root / "logs"), lambda step, text: _say(clock, step, text))
    try:
        with _ended(assembly):
            return _demo(asked, assembly, clock)
    except KeyboardInterrupt:
        _say(clock, "end", f"stopped; everything it started has ended; the folder is {root}")
        return 0 if not asked.headless else 1


def _demo(asked: argparse.Namespace, assembly: Assembly, clock: Clock) -> int:
    site = assembly.start()
    with Database(site.dsn, size=2) as db:
        token = assembly.first_operator(db)
        _invite(clock, site, assembly, token)
        fault = assembly.start_fault(limit_mb=asked.limit_mb, rate_mb=asked.rate_mb)
        began = datetime.now(UTC)
        _say(clock, "fault", f"pid {fault.process.pid} leaks {asked.rate_mb:g} MB/s")
        run = _Run(clock=clock, db=db, site=site, assembly=assembly, fault=fault, fault_at=began)
        return run.unattended() if asked.headless else run.attended()


def _figures(row: dict[str, Any], report: dict[str, Any], fault_at: datetime) -> dict[str, Any]:
    """Seconds between the steps, from the records of the parts themselves."""
    steps = report.get("steps") or []
    started = datetime.fromisoformat(steps[0]["started_at"]) if steps else None
    model = (row["plan"] or {}).get("model") or {}
    return {
        "model": model.get("name"),
        "fault_to_finding_s": _seconds(fault_at, row["fired_at"]),
        "finding_to_durable_s": _seconds(row["fired_at"], row["opened_at"]),
        "incident_to_plan_s": _seconds(row["opened_at"], row["planned_at"]),
        "approve_to_start_s": _seconds(row["approved_at"], started),
        "prompt_tokens_per_s": _rate(model.get("prompt_tokens"), model.get("prompt_ms")),
        "output_tokens_per_s": _rate(model.get("output_tokens"), model.get("output_ms")),
    }


def _seconds(before: datetime | None, after: datetime | None) -> float | None:
    return round((after - before).total_seconds(), 3) if before and after else None


def _rate(tokens: int | None, milliseconds: int | None) -> float | None:
    return round(tokens * 1000 / milliseconds, 1) if tokens and milliseconds else None


def _ended_by(fault: Part) -> str | None:
    """The signal that ended the fault, as its parent sees it."""
    try:
        status = fault.process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return None
    return signal.Signals(-status).name if status < 0 else f"exit {status}"


def _verify(site: Site, assembly: Assembly) -> tuple[bool, str]:
    """Stop the log's writer and let the auditors' program judge what it left."""
    for part in list(assembly.launcher.parts):
        if part.name in {"agent", "executor", "serve", "reason", "console"}:
            assembly.launcher.stop(part)
    let_the_log_settle(site)
    for part in list(assembly.launcher.parts):
        if part.name == "notary":
            assembly.launcher.stop(part)
    words = [sys.executable, "-m", "audit", "verify", str(site.log_folder)]
    done = subprocess.run(  # noqa: S603 - our own program
        [*words, "--vkey-file", str(site.vkey)], capture_output=True, text=True, check=False
    )
    lines = [line for line in (done.stdout or done.stderr).strip().splitlines() if line.strip()]
    return done.returncode == 0, f"sentinel-audit verify: {lines[0] if lines else done.returncode}"


def let_the_log_settle(site: Site, within_s: float = 15) -> None:
    """Until the notary has written every row that was offered."""
    deadline = time.monotonic() + within_s
    with Database(site.dsn, size=1) as db:
        while time.monotonic() < deadline:
            with db.transaction() as work:
                if not work.all("take_outbox", limit=1):
                    return
            time.sleep(0.05)


def _invite(clock: Clock, site: Site, assembly: Assembly, token: str) -> None:
    _say(clock, "console", site.console_url)
    _say(clock, "console", f"one-time sign-in: {site.console_url}/sign-in/once?token={token}")
    _say(clock, "console", f"or sign in as {OPERATOR} with the password {assembly.password}")
    _say(clock, "console", f"the browser will ask about the demo's own CA: {site.ca}")


def _is_about(happening: Happening, pid: int) -> bool:
    return f"pid {pid} " in f"{happening.subject} "


def _model(asked: argparse.Namespace) -> Path | None:
    if asked.no_model:
        return None
    return Path(asked.model).resolve() if asked.model else launch.demo_model()


def _say(clock: Clock, step: str, text: str) -> None:
    clock.line(datetime.now(UTC), step, text)


@contextmanager
def _ended(assembly: Assembly) -> Iterator[None]:
    """Whatever happens inside, everything that was started is ended."""
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assembly.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
