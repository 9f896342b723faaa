"""Findings as agents send them: realistic evidence for every condition, and what is right."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.records import (
    Condition,
    DirectoryEvidence,
    Evidence,
    FileEvidence,
    Finding,
    LogEvidence,
    MetricEvidence,
    MountEvidence,
    ProcessEvidence,
    Severity,
    UnitEvidence,
)

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
MIB = 1024 * 1024
GIB = 1024 * MIB


def process(number: int, pid: int, name: str, **changes: Any) -> ProcessEvidence:
    values: dict[str, Any] = {
        "id": f"e{number}",
        "pid": pid,
        "started_ticks": 1000 + pid,
        "name": name,
        "command": f"/usr/bin/{name} --serve",
        "owner": "app",
        "rss_bytes": 40 * MIB,
        "growth_bytes_per_s": 0.0,
        "cpu_percent": 1.0,
    }
    return ProcessEvidence(**{**values, **changes})


def metric(number: int, name: str, value: float, limit: float) -> MetricEvidence:
    samples = tuple(value - step for step in range(5, -1, -1))
    return MetricEvidence(
        id=f"e{number}", name=name, value=value, limit=limit, unit="percent", samples=samples
    )


def mount(number: int, where: str, **changes: Any) -> MountEvidence:
    values: dict[str, Any] = {
        "id": f"e{number}",
        "mount": where,
        "device": "/dev/vda1",
        "fstype": "ext4",
        "size_bytes": 20 * GIB,
        "used_bytes": 19 * GIB,
        "inodes": 1_000_000,
        "inodes_used": 980_000,
    }
    return MountEvidence(**{**values, **changes})


def directory(number: int, path: str, size: int, files: int = 100) -> DirectoryEvidence:
    return DirectoryEvidence(id=f"e{number}", path=path, bytes=size, files=files, complete=True)


def file(number: int, path: str, size: int, *, age_s: float = 86400) -> FileEvidence:
    return FileEvidence(
        id=f"e{number}", path=path, bytes=size, modified_at=NOW - timedelta(seconds=age_s)
    )


def unit(number: int, name: str, **changes: Any) -> UnitEvidence:
    values: dict[str, Any] = {
        "id": f"e{number}",
        "unit": name,
        "active_state": "failed",
        "sub_state": "failed",
        "result": "exit-code",
        "exit_status": 1,
        "restarts": 0,
    }
    return UnitEvidence(**{**values, **changes})


def log(number: int, source: str, line: str) -> LogEvidence:
    return LogEvidence(id=f"e{number}", source=source, line=line)


def finding(condition: Condition, subject: str, *evidence: Evidence, **changes: Any) -> Finding:
    values: dict[str, Any] = {
        "finding_id": "f-1",
        "condition": condition,
        "subject": subject,
        "severity": Severity.CRITICAL,
        "summary": f"{condition.value} on {subject}.",
        "observed": 95.0,
        "limit": 90.0,
        "unit": "percent",
        "first_bad_at": NOW - timedelta(seconds=30),
        "fired_at": NOW,
        "boot_id": "b00t",
        "evidence": evidence,
    }
    return Finding(**{**values, **changes})


def bystanders(first: int) -> list[Evidence]:
    """What runs on any host; sshd is protected."""
    return [
        process(first, 812, "sshd", owner="root", protected="sshd", rss_bytes=12 * MIB),
        process(first + 1, 1200, "cron", owner="root", rss_bytes=5 * MIB),
        process(first + 2, 1300, "nginx", rss_bytes=90 * MIB, unit="nginx.service"),
    ]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A finding with the culprit, the cause and the first command that are right."""

    name: str
    finding: Finding
    culprit: str
    cause: str
    command: str


LEAKY = process(1, 4711, "leaky", rss_bytes=900 * MIB, growth_bytes_per_s=4 * MIB)
LEAK = finding(Condition.PROCESS_LEAK, "pid 4711 (leaky)", LEAKY, *bystanders(2))

_JOURNAL = directory(2, "/var/log/journal", 9 * GIB)
_CORE = file(2, "/var/tmp/core.4711", 8 * GIB)

