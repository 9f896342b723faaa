"""What the executor has promised, begun and ended: one line each, on disk before it acts.

    claimed   the order passed no check yet, but its id and its approval are used up
    started   a command is about to run
    finished  a command has ended
    done      the report, as it will be told
    reported  the agent has the report in its spool

A crash leaves at most half a line at the end: that line was not acted upon, and is cut off.
"""

import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agent.errors import JournalError
from appliance.ids import uuid7
from appliance.records import Outcome, Record, Report, StepResult

What = Literal["claimed", "started", "finished", "done", "reported"]


class Line(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the journal."""

    at: datetime
    what: What
    order_id: str
    approval_ids: tuple[Annotated[str, msgspec.Meta(max_length=255)], ...] = ()
    shown_digest: str = ""
    index: int | None = None
    result: StepResult | None = None
    report: Report | None = None


class ExecutionJournal:
    """The journal file of one executor; `append` returns when the line is on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = _read(path)
        self.orders: set[str] = {line.order_id for line in self._lines}
        self.approvals: set[str] = {
            mark for line in self._lines for mark in (*line.approval_ids, line.shown_digest) if mark
        }
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            _sync_folder(path.parent)
        except OSError as error:
            raise JournalError(f"{path}: cannot write: {error.strerror}") from error

    def append(self, line: Line) -> None:
        """Write a line and sync it; raises `JournalError`, and then nothing may be acted upon."""
        data = msgspec.json.encode(line) + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise JournalError(f"{self._path}: cannot write: {error.strerror}") from error
        self._lines.append(line)
        self.orders.add(line.order_id)
        self.approvals.update(mark for mark in (*line.approval_ids, line.shown_digest) if mark)

    def untold(self) -> list[Report]:
        """Reports that the agent has not confirmed, oldest first."""
        told = {line.order_id for line in self._lines if line.what == "reported"}
        return [
            line.report
            for line in self._lines
            if line.what == "done" and line.report is not None and line.order_id not in told
        ]

    def told(self, report_id: str, *, now: datetime) -> None:
        """The agent has this report in its spool; a report that is not ours changes nothing."""
        for report in self.untold():
            if report.report_id == report_id:
                self.append(Line(at=now, what="reported", order_id=report.order_id))

    def recover(self, *, now: datetime, killed: Collection[str] = ()) -> list[Report]:
        """End every order that a crash left open; the reports that say so.

        An order that was claimed and not started ran nothing. One that was started may have run
        or not: nobody can tell, so a person is asked, and it never runs again. `killed` are the
        units that were still there: what ran on is told.
        """
        ended = {line.order_id for line in self._lines if line.what == "done"}
        reports = []
        for line in [one for one in self._lines if one.what == "claimed"]:
            if line.order_id not in ended:
                left = sorted(unit for unit in killed if line.order_id in unit)
                report = self._of_the_crashed(line.order_id, now=now, left=left)
                self.append(Line(at=now, what="done", order_id=line.order_id, report=report))
                reports.append(report)
        return reports

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _of_the_crashed(self, order_id: str, *, now: datetime, left: list[str]) -> Report:
        mine = [line for line in self._lines if line.order_id == order_id]
        started = any(line.what == "started" for line in mine)
        results = tuple(line.result for line in mine if line.result is not None)
        if not started:
            return Report(
                report_id=uuid7(),
                order_id=order_id,
                outcome=Outcome.REFUSED,
                refused_step="5 journal",
                reason="the executor ended before the first command; nothing was run",
                finished_at=now,
            )
        return Report(
            report_id=uuid7(),
            order_id=order_id,
            outcome=Outcome.UNKNOWN,
            reason="the executor ended in the middle; it will not run this order again"
            + (f"; {', '.join(left)} still ran and was killed" if left else ""),
            steps=results,
            finished_at=now,
        )


def _read(path: Path) -> list[Line]:
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
    lines = []
    for number, text in enumerate(whole.splitlines(), start=1):
        try:
            lines.append(msgspec.json.decode(text, type=Line))
        except msgspec.DecodeError as error:
            raise JournalError(f"{path}:{number}: not a line of this journal: {error}") from error
    return lines


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
