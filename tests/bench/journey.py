"""From fault to verified fix: the demo unattended, then as many fixes as a minute takes."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hub.persist.story import since
from tests.bench.figures import Figure
from tests.journeys.appliance import Running, running

FAULTS = 6
LONGEST_S = 180


def measure() -> list[Figure]:
    """The steps of one incident with the model, and the rate of fixes without it."""
    one = _demo()
    return [
        Figure(what="fault → finding (1 s cycle, 3 samples, 20 MB/s, limit 120 MB)",
               value=one["fault_to_finding_s"], unit="s",
               peer="the leak reaches its limit", peer_value=6.0),
        Figure(what="finding → incident durable", value=_ms(one["finding_to_durable_s"]),
               unit="ms"),
        Figure(what="incident → plan, with the demo model", value=one["incident_to_plan_s"],
               unit="s"),
        Figure(what="approve → first command started", value=_ms(one["approve_to_start_s"]),
               unit="ms", target="< 500"),
        Figure(what="verified fixes, without a model", value=_fixes_per_minute(),
               unit="per minute"),
    ]  # fmt: skip


def _demo() -> dict[str, Any]:
    words = [sys.executable, "-m", "appliance", "demo", "--headless"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _fixes_per_minute() -> float:
    with (
        tempfile.TemporaryDirectory(prefix="sentinel-bench-") as folder,
        running(Path(folder) / "site") as site,
    ):
        faults = [site.start_fault() for _ in range(FAULTS)]
        began = time.monotonic()
        done: set[str] = set()
        while len(done) < FAULTS and time.monotonic() - began < LONGEST_S:
            done |= _answer_all(site)
            time.sleep(0.05)
        seconds = time.monotonic() - began
        ended = sum(fault.process.poll() == -signal.SIGTERM for fault in faults)
    return 60 * ended / seconds


def _answer_all(site: Running) -> set[str]:
    """Approve what waits; the incidents that are resolved."""
    states = {one.incident_id: one for one in since(site.database(), 0)}
    for incident, last in states.items():
        if last.after.value == "awaiting" and last.condition == "process_memory":
            site.yes(incident)
    return {key for key, last in states.items() if last.after.value == "resolved"}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
