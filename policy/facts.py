"""What is known about one host in one incident, and nothing more.

The hub fills this record from the captured evidence, the node from its own; the engine looks
nothing up. A process, unit or file that is not listed here may not be acted upon.
"""

import msgspec

from appliance.errors import SettingsError


class ProcessFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process of the evidence; its start time tells it from a later one with the same pid."""

    pid: int
    started_ticks: int  # clock ticks since boot, field 22 of /proc/PID/stat
    protected: str | None = None  # why it must live, for example "sshd"


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The evidence a command may refer to."""

    processes: frozenset[ProcessFact] = frozenset()
    units: frozenset[str] = frozenset()  # with suffix, "nginx.service"; a bare name is a service
    mounts: frozenset[str] = frozenset()  # mount points
    containers: frozenset[str] = frozenset()  # ids, whole and the usual first twelve digits
    paths: frozenset[str] = frozenset()  # files a finding names, absolute
    inventory: frozenset[str] = frozenset()  # host names and addresses of the fleet
    role: str = ""  # of this host, "database"
    change_window_open: bool = False

    def process(self, pid: int) -> ProcessFact | None:
        """The process of the evidence with this pid."""
        return next((process for process in self.processes if process.pid == pid), None)


# What the examples inside rule files may refer to; written down in README.md.
EXAMPLE_FACTS = Facts(
    processes=frozenset(
        {
            ProcessFact(pid=4242, started_ticks=99000),
            ProcessFact(pid=812, started_ticks=450, protected="sshd"),
        }
    ),
    units=frozenset({"nginx.service", "postgresql.service", "backup.timer", "sshd.service"}),
    mounts=frozenset({"/", "/var", "/srv/data"}),
    containers=frozenset({"3f4e1a2b9c0d", "3f4e1a2b9c0d" + "0" * 52}),
    paths=frozenset(
        {
            "/tmp/dump.bin",  # noqa: S108  # a name in an example, no file is opened
            "/var/tmp/export.csv",  # noqa: S108
            "/var/cache/app/index.bin",
            "/var/log/app/debug.log",
            "/var/log/app/debug.log.1",
            "/var/log/app/debug.log.2.gz",
            "/var/log/audit/audit.log",
            "/etc/passwd",
        }
    ),
    inventory=frozenset({"db1", "10.0.0.7"}),
    role="database",
)


def decode_facts(data: bytes) -> Facts:
    """Facts from JSON; an unknown key or a wrong type is a `SettingsError` that says where."""
    try:
        return msgspec.json.decode(data, type=Facts)
    except msgspec.DecodeError as error:
        raise SettingsError(f"facts: {error}") from error
