"""Types for what this incident's evidence names: processes, units, containers, mounts, hosts."""

import re

from policy.facts import Facts
from policy.fault import Check, Fault, Maker, not_expected
from policy.places import Guard, normal_unit
from policy.values import whole

_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@\\-]{0,200}\Z")
_HOST = r"(?P<host>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"  # an IPv6 address in brackets
_PID = re.compile(r"[1-9][0-9]{0,6}\Z")  # the kernel's highest pid is 2^22


def _pid(_parameters: str) -> tuple[str, Check]:
    expected = "a process id of this incident's evidence"

    def check(value: str, facts: Facts, _guard: Guard) -> Fault | None:
        if not _PID.match(value):
            return not_expected(value, expected)
        if value == "1":
            message = "process 1 is init; without it the host stops"
            return Fault(code="protected", message=message)
        process = facts.process(int(value))
        if process is None:
            message = f"process {value} is not in the evidence of this incident"
            return Fault(code="not-in-evidence", message=message, hint="name a process it lists")
        if process.protected:
            message = f"process {value} is protected: {process.protected}"
            return Fault(code="protected", message=message)
        return None

    return expected, check


def _unit(_parameters: str) -> tuple[str, Check]:
    expected = "a systemd unit name without patterns"

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        return None if _UNIT.match(value) else not_expected(value, expected)

    return expected, check


def _unit_in_evidence(_parameters: str) -> tuple[str, Check]:
    expected = "a systemd unit of this incident's evidence"

    def check(value: str, facts: Facts, guard: Guard) -> Fault | None:
        if not _UNIT.match(value):
            return not_expected(value, expected)
        unit = normal_unit(value)
        if guard.keeps_unit(unit):
            return Fault(code="protected", message=f"{unit} keeps the host alive or under control")
        if unit not in facts.units and value not in facts.units:
            message = f"{unit} is not in the evidence of this incident"
            return Fault(code="not-in-evidence", message=message, hint="name a unit it lists")
        return None

    return expected, check


def _host(parameters: str) -> tuple[str, Check]:
    """`host`, or `host(@HOST)`: a pattern with the word HOST where the host stands."""
    expected = "a host of the inventory, or one that [places] hosts names"
    if parameters and parameters.count("HOST") != 1:
        raise ValueError(f"{parameters!r} does not say where HOST stands")
    written = whole(parameters.replace("HOST", _HOST)) if parameters else None

    def check(value: str, facts: Facts, guard: Guard) -> Fault | None:
        host = value
        if written:
            found = written.match(value)
            if not found:
                return not_expected(value, f"written as {parameters}")
            host = found["host"].strip("[]")
        known = host in facts.inventory or guard.may_ask(host)
        return None if known else not_expected(host, expected, "not-in-inventory")

    return expected, check


_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")


def _server(parameters: str) -> tuple[str, Check]:
    """`server`: this host or one of the inventory; `server(port)`: a list of HOST:PORT."""
    if parameters not in {"", "port"}:
        raise ValueError(f"{parameters!r}: write server or server(port)")
    known, _ = _host("")
    expected = f"localhost, or {known}" + (", with a port: db1:9092" if parameters else "")

    def check(value: str, facts: Facts, guard: Guard) -> Fault | None:
        for item in value.split(",") if parameters else (value,):
            host, port = item, "1"
            if parameters:
                host, _, port = item.rpartition(":")
            if not _PORT.match(port):
                return not_expected(value, expected)
            if host not in _LOCAL and host not in facts.inventory and not guard.may_ask(host):
                return not_expected(host, expected, "not-in-inventory")
        return None

    return expected, check


def _container(_parameters: str) -> tuple[str, Check]:
    expected = "a container of this incident's evidence"

    def check(value: str, facts: Facts, _guard: Guard) -> Fault | None:
        if value in facts.containers:
            return None
        return not_expected(value, expected, "not-in-evidence")

    return expected, check


def _mount(_parameters: str) -> tuple[str, Check]:
    expected = "a mount point of this host"

    def check(value: str, facts: Facts, _guard: Guard) -> Fault | None:
        return None if value in facts.mounts else not_expected(value, expected, "not-in-evidence")

    return expected, check


MAKERS: dict[str, Maker] = {
    "pid-in-evidence": _pid,
    "unit": _unit,
    "unit-in-evidence": _unit_in_evidence,
    "host": _host,
    "server": _server,
    "container-in-evidence": _container,
    "mount": _mount,
}
