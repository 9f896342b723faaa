"""The numbers of the nodes' reports, as far as a log has them: whether a hub left one out.

A node's executor numbers its reports from 1 without a hole, and each names the digest of the one
before it. What the log says of them stands in `exec.result`, `exec.refuse` and `exec.rollback`.
They may come late and out of order; what counts is what is missing at the end. Reports under
another key are another row of numbers. The last report of a node can be left out without a trace
here until the next one comes.
"""

from dataclasses import dataclass, field
from typing import Any

from audit.entry import Entry

TYPES = frozenset({"exec.result", "exec.refuse", "exec.rollback"})
MAX_HOLES = 1000  # of one node; more are counted as one


@dataclass(slots=True)
class _Row:
    """The numbers under one key of one node."""

    last: int = 0
    digest: str | None = None  # of the last one
    holes: list[tuple[int, int]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


class NodeReports:
    """Takes the entries of a log in order; says at the end what is missing."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], _Row] = {}

    def take(self, entry: Entry) -> None:
        """The next entry; most are of no concern here."""
        if entry.type not in TYPES:
            return
        body = entry.body
        number, key = body.get("number"), body.get("result_key")
        if type(number) is not int or number < 1 or not isinstance(key, str):
            return  # the agent's own word, which has no number
        node = entry.actor.node or entry.actor.id
        row = self._rows.setdefault((node, key), _Row())
        if number > row.last:
            self._forward(row, node, number, body)
        elif not _fill(row, number):
            row.odd.append(f"report {number} of {node} is there twice")

    def findings(self) -> list[str]:
        """A sentence for each hole and each misfit, by node."""
        found = []
        for (node, _), row in sorted(self._rows.items()):
            found += [_missing(node, first, last) for first, last in row.holes]
            found += row.odd[:MAX_HOLES]
        return found

    @staticmethod
    def _forward(row: _Row, node: str, number: int, body: dict[str, Any]) -> None:
        if number > row.last + 1:
            if len(row.holes) < MAX_HOLES:
                row.holes.append((row.last + 1, number - 1))
        elif body.get("previous") != row.digest:
            row.odd.append(f"report {number} of {node} does not name the one before it")
        digest = body.get("report_digest")
        row.last, row.digest = number, digest if isinstance(digest, str) else None


def _fill(row: _Row, number: int) -> bool:
    """Whether this number was missing; then it is no longer."""
    for place, (first, last) in enumerate(row.holes):
        if first <= number <= last:
            rest = [(first, number - 1), (number + 1, last)]
            row.holes[place : place + 1] = [hole for hole in rest if hole[0] <= hole[1]]
            return True
    return False


def _missing(node: str, first: int, last: int) -> str:
    if first == last:
        return f"report {first} of {node} is missing: the node made it, and it is not in the log"
    return f"reports {first} to {last} of {node} are missing: the node made them"
