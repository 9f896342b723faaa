"""What the executor has promised, begun and ended: one line each, on disk before it acts.

    claimed        the order passed no check yet, but its id and its approvals are used up
    started        a command is about to run
    finished       a command has ended
    undoing        its rollback is used up: from here on it runs at most once
    undo_started   a command of the rollback is about to run
    undo_finished  it has ended
    done           the report, numbered and signed, as it will be told
    reported       the agent has the report in its spool
    forgot         first line of a journal that was made shorter (`agent/journal_file.py`)

A crash leaves at most half a line at the end: that line was not acted upon, and is cut off. What
the lines mean together is kept in `Past`, one for each order.
"""

import os
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import journal_file
from agent.durable import sync_folder
from agent.errors import JournalError
from agent.journal_file import Line
from agent.moment import Moment
from appliance import report_chain
from appliance.ids import uuid7
from appliance.records import Outcome, Report, StepResult

__all__ = ["Action", "ExecutionJournal", "Line", "Past"]

_MOST_ACTIONS = 1000  # remembered; the budget of an hour is far below


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """So many acting commands were about to run at this moment."""

    at: Moment
    count: int


@dataclass(slots=True)
class Past:
    """What the journal knows of one order; outputs are kept only until they are reported."""

    order_id: str
    claimed: bool = False
    kept: str = ""  # SHA-256 of the envelope that was kept for a rollback; empty: none was
    started: list[int] = field(default_factory=list)  # steps, in the order they were begun
    results: list[StepResult] = field(default_factory=list)
    outcome: Outcome | None = None  # None: not ended yet
    report_id: str = ""  # of the report on the order itself
    ended: Moment | None = None
    undoing: bool = False
    undo_started: list[int] = field(default_factory=list)
    undo_results: list[StepResult] = field(default_factory=list)
    undone: bool = False  # the rollback has its report, whatever became of it


