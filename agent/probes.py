"""Read the host: memory, processes, filesystems, processors, load, failed units.

The only importer of psutil. A whole sweep must cost a few milliseconds, so of each process one
file is read; command lines and owners are read at capture time only, through `details`.
"""

import logging
import os
import pwd
import re
from pathlib import Path

import psutil

from agent import systemd
from agent.errors import ProbeError
from agent.readings import (
    MemoryReading,
    MountReading,
    ProcessDetails,
    ProcessReading,
    Readings,
)

log = logging.getLogger(__name__)

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MAX_PROCESSES = 20_000  # a fork bomb must not take the agent with it
UNITS_EVERY_S = 15.0  # systemctl costs about 10 ms, half of what a whole cycle may cost

# Filesystems without a disk or memory of their own, or always full by nature (images).
_PSEUDO = re.compile(
    r"autofs|binder|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|efivarfs|erofs"
    r"|fuse\.(gvfsd-fuse|lxcfs|portal)|fusectl|hugetlbfs|iso9660|mqueue|nsfs|proc|pstore|ramfs"
    r"|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs|udf"
)
# A file server that is gone blocks statvfs for ever, and with it the agent.
_REMOTE = re.compile(r"9p|afs|beegfs|ceph|cifs|fuse\.sshfs|glusterfs|lustre|nfs4?|smb3")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_UNIT = re.compile(r"([^/]+\.(?:service|scope|socket|mount))(?:/|\Z)")


class HostProbe:
    """The real host. It remembers only what makes the next look cheaper."""

    def __init__(self) -> None:
        self.boot_id = boot_id()
        self._units: tuple[str, ...] | None = None
        self._units_due_s = 0.0

    def read(self) -> Readings:
        """One look at everything; raises `ProbeError` when the host cannot be read at all."""
        try:
            memory, swap, cpu = psutil.virtual_memory(), psutil.swap_memory(), psutil.cpu_times()
            uptime_s = float(_text("/proc/uptime").split()[0])
            return Readings(
                uptime_s=uptime_s,
                boot_id=self.boot_id,
                processors=os.cpu_count() or 1,
                memory=MemoryReading(
                    total_bytes=memory.total,
                    available_bytes=memory.available,
                    swap_total_bytes=swap.total,
                    swap_used_bytes=swap.used,
                ),
                # Guest time is counted in user time already.
                cpu_busy_s=cpu.user + cpu.nice + cpu.system + cpu.irq + cpu.softirq + cpu.steal,
                cpu_total_s=sum(cpu[:8]),
                load_1min=os.getloadavg()[0],
                processes=processes(),
                mounts=mounts(),
                failed_units=self._failed_units(uptime_s),
            )
        except (OSError, ValueError, IndexError) as error:
            raise ProbeError(f"cannot read the host: {error}") from error

    def _failed_units(self, uptime_s: float) -> tuple[str, ...] | None:
        if systemd.is_running() and uptime_s >= self._units_due_s:
            self._units = systemd.failed_units()
            self._units_due_s = uptime_s + UNITS_EVERY_S
        return self._units


def boot_id() -> str:
    """The kernel's name for this boot."""
    return _text("/proc/sys/kernel/random/boot_id").strip()


def processes() -> tuple[ProcessReading, ...]:
    """Every process that could be read; one that ends meanwhile is left out."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - called every cycle, and much cheaper
        if name.isdigit() and (reading := process(int(name))) is not None:
            found.append(reading)
            if len(found) == _MAX_PROCESSES:
                log.warning("more than %d processes; the rest is not watched", _MAX_PROCESSES)
                break
    return tuple(found)


def process(pid: int) -> ProcessReading | None:
    """One process by its pid, or None when there is none."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        try:
            data = os.read(descriptor, 4096)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return parse_stat(pid, data)


def parse_stat(pid: int, data: bytes) -> ProcessReading | None:
    """Read a line of /proc/PID/stat; the name may hold blanks and parentheses (proc(5))."""
    opening, closing = data.find(b"("), data.rfind(b")")
    fields = data[closing + 2 :].split()
    if opening < 0 or len(fields) < 22:  # noqa: PLR2004 - up to field 24 of proc(5)
        return None
    return ProcessReading(
        pid=pid,
        started_ticks=int(fields[19]),
        parent=int(fields[1]),
        name=data[opening + 1 : closing].decode("utf-8", "replace"),
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
        cpu_s=(int(fields[11]) + int(fields[12])) * _TICK_S,
    )


def details(reading: ProcessReading) -> ProcessDetails | None:
    """Command line, owner and unit of a process; None when it is gone or the pid is another's."""
    try:
        found = psutil.Process(reading.pid)
        command = tuple(found.cmdline())
        owner = _owner(found.uids().effective)
        executable = _executable(found)
    except (psutil.Error, OSError):
        return None
    current = process(reading.pid)
    if current is None or current.key != reading.key:
        return None
    return ProcessDetails(
        command=command, executable=executable, owner=owner, unit=_unit_of(reading.pid)
    )


def mounts() -> tuple[MountReading, ...]:
    """Every real, writable, local filesystem once, however often it is mounted."""
    by_mount: dict[str, tuple[str, str, str]] = {}
    for line in _text("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        dash = fields.index("-", 6)
        fstype, options = fields[dash + 1], fields[5].split(",")
        if _PSEUDO.fullmatch(fstype) or _REMOTE.fullmatch(fstype) or "ro" in options:
            continue
        by_mount[_unescaped(fields[4])] = (fields[2], _unescaped(fields[dash + 2]), fstype)
    found: dict[str, MountReading] = {}
    for mount, (device_number, device, fstype) in by_mount.items():
        if device_number not in found and (reading := _mount(mount, device, fstype)) is not None:
            found[device_number] = reading
    return tuple(found.values())


def _mount(mount: str, device: str, fstype: str) -> MountReading | None:
    try:
        room = os.statvfs(mount)
    except OSError:  # hidden from this user, or just unmounted
        return None
    if room.f_blocks == 0:
        return None
    return MountReading(
        mount=mount,
        device=device,
        fstype=fstype,
        size_bytes=room.f_blocks * room.f_frsize,
        used_bytes=(room.f_blocks - room.f_bfree) * room.f_frsize,
        available_bytes=room.f_bavail * room.f_frsize,
        inodes=room.f_files,
        inodes_used=max(0, room.f_files - room.f_ffree),
    )


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _executable(found: psutil.Process) -> str | None:
    try:
        return found.exe() or None
    except (psutil.Error, OSError):
        return None


def _unit_of(pid: int) -> str | None:
    try:
        units = _UNIT.findall(_text(f"/proc/{pid}/cgroup").replace("\n", "/"))
    except OSError:
        return None
    return units[-1] if units else None


def _unescaped(text: str) -> str:
    """The kernel writes blanks in mount points as octal escapes."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")
