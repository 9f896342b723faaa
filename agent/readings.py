"""What one look at the host gives: plain values, no files behind them.

`agent.probes` fills them from a real host, a test from a simulated one; `agent.detect` reads them.
"""

from dataclasses import dataclass

ProcessKey = tuple[int, int]
"""Pid and start time in clock ticks after boot: together they name a process within one boot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReading:
    """Memory of the whole host."""

    total_bytes: int
    available_bytes: int  # what the kernel can give without swapping
    swap_total_bytes: int
    swap_used_bytes: int

    @property
    def used_percent(self) -> float:
        """The share that cannot be given to a new process."""
        return 100.0 * (1.0 - self.available_bytes / max(1, self.total_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """What is cheap to know of a process: one line of /proc/PID/stat."""

    pid: int
    started_ticks: int
    parent: int
    name: str
    rss_bytes: int
    cpu_s: float  # since its start, user and system

    @property
    def key(self) -> ProcessKey:
        """The process's name within this boot."""
        return self.pid, self.started_ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessDetails:
    """What is read only for processes that become evidence."""

    command: tuple[str, ...]
    executable: str | None  # None: not ours to see
    owner: str
    unit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MountReading:
    """One mounted filesystem with its room, as an unprivileged writer sees it."""

    mount: str
    device: str
    fstype: str
    size_bytes: int
    used_bytes: int
    available_bytes: int  # without what is reserved for root
    inodes: int  # 0: this filesystem does not count them
    inodes_used: int

    @property
    def used_percent(self) -> float:
        """As `df` computes it: used of what an unprivileged writer could ever use."""
        return 100.0 * self.used_bytes / max(1, self.used_bytes + self.available_bytes)

    @property
    def inodes_percent(self) -> float:
        """Inodes in use, 0 where they are not counted."""
        return 100.0 * self.inodes_used / self.inodes if self.inodes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """One look at the host, at one moment."""

    uptime_s: float  # seconds since boot; differences and orders of samples come from here
    boot_id: str
    processors: int
    memory: MemoryReading
    cpu_busy_s: float  # of all processors since boot, without idle and waiting for disks
    cpu_total_s: float
    load_1min: float
    processes: tuple[ProcessReading, ...]
    mounts: tuple[MountReading, ...]
    failed_units: tuple[str, ...] | None  # None: no systemd here, or it did not answer
