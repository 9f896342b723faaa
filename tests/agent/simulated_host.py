"""A host in memory: processes that grow, disks that fill, units that fail. Change it and watch."""

from dataclasses import dataclass, field

from agent.readings import MemoryReading, MountReading, ProcessReading, Readings

MB = 1024 * 1024


@dataclass
class SimulatedProcess:
    pid: int
    name: str
    rss_mb: float
    started_ticks: int
    grows_mb_per_s: float = 0.0
    cpu_percent: float = 0.0
    cpu_s: float = 0.0


@dataclass
class SimulatedHost:
    """Implements `agent.loop.Probe`."""

    boot_id: str = "boot-1"
    uptime_s: float = 1000.0
    cycle_s: float = 5.0
    total_mb: int = 8192
    other_mb: int = 1024
    busy_percent: float = 10.0
    load: float = 0.5
    processors: int = 2
    processes: dict[int, SimulatedProcess] = field(default_factory=dict)
    disks: dict[str, float] = field(default_factory=lambda: {"/": 40.0, "/var": 30.0})
    inodes: dict[str, float] = field(default_factory=dict)
    units: tuple[str, ...] | None = ()
    _cpu_busy_s: float = 0.0
    _next_tick: int = 100

    def start(self, pid: int, name: str, *, rss_mb: float = 50, **rest: float) -> SimulatedProcess:
        self._next_tick += 7
        found = SimulatedProcess(pid, name, rss_mb, self._next_tick, **rest)
        self.processes[pid] = found
        return found

    def end(self, pid: int) -> None:
        del self.processes[pid]

    def pass_time(self, seconds: float | None = None) -> None:
        seconds = self.cycle_s if seconds is None else seconds
        self.uptime_s += seconds
        self._cpu_busy_s += seconds * self.processors * self.busy_percent / 100
        for process in self.processes.values():
            process.rss_mb += process.grows_mb_per_s * seconds
            process.cpu_s += process.cpu_percent / 100 * seconds

    def reboot(self) -> None:
        self.boot_id += "x"
        self.uptime_s, self._cpu_busy_s = 10.0, 0.0
        self.processes.clear()

    def read(self) -> Readings:
        used = self.other_mb + sum(process.rss_mb for process in self.processes.values())
        return Readings(
            uptime_s=self.uptime_s,
            boot_id=self.boot_id,
            processors=self.processors,
            memory=MemoryReading(
                total_bytes=self.total_mb * MB,
                available_bytes=int(max(0, self.total_mb - used) * MB),
                swap_total_bytes=0,
                swap_used_bytes=0,
            ),
            cpu_busy_s=self._cpu_busy_s,
            cpu_total_s=self.uptime_s * self.processors,
            load_1min=self.load,
            processes=tuple(
                ProcessReading(
                    pid=one.pid,
                    started_ticks=one.started_ticks,
                    parent=1,
                    name=one.name,
                    rss_bytes=int(one.rss_mb * MB),
                    cpu_s=one.cpu_s,
                )
                for one in self.processes.values()
            ),
            mounts=tuple(self._mount(mount) for mount in self.disks),
            failed_units=self.units,
        )

    def _mount(self, mount: str) -> MountReading:
        size = 1000 * MB
        used = int(self.disks[mount] / 100 * size)
        return MountReading(
            mount=mount,
            device="/dev/sim",
            fstype="ext4",
            size_bytes=size,
            used_bytes=used,
            available_bytes=size - used,
            inodes=1000,
            inodes_used=int(self.inodes.get(mount, 10.0) * 10),
        )
