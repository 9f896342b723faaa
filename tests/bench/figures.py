"""A figure, its peer, and their table."""

import datetime as dt
import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value beside what it is compared with."""

    what: str
    value: float | None
    unit: str
    peer: str = ""
    peer_value: float | None = None
    target: str = ""

    @property
    def ratio(self) -> str:
        """Ours over the peer's."""
        if self.value is None or not self.peer_value:
            return ""
        return f"{self.value / self.peer_value:.2f}"

    def row(self) -> str:
        """A line of the Markdown table."""
        peer = f"{_number(self.peer_value)} ({self.peer})" if self.peer else ""
        cells = [self.what, f"{_number(self.value)} {self.unit}", peer, self.ratio, self.target]
        return f"| {' | '.join(cells)} |"


def table(figures: list[Figure]) -> str:
    """The Markdown table with the date and the kind of machine."""
    head = "| figure | measured | beside it | ratio | target |\n|---|---|---|---|---|"
    return "\n".join([head, *(figure.row() for figure in figures)])


def machine() -> str:
    """The date and the machine, without its name."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    today = dt.datetime.now(dt.UTC).date()
    python = platform.python_version()
    return f"{today}, {os.cpu_count()} x {model}, {memory:.0f} GiB, Linux, CPython {python}"


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
