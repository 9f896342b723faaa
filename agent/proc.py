"""Which process a pid is, and which boot this is: two small facts, without psutil."""

from pathlib import Path

from agent import protected

_START = 19  # field 22 of /proc/PID/stat, counted after the name (proc(5))


def started_ticks(pid: int) -> int | None:
    """When the process was started, in clock ticks after boot; None when there is none."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
        fields = data[data.rindex(b")") + 2 :].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[_START])
    except (OSError, ValueError, IndexError):
        return None


def why_protected(pid: int) -> str | None:
    """Why this living process must not be signalled, as this node itself sees it."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
        line = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # gone; the check of its start time says so
    return protected.why(pid=pid, name=name, command=line.rstrip("\0").split("\0") if line else ())


def boot_id() -> str:
    """The kernel's name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
