"""What the agent knows about itself, in a small file for `sentinel-agent status`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.errors import ProbeError
from appliance.errors import RefusedError
from appliance.records import Record, from_json, to_json

FILE = "status.json"
_STALE_CYCLES = 4


class OpenFinding(Record, frozen=True, kw_only=True):
    """A finding that has fired and not ended."""

    finding_id: str
    condition: str
    observed: float
    limit: float


class Status(Record, frozen=True, kw_only=True):
    """The agent at one moment."""

    at: datetime
    cycle_s: float
    hub: str
    connected: bool
    trouble: str  # why not
    executor_answers: bool
    trust: str = ""  # why the executor runs no live order; empty when it may
    waiting: int  # events the hub does not durably have
    waiting_bytes: int
    dropped: int  # events the spool could not keep, since it was made
    aside: int  # events the hub refused
    findings: tuple[OpenFinding, ...]
    log_fork: str = ""  # why no order runs here until a person has looked
    certificate: str = ""  # why it is not renewed; it works until it ends


def write(folder: Path, status: Status) -> None:
    """Replace the status file; a crash leaves the old one or the new one."""
    temporary = folder / f"{FILE}.new"
    temporary.write_bytes(to_json(status))
    temporary.replace(folder / FILE)


def read(folder: Path) -> Status:
    """The status file; raises `ProbeError` when there is none."""
    try:
        return from_json((folder / FILE).read_bytes(), Status)
    except OSError as error:
        raise ProbeError(f"{folder / FILE}: the agent has not run here yet") from error
    except RefusedError as error:
        raise ProbeError(f"{folder / FILE}: {error}") from error


def is_well(status: Status, *, now: datetime | None = None) -> bool:
    """Whether the agent runs, is connected, and its executor may run orders."""
    age = (now or datetime.now(UTC)) - status.at
    alive = age < timedelta(seconds=_STALE_CYCLES * status.cycle_s + 5)
    executor = status.executor_answers and not status.trust and not status.log_fork
    return alive and status.connected and executor and not status.certificate


def lines(status: Status) -> list[str]:
    """The status for people."""
    age = (datetime.now(UTC) - status.at).total_seconds()
    link = "connected" if status.connected else f"not connected: {status.trouble}"
    lost = f"{status.dropped} dropped, {status.aside} refused by the hub"
    found = [
        f"seen      {age:.0f} s ago, every {status.cycle_s:g} s",
        f"hub       {status.hub}, {link}",
        f"executor  {'answers' if status.executor_answers else 'does not answer'}",
        f"trust     {status.trust or 'in order'}",
        f"spool     {status.waiting} waiting ({status.waiting_bytes} bytes), {lost}",
        f"findings  {len(status.findings)} open",
    ]
    if status.certificate:
        found.append(f"identity  {status.certificate}")
    if status.log_fork:
        found.append(f"audit log FORKED, no order runs: {status.log_fork}")
    found += [
        f"          {one.condition}: {one.observed:.1f}, limit {one.limit:.1f} ({one.finding_id})"
        for one in status.findings
    ]
    return found
