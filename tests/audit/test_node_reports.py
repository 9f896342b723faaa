"""A hub that leaves out a node's report: the auditor's program says which one."""

from typing import Any

import msgspec
import pytest

from audit.entry import Actor, EntryDraft
from audit.report import Report, Verdict, as_text
from tests.audit.builders import Log, chain_of, draft, note_of

KEY, OTHER = "aa" * 32, "bb" * 32


def told(
    place: int, number: int, *, node: str = "h1", key: str | None = KEY, **changes: Any
) -> EntryDraft:
    """The entry of a node's report."""
    body = {
        "order_id": f"o{number}",
        "number": number,
        "previous": f"{number - 1:064x}" if number > 1 else None,
        "report_digest": f"{number:064x}",
        "result_key": key,
    }
    return draft(
        place,
        type=("exec.result", "exec.refuse", "exec.rollback")[number % 3],
        actor=Actor(kind="node", id=node, node=node, session=None),
        body={**body, **changes},
    )


def verified(*numbers: int | EntryDraft) -> Report:
    drafts = [draft(0)]
    for place, one in enumerate(numbers, start=1):
        drafts.append(one if isinstance(one, EntryDraft) else told(place, one))
    lines = chain_of(drafts)
    return Log(lines=lines, notes=[note_of(lines)]).verify()


def test_all_of_a_nodes_reports_are_there() -> None:
    assert verified(1, 2, 3).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1, 3), "report 2 of h1 is missing"),
        ((2, 3), "report 1 of h1 is missing"),
        ((1, 5), "reports 2 to 4 of h1 are missing"),
        ((1, 5, 3), "report 2 of h1 is missing"),
    ],
)
def test_a_report_that_was_left_out_is_named_and_the_log_is_incomplete(
    numbers: tuple[int, ...], words: str
) -> None:
    report = verified(*numbers)
    assert (report.verdict, report.exit_status) == (Verdict.INCOMPLETE, 2)
    assert words in report.sentence
    assert "as signed" in report.sentence
    assert words in as_text(report)


@pytest.mark.parametrize("numbers", [(1, 3, 2), (3, 1, 2), (5, 2, 4, 1, 3)])
def test_a_report_that_comes_late_closes_its_hole(numbers: tuple[int, ...]) -> None:
    assert verified(*numbers).verdict is Verdict.VALID


def test_every_node_and_every_key_has_numbers_of_its_own() -> None:
    drafts = [told(1, 1), told(2, 1, node="h2"), told(3, 1, key=OTHER), told(4, 2, key=OTHER)]
    assert verified(*drafts).verdict is Verdict.VALID
    report = verified(*drafts, told(5, 3, node="h2"))
    assert report.missing_reports == (
        "report 2 of h2 is missing: the node made it, and it is not in the log",
    )


def test_a_report_that_does_not_name_the_one_before_it_is_told() -> None:
    report = verified(told(1, 1), told(2, 2, previous="cc" * 32))
    assert report.exit_status == 2
    assert "report 2 of h1 does not name the one before it" in report.sentence


def test_the_same_number_twice_is_told() -> None:
    assert "report 1 of h1 is there twice" in verified(1, told(2, 1)).sentence


def test_an_agents_own_word_has_no_number_and_is_no_hole() -> None:
    assert verified(1, told(2, 0, key=None), told(3, 2)).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "junk",
    [{"number": "2"}, {"number": True}, {"number": -1}, {"result_key": 7}, {"report_digest": 7}],
)
def test_a_body_that_is_nonsense_does_not_stop_the_check(junk: dict[str, Any]) -> None:
    one = told(1, 1)
    assert verified(msgspec.structs.replace(one, body={**one.body, **junk})).verdict is (
        Verdict.VALID
    )


def test_a_tampered_log_stays_tampered_whatever_is_missing() -> None:
    lines = chain_of([draft(0), told(1, 1), told(2, 3)])
    report = Log(lines=[*lines[:-1], lines[-1][:-2] + b" }"], notes=[note_of(lines)]).verify()
    assert report.exit_status == 1
