"""What agent and executor cost a node: memory, and share of one processor at the 5 s cycle."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from appliance.launch import Launcher, free_port
from tests.bench.figures import Figure
from tests.journeys.appliance import Running, running

CYCLES_S = 60.0
CYCLE_S = 5.0
PROCESSES = 80
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def measure() -> list[Figure]:
    """A minute at the default cycle with about 80 processes, beside Debian's node exporter."""
    with (
        tempfile.TemporaryDirectory(prefix="sentinel-bench-") as folder,
        running(Path(folder) / "site") as site,
    ):
        agent, executor = site.part("agent"), site.part("executor")
        _one_order(site)
        _at_the_default_cycle(site.site.settings("agent"))
        site.kill("agent")
        exporter, port = _exporter(site.assembly.launcher)
        parts = {"agent": agent.process.pid, "executor": executor.process.pid}
        if exporter:
            parts["exporter"] = exporter
        with _company():
            time.sleep(3 * CYCLE_S)
            shares = _shares(parts, port)
            sizes = {name: _rss_mb(pid) for name, pid in parts.items()}
    together = shares["agent"] + shares["executor"]
    peer = shares.get("exporter")
    return [
        Figure(what="agent, after an order, memory", value=sizes["agent"], unit="MB", target="< 50",
               peer="node exporter", peer_value=sizes.get("exporter")),
        Figure(what="executor and its children, after an order, memory", value=sizes["executor"],
               unit="MB", target="< 40"),
        Figure(what="agent and executor, of one processor", value=together, unit="%",
               target="< 0.4", peer="node exporter, scraped every 5 s", peer_value=peer),
        Figure(what="a bare psutil sweep every 5 s", value=_bare_sweep(), unit="%"),
    ]  # fmt: skip


def _one_order(site: Running) -> None:
    """A node that has run an order holds what orders need, should it not have given it back."""
    site.start_fault()
    site.until("awaiting")
    site.approve()
    site.until("resolved")


@contextmanager
def _company() -> Iterator[None]:
    """As many sleeping processes as make it about 80 on this machine."""
    missing = max(0, PROCESSES - len(psutil.pids()))
    idle = [subprocess.Popen(["sleep", "600"]) for _ in range(missing)]
    try:
        yield
    finally:
        for process in idle:
            process.kill()
            process.wait()


def _at_the_default_cycle(path: Path) -> None:
    text = path.read_text().replace("cycle_s = 1.0", f"cycle_s = {CYCLE_S}")
    path.write_text(text)


def _exporter(launcher: Launcher) -> tuple[int | None, int]:
    program, port = shutil.which("prometheus-node-exporter"), free_port()
    if program is None:
        return None, port
    address = f"--web.listen-address=127.0.0.1:{port}"
    return launcher.start("exporter", [program, address]).process.pid, port


def _shares(parts: dict[str, int], port: int) -> dict[str, float]:
    """Percent of one processor over a minute, children included."""
    before, began = {name: _cpu_s(pid) for name, pid in parts.items()}, time.monotonic()
    while time.monotonic() - began < CYCLES_S:
        if "exporter" in parts:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                answer.read()
        time.sleep(CYCLE_S)
    seconds = time.monotonic() - began
    return {name: 100 * (_cpu_s(pid) - before[name]) / seconds for name, pid in parts.items()}


def _cpu_s(pid: int) -> float:
    """User and system time of a process and its children, those that ended included."""
    total = 0.0
    for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        fields = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(ticks) for ticks in fields[11:15]) * _TICK_S
    return total


def _rss_mb(pid: int) -> float:
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(one.memory_info().rss for one in processes) / 1e6


def _bare_sweep() -> float:
    """The least that anything in Python with psutil costs: one sweep, as a share of 5 s."""
    code = (
        "import psutil,time\n"
        "for _ in range(3): list(psutil.process_iter(['memory_info','cpu_times']))\n"
        "t=time.process_time()\n"
        "for _ in range(20): list(psutil.process_iter(['memory_info','cpu_times']))\n"
        "print((time.process_time()-t)/20)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return 100 * float(done.stdout) / CYCLE_S
