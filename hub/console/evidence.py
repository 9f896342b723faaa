"""One line for each piece of evidence: what it is, and its figures."""

from dataclasses import dataclass, field

from appliance.records import (
    DirectoryEvidence,
    Evidence,
    FileEvidence,
    LogEvidence,
    MetricEvidence,
    MountEvidence,
    ProcessEvidence,
    UnitEvidence,
)
from hub.console.present import amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of the evidence table; all its text came from a host."""

    id: str
    kind: str
    what: str
    more: str = ""
    note: str = ""
    figures: list[tuple[str, str]] = field(default_factory=list)


def line_of(item: Evidence) -> Line:
    """The row for one piece of evidence."""
    match item:
        case ProcessEvidence():
            return _process(item)
        case MountEvidence():
            return _mount(item)
        case DirectoryEvidence():
            least = "" if item.complete else "at least "
            figures = [("size", least + amount(item.bytes)), ("files", f"{least}{item.files}")]
            return Line(id=item.id, kind="directory", what=item.path, figures=figures)
        case FileEvidence():
            figures = [
                ("size", amount(item.bytes)),
                ("modified", f"{item.modified_at:%Y-%m-%d %H:%M:%S}"),
            ]
            return Line(id=item.id, kind="file", what=item.path, figures=figures)
        case UnitEvidence():
            return _unit(item)
        case MetricEvidence():
            figures = [
                ("value", amount(item.value, item.unit)),
                ("limit", amount(item.limit, item.unit)),
            ]
            return Line(id=item.id, kind="metric", what=item.name, figures=figures)
        case LogEvidence():
            return Line(id=item.id, kind="log", what=item.source, more=item.line)


def _process(item: ProcessEvidence) -> Line:
    figures = [
        ("pid", str(item.pid)),
        ("owner", item.owner),
        ("memory", amount(item.rss_bytes)),
        ("growth", amount(item.growth_bytes_per_s, "bytes/s")),
        ("CPU", amount(item.cpu_percent, "percent")),
        ("started", f"tick {item.started_ticks}"),
    ]
    if item.unit:
        figures.append(("unit", item.unit))
    note = f"protected: {item.protected}" if item.protected else ""
    return Line(
        id=item.id, kind="process", what=item.name, more=item.command, note=note, figures=figures
    )


def _mount(item: MountEvidence) -> Line:
    figures = [
        ("used", f"{amount(item.used_bytes)} of {amount(item.size_bytes)}"),
        ("inodes", f"{item.inodes_used} of {item.inodes}"),
        ("type", item.fstype),
    ]
    return Line(id=item.id, kind="mount", what=item.mount, more=item.device, figures=figures)


def _unit(item: UnitEvidence) -> Line:
    figures = [
        ("state", f"{item.active_state} ({item.sub_state})"),
        ("result", item.result),
        ("exit status", str(item.exit_status)),
        ("restarts", str(item.restarts)),
    ]
    return Line(id=item.id, kind="unit", what=item.unit, figures=figures)
