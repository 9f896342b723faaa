"""Whose word a report is, and whether one before it is missing.

A node's executor numbers its reports, chains and signs them (`appliance/report_chain.py`). Here the
hub checks that against the key that it pinned for this node, keeps the numbers, and says aloud what
does not fit. A hole is an alarm until what is missing has come; nothing is ever quietly skipped.
"""

import logging
from datetime import datetime
from enum import Enum
from typing import Any

from psycopg.types.json import Jsonb

from appliance import report_chain
from appliance.journal import shown
from appliance.records import Outcome, Report
from hub.persist.database import Work
from hub.persist.outbox import actor, offer

MOST_HELD = 1000  # reports of one node under a key that nobody accepted

_HUB = actor("hub", "hub")
_log = logging.getLogger(__name__)


class Word(Enum):
    """Whose word a report is."""

    EXECUTOR = "executor"  # signed by the key that is pinned for this node
    AGENT = "agent"  # not signed: the agent says it
    HELD = "held"  # signed by a key that nobody has accepted yet


def whose(work: Work, report: Report, *, node: str) -> Word | str:
    """Whose word it is, or why it is nobody's and never will be."""
    row = work.one("lock_node_key", node=node) or {}
    pinned, offered = row.get("result_key"), row.get("result_key_offered")
    if not report.signature:
        if pinned is None or _ran_nothing(report):
            return Word.AGENT
        return "what ran on a node is believed from its executor only, with its signature"
    if report.number < 1:
        return "a signed report has a number from 1 on"
    if pinned and report_chain.is_signed_by(report, report_chain.read_key(pinned)):
        return Word.EXECUTOR
    if pinned is None:
        return Word.HELD
    if offered and report_chain.is_signed_by(report, report_chain.read_key(offered)):
        return Word.HELD
    return "its signature is not of this node's key for reports"


def hold(work: Work, report: Report, *, node: str, now: datetime) -> str | None:
    """Keep a report until its key is accepted; why not, if there are too many."""
    _log.warning("node=%s report %s is under a key that is not accepted", node, report.number)
    held = work.run(
        "hold_report",
        report_id=report.report_id,
        node=node,
        body=Jsonb(report),
        now=now,
        most=MOST_HELD,
    )
    return None if held else "too many reports are held for a key that nobody has accepted"


def count(work: Work, report: Report, *, node: str, now: datetime) -> None:
    """Give a believed report its place among the node's reports, and say what does not fit."""
    # 1. a number comes once: another report of the same number is a fork of the node's state
    # 2. no number before it is missing, or this was the missing one
    # 3. it names the report before it, and the one after it names this one
    key = (work.one("lock_node_key", node=node) or {})["result_key"]
    place = {"node": node, "key": key}
    digest, number = report_chain.digest(report), report.number
    known = work.one("numbered_report", number=number, **place)
    if known is not None:  # 1
        if known["digest"] != digest:
            trouble(work, kind="repeat", first=number, last=number, now=now, **place)
        return
    work.run(
        "add_numbered_report",
        number=number,
        report_id=report.report_id,
        digest=digest,
        previous=report.previous,
        now=now,
        **place,
    )
    if not _filled(work, number, place, now=now):  # 2
        last = (work.one("last_number_before", number=number, **place) or {})["number"]
        if number > last + 1:
            trouble(work, kind="gap", first=last + 1, last=number - 1, now=now, **place)
    before = work.one("numbered_report", number=number - 1, **place)
    after = work.one("numbered_report", number=number + 1, **place)
    if (  # 3
        (number == 1 and report.previous)
        or (before is not None and before["digest"] != report.previous)
        or (after is not None and after["previous"] != digest)
    ):
        trouble(work, kind="chain", first=number, last=number, now=now, **place)


def trouble(
    work: Work, *, node: str, key: str, kind: str, first: int, last: int, now: datetime
) -> None:
    """Something is wrong with a node's reports: on the Nodes page, in the log, in our own log."""
    _log.error("node=%s reports %d to %d: %s", node, first, last, kind)
    work.run("add_trouble", node=node, key=key, kind=kind, first=first, last=last, now=now)
    _tell(work, node=node, key=key, kind=kind, first=first, last=last, state="open", now=now)


def about(report: Report, word: Word, *, key: str | None) -> dict[str, Any]:
    """What an audit entry says of a report, so that an auditor sees a missing one."""
    return {
        "order_id": report.order_id,
        "report_id": report.report_id,
        "number": report.number,
        "previous": report.previous or None,
        "report_digest": report_chain.digest(report),
        "signed": word is Word.EXECUTOR,
        "result_key": report_chain.fingerprint(key) if key and word is Word.EXECUTOR else None,
    }


def pinned_key(work: Work, node: str) -> str | None:
    """The key that signs this node's reports, as far as is known."""
    key: str | None = (work.one("lock_node_key", node=node) or {}).get("result_key")
    return key


def sentence(kind: str, first: int, last: int) -> str:
    """What is wrong, for people."""
    which = f"report {first}" if first == last else f"reports {first} to {last}"
    match kind:
        case "gap":
            return f"{which} {'is' if first == last else 'are'} missing"
        case "repeat":
            return f"{which} came twice with different content: was the node set back or copied?"
        case "chain":
            return f"{which} does not fit to the one before or after it"
        case _:
            return f"{which} is on an order that this hub did not give"


def _ran_nothing(report: Report) -> bool:
    """The one thing an agent may say by itself: the executor did not even take the order."""
    return (
        report.outcome is Outcome.REFUSED
        and report.number == 0
        and not report.steps
        and report.undo_of is None
    )


def _filled(work: Work, number: int, place: dict[str, str], *, now: datetime) -> bool:
    """Whether this number was missing; the rest of its gap stays open."""
    gap = work.one("gap_around", number=number, **place)
    if gap is None:
        return False
    work.run("close_trouble", trouble_id=gap["trouble_id"], now=now)
    for first, last in ((gap["first"], number - 1), (number + 1, gap["last"])):
        if first <= last:
            work.run("add_trouble", kind="gap", first=first, last=last, now=now, **place)
    _tell(work, kind="gap", first=number, last=number, state="closed", now=now, **place)
    return True


def _tell(
    work: Work, *, node: str, key: str, kind: str, first: int, last: int, state: str, now: datetime
) -> None:
    offer(
        work,
        type="exec.gap",
        actor=_HUB,
        at=now,
        outcome=state,
        body={
            "node": node,
            "kind": kind,
            "first": first,
            "last": last,
            "state": state,
            "result_key": report_chain.fingerprint(key),
            "reason": shown(sentence(kind, first, last)),
        },
    )
