"""The lines of the execution journal as they stand in its file: reading, and making it shorter.

The file is read whole at each start, so it must not grow for ever. What may be left out is decided
here, and only at a start, before anything is promised.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agent.durable import write_durably
from agent.errors import JournalError
from agent.moment import Moment
from appliance.records import Record, Report, StepResult

What = Literal[
    "claimed",
    "started",
    "finished",
    "undoing",
    "undo_started",
    "undo_finished",
    "done",
    "reported",
    "forgot",
]

KEEP_AT_LEAST = 200  # orders, whatever the clock says; above any budget of actions for an hour


class Line(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the journal."""

    at: datetime
    what: What
    order_id: str
    approval_ids: tuple[Annotated[str, msgspec.Meta(max_length=255)], ...] = ()
    shown_digest: str = ""
    until: datetime | None = None  # claimed: after this it would be refused as late
    kept: str = ""  # claimed: SHA-256 of the envelope that was kept for a rollback
    index: int | None = None
    acts: int = 0  # started: how many of its commands change something
    result: StepResult | None = None
    report: Report | None = None
    report_id: str = ""  # reported: which
    signer: str = ""  # done: the public key that signed the report
    boot: str = ""
    up_s: float = 0.0  # since that boot

    @property
    def moment(self) -> Moment:
        """When it was written."""
        return Moment(at=self.at, boot=self.boot, up_s=self.up_s)


@dataclass(slots=True)
class _Span:
    """The lines of one order, and what of it forbids to forget it."""

    last: int = 0  # place of its last line
    at: datetime | None = None
    until: datetime | None = None
    open: int = 0  # claims and rollbacks without their report, reports that were not told


def read(path: Path) -> list[Line]:
    """All lines; half a line at the end is cut off, anything else that is wrong is an error."""
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise JournalError(f"{path}: cannot read: {error.strerror}") from error
    whole, _, torn = data.rpartition(b"\n")
    if torn:
        with path.open("r+b") as file:
            file.truncate(len(data) - len(torn))
            os.fsync(file.fileno())
    return [_decode(path, number, text) for number, text in enumerate(whole.splitlines(), start=1)]


def shorten(path: Path, *, keep: timedelta, now: datetime) -> int:
    """Leave out orders that are over, told, old, and could only be late; how many.

    An id may be forgotten once its plan has ended: whatever carries it again is refused at "4
    time", and the approval that it needs at "5 once". A clock that is set back would undo that, so
    the latest end of what was forgotten is written down, and plans that end before it are refused
    whatever the clock says. The newest orders stay whatever their age: the last report's number,
    its digest and the actions of the last hour are among them even when the clock was wrong.
    """
    lines = read(path)
    spans = _spans(lines)
    newest = sorted(spans, key=lambda order_id: spans[order_id].last)[-KEEP_AT_LEAST:]
    stays = {*newest, *_last_done(lines)}
    gone = {
        order_id: span
        for order_id, span in spans.items()
        if order_id not in stays and _is_over(span, keep=keep, now=now)
    }
    if not gone:
        return 0
    ends = [span.until for span in gone.values() if span.until is not None]
    ends += [line.until for line in lines if line.what == "forgot" and line.until is not None]
    mark = Line(at=now, what="forgot", order_id="", until=max(ends, default=None))
    left = [line for line in lines if line.what != "forgot" and line.order_id not in gone]
    # A crash here leaves the long journal or the short one.
    write_durably(path, b"".join(msgspec.json.encode(line) + b"\n" for line in [mark, *left]))
    return len(gone)


def _spans(lines: list[Line]) -> dict[str, _Span]:
    spans: dict[str, _Span] = {}
    for place, line in enumerate(lines):
        if line.what == "forgot":
            continue
        span = spans.setdefault(line.order_id, _Span())
        span.last, span.at = place, line.at
        span.until = line.until or span.until
        match line.what:
            case "claimed" | "undoing":
                span.open += 1  # its report is due
            case "done" if line.report is not None:
                # The report of a claim or rollback is now due to be told instead. An order that
                # was refused before it was claimed has only its report.
                span.open += 0 if span.open else 1
            case "reported":
                span.open -= 1
    return spans


def _last_done(lines: list[Line]) -> set[str]:
    last: dict[str, str] = {line.signer: line.order_id for line in lines if line.what == "done"}
    return set(last.values())


def _is_over(span: _Span, *, keep: timedelta, now: datetime) -> bool:
    old = span.at is not None and now - span.at > keep
    return old and span.open == 0 and (span.until is None or span.until < now)


def _decode(path: Path, number: int, text: bytes) -> Line:
    try:
        return msgspec.json.decode(text, type=Line)
    except msgspec.DecodeError as error:
        raise JournalError(f"{path}:{number}: not a line of this journal: {error}") from error