class ExecutionJournal:
    """The journal file of one executor; `append` returns when the line is on disk."""

    def __init__(self, path: Path, *, key: Ed25519PrivateKey | None = None) -> None:
        """Read the file; `key` is the node's own, which signs reports."""
        self._path = path
        self._broken = False
        self._key = key
        self._signer = report_chain.spelled(key.public_key()) if key else ""
        self.orders: set[str] = set()
        self.approvals: set[str] = set()
        self.pasts: dict[str, Past] = {}
        self.actions: deque[Action] = deque(maxlen=_MOST_ACTIONS)
        self.forgot_until: datetime | None = None  # what ended before this may have been forgotten
        self.last_number = 0  # of the reports that this key signed
        self._last_digest = ""
        self._untold: dict[str, Report] = {}
        for line in journal_file.read(path):
            self._take(line)
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            sync_folder(path.parent)
        except OSError as error:
            raise JournalError(f"{path}: cannot write: {error.strerror}") from error

    def append(self, line: Line) -> None:
        """Write a line and sync it; raises `JournalError`, and then nothing may be acted upon.

        After a line that failed no other is taken: behind half a line it would be nonsense, and
        what is on disk is only known after reading.
        """
        if self._broken:
            raise JournalError(f"{self._path}: an earlier line could not be written")
        data = msgspec.json.encode(line) + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._broken = True
            raise JournalError(f"{self._path}: cannot write: {error.strerror}") from error
        self._take(line)

    def end(self, report: Report, *, now: Moment) -> Report:
        """Give a report its number, its place in the chain and its signature, and write it down.

        From here on a restart finds it and tells it: the number is used up with this very line.
        """
        numbered = msgspec.structs.replace(
            report, number=self.last_number + 1, previous=self._last_digest
        )
        signed = report_chain.sign(numbered, self._key) if self._key else numbered
        self.append(
            Line(
                at=now.at,
                what="done",
                order_id=report.order_id,
                report=signed,
                signer=self._signer,
                boot=now.boot,
                up_s=now.up_s,
            )
        )
        return signed

    def untold(self) -> list[Report]:
        """Reports that the agent has not confirmed, oldest first."""
        return list(self._untold.values())

    def told(self, report_id: str, *, now: datetime) -> None:
        """The agent has this report in its spool; a report that is not ours changes nothing."""
        report = self._untold.get(report_id)
        if report is not None:
            line = Line(at=now, what="reported", order_id=report.order_id, report_id=report_id)
            self.append(line)

    def recover(
        self, *, now: Moment, log_size: int = 0, killed: Collection[str] = ()
    ) -> list[Report]:
        """End every order and every rollback that a crash left open; the reports that say so.

        What was claimed and not started ran nothing. What was started may have run or not: nobody
        can tell, so a person is asked, and it never runs again. `killed` names the units that
        were still there: what ran on is told.
        """
        pasts = [past for past in self.pasts.values() if past.claimed]
        reports = [_crashed(past, killed, now=now) for past in pasts if past.outcome is None]
        reports += [
            _crashed(past, killed, now=now, undo=True)
            for past in pasts
            if past.undoing > past.undone
        ]
        return [
            self.end(msgspec.structs.replace(report, log_size=log_size), now=now)
            for report in reports
        ]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _take(self, line: Line) -> None:
        """What a line means for what we know."""
        if line.what == "forgot":
            self.forgot_until = line.until
            return
        past = self.pasts.setdefault(line.order_id, Past(line.order_id))
        self.orders.add(line.order_id)
        self.approvals.update(mark for mark in (*line.approval_ids, line.shown_digest) if mark)
        match line.what:
            case "claimed":
                past.claimed, past.kept = True, line.kept
            case "started" | "undo_started":
                begun = past.started if line.what == "started" else past.undo_started
                begun.append(line.index or 0)
                if line.acts:
                    self.actions.append(Action(at=line.moment, count=line.acts))
            case "finished" | "undo_finished" if line.result is not None:
                results = past.results if line.what == "finished" else past.undo_results
                results.append(line.result)
            case "undoing":
                past.undoing = True
            case "done" if line.report is not None:
                self._take_report(past, line, line.report)
            case "reported":
                self._untold.pop(line.report_id, None)

    def _take_report(self, past: Past, line: Line, report: Report) -> None:
        self._untold[report.report_id] = report
        if line.signer == self._signer:  # a new key begins a chain of its own
            self.last_number, self._last_digest = report.number, report_chain.digest(report)
        if report.undo_of is None:
            past.outcome, past.report_id, past.ended = report.outcome, report.report_id, line.moment
            past.results = []
        else:
            past.undoing = past.undone = True
            past.undo_results = []


def _ran_on(past: Past, left: Collection[str]) -> str:
    mine = sorted(unit for unit in left if past.order_id in unit)
    return f"; {', '.join(mine)} still ran and was killed" if mine else ""


def _crashed(past: Past, left: Collection[str], *, now: Moment, undo: bool = False) -> Report:
    """What a crash left of an order, or of its rollback: begun is unknown, else nothing ran."""
    begun, results = past.started, past.results
    if undo:
        begun, results = past.undo_started, past.undo_results
    words = _ROLLBACK if undo else _ORDER
    return Report(
        report_id=uuid7(),
        order_id=past.order_id,
        outcome=Outcome.UNKNOWN if begun else Outcome.REFUSED,
        refused_step=None if begun else words.step,
        reason=words.in_the_middle + _ran_on(past, left) if begun else words.nothing_ran,
        steps=tuple(results) if begun else (),
        finished_at=now.at,
        undo_of=past.report_id if undo else None,
    )


@dataclass(frozen=True, slots=True)
class _Words:
    step: str
    nothing_ran: str
    in_the_middle: str


_ORDER = _Words(
    "5 journal",
    "the executor ended before the first command; nothing was run",
    "the executor ended in the middle; it will not run this order again",
)
_ROLLBACK = _Words(
    "undo 3 once",
    "the executor ended before the rollback's first command; nothing was undone",
    "the executor ended in the middle of the rollback; it will not run it again",
)