CASES = [
    Case(
        name="host memory, one process grows",
        finding=finding(
            Condition.HOST_MEMORY, "host", LEAKY, *bystanders(2), metric(9, "memory_used", 95, 90)
        ),
        culprit="e1",
        cause="memory-leak",
        command="kill -TERM 4711",
    ),
    Case(
        name="host memory, one large and steady process",
        finding=finding(
            Condition.HOST_MEMORY,
            "host",
            process(1, 900, "java", rss_bytes=6 * GIB),
            *bystanders(2),
            metric(9, "memory_used", 95, 90),
        ),
        culprit="e1",
        cause="memory-hog",
        command="kill -TERM 900",
    ),
    Case(
        name="host memory, a service that grows and whose unit is in evidence",
        finding=finding(
            Condition.HOST_MEMORY,
            "host",
            process(1, 77, "app", rss_bytes=GIB, growth_bytes_per_s=2 * MIB, unit="app.service"),
            *bystanders(2),
            unit(8, "app.service", active_state="active", sub_state="running", result="success"),
        ),
        culprit="e1",
        cause="memory-leak",
        command="systemctl restart app.service",
    ),
    Case(
        name="process memory, over its limit",
        finding=finding(
            Condition.PROCESS_MEMORY,
            "pid 55 (cache)",
            process(1, 55, "cache", rss_bytes=2 * GIB),
            *bystanders(2),
        ),
        culprit="e1",
        cause="memory-hog",
        command="kill -TERM 55",
    ),
    Case(
        name="process leak",
        finding=LEAK,
        culprit="e1",
        cause="memory-leak",
        command="kill -TERM 4711",
    ),
    Case(
        name="disk space, a file in a temporary place",
        finding=finding(
            Condition.DISK_SPACE, "/", mount(1, "/"), _CORE, directory(3, "/var/tmp", 8 * GIB)
        ),
        culprit="e2",
        cause="temporary-file",
        command="rm -f /var/tmp/core.4711",
    ),
    Case(
        name="disk space, the journal",
        finding=finding(
            Condition.DISK_SPACE, "/", mount(1, "/"), _JOURNAL, directory(3, "/var/log", 9 * GIB)
        ),
        culprit="e2",
        cause="journal-large",
        command="journalctl --no-pager --vacuum-size=200M",
    ),
    Case(
        name="disk space, a log that nobody rotates",
        finding=finding(
            Condition.DISK_SPACE,
            "/",
            mount(1, "/"),
            file(2, "/var/log/app/debug.log", 12 * GIB, age_s=2),
            directory(3, "/var/log/app", 12 * GIB),
        ),
        culprit="e2",
        cause="log-file",
        command="ls -l /var/log/app/debug.log",
    ),
    Case(
        name="inodes, a cache of small files",
        finding=finding(
            Condition.DISK_INODES,
            "/",
            mount(1, "/"),
            directory(2, "/var", 3 * GIB, files=900_000),
            directory(3, "/var/cache/sessions", 2 * GIB, files=880_000),
        ),
        culprit="e3",
        cause="many-small-files",
        command="find /var/cache/sessions -xdev -type f -mtime +7 -delete",
    ),
    Case(
        name="processor, a busy loop",
        finding=finding(
            Condition.CPU_SATURATION,
            "host",
            process(1, 666, "spin", cpu_percent=198.0),
            *bystanders(2),
            metric(9, "cpu_busy", 99, 90),
        ),
        culprit="e1",
        cause="cpu-spinner",
        command="kill -TERM 666",
    ),
    Case(
        name="load, a busy loop",
        finding=finding(
            Condition.LOAD_SATURATION,
            "host",
            process(1, 666, "spin", cpu_percent=390.0),
            *bystanders(2),
            metric(9, "load_per_cpu", 12, 4),
        ),
        culprit="e1",
        cause="cpu-spinner",
        command="kill -TERM 666",
    ),
    Case(
        name="load without processor use",
        finding=finding(
            Condition.LOAD_SATURATION, "host", *bystanders(2), metric(9, "load_per_cpu", 12, 4)
        ),
        culprit="e9",
        cause="waiting-for-io",
        command="ps -eo pid,user,stat,wchan,etime,args",
    ),
    Case(
        name="a failed unit",
        finding=finding(Condition.UNIT_FAILED, "web.service", unit(1, "web.service")),
        culprit="e1",
        cause="unit-failed-once",
        command="systemctl restart web.service",
    ),
    Case(
        name="a unit that systemd gave up",
        finding=finding(
            Condition.UNIT_FAILED,
            "web.service",
            unit(1, "web.service", result="start-limit-hit", restarts=5),
            unit(2, "other.service"),
        ),
        culprit="e1",
        cause="unit-crash-loop",
        command="systemctl reset-failed web.service",
    ),
    Case(
        name="a unit out of memory",
        finding=finding(
            Condition.UNIT_FAILED, "web.service", unit(1, "web.service", result="oom-kill")
        ),
        culprit="e1",
        cause="unit-out-of-memory",
        command="systemctl restart web.service",
    ),
    Case(
        name="a unit whose port is taken",
        finding=finding(
            Condition.UNIT_FAILED,
            "web.service",
            unit(1, "web.service"),
            log(2, "web.service", "bind 0.0.0.0:80: Address already in use"),
        ),
        culprit="e1",
        cause="unit-port-taken",
        command="journalctl --no-pager -u web.service -n 100",
    ),
    Case(
        name="a unit whose program is missing",
        finding=finding(
            Condition.UNIT_FAILED, "web.service", unit(1, "web.service", exit_status=203)
        ),
        culprit="e1",
        cause="unit-cannot-execute",
        command="systemctl status --no-pager web.service",
    ),
]
