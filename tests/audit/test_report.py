"""The report for readers: it tells who, when, what and where, and obeys nothing that it tells."""

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from audit.exported import Export
from audit.html_report import html_report
from audit.pdf_report import pdf_report
from audit.report import Report, Verdict
from audit.story import MAX_CASES, MAX_CHANGES, Story, tell
from audit.summary import Summary, summarize
from audit.visible import visible
from tests.audit import example
from tests.audit.builders import INCIDENT, chain_of, draft, make_log, signer, uuid_of

HOSTILE = "/var \x1b[31m\u202egnp.exe\u200b <script>alert(1)</script> \"'&\x00\n\u65e5\ue000"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def summary_of(story: Story) -> Summary:
    export = Export(
        kind="whole", log="log.example/hub", first=0, last=3, entries=4, size=4, incident=None
    )
    report: Report = make_log(4).verify()
    return summarize(export, report, story, note=example.NOTE, vkey=example.VKEY)


def hostile_story() -> Story:
    opened = {"node": HOSTILE, "condition": HOSTILE, "subject": HOSTILE, "severity": HOSTILE}
    commands = [{"index": 0, "text": HOSTILE, "ruling": HOSTILE, "rule": HOSTILE}, "no object", 7]
    drafts = [
        draft(0, body={"vkey": HOSTILE}),
        draft(1, incident=INCIDENT, type="incident.open", body=opened),
        draft(2, incident=INCIDENT, type="plan.verdict", body={"commands": commands}),
        draft(3, incident=INCIDENT, type="plan.verdict", body={"commands": 5, "ruling": []}),
        draft(
            4, incident=INCIDENT, type="exec.result", body={"steps": {"a": 1}, "outcome": HOSTILE}
        ),
        draft(5, incident=INCIDENT, type="manual.step", body={"command": HOSTILE, "result": None}),
        draft(6, incident=INCIDENT, type="approval.grant", body={"comment": HOSTILE, "mode": 5}),
        draft(7, type="config.change", body={"text": HOSTILE, "deep": {"er": [HOSTILE]}}),
        draft(8, actor=msgspec.structs.replace(draft(0).actor, id=HOSTILE, kind=HOSTILE)),
    ]
    return tell(chain_of(drafts))


def test_what_comes_from_a_host_is_shown_and_not_obeyed() -> None:
    story = hostile_story()
    page = html_report(summary_of(story), story)
    for char in ("\x1b", "\u202e", "\u200b", "\x00", "\ue000"):
        assert char not in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\u27e8U+001B\u27e9[31m\u27e8U+202E\u27e9gnp.exe\u27e8U+200B\u27e9" in page
    assert "\u65e5" in page  # other scripts are text
    assert not re.search(r"\son\w+=|javascript:|https?://(?!www\.w3\.org/2000/svg)", page)
    assert pdf_report(summary_of(story), story, at=AT).startswith(b"%PDF-")


def test_a_page_needs_nothing_from_outside() -> None:
    story = tell(example.LINES)
    page = html_report(summary_of(story), story)
    assert "default-src 'none'" in page
    assert not re.search(r"<(link|img|iframe|object|script)\b|url\(|@import", page)


def test_the_report_says_who_approved_what_and_what_came_of_it() -> None:
    story = tell(example.LINES)
    (case,) = story.cases.values()
    assert case.glance == (
        "disk full on web1.example: /var (2026-03-01 12:00:30 UTC)",
        "maria",
        "nothing",
        "resolved",
    )
    page = html_report(summary_of(story), story)
    for text in (
        "Complete and unaltered",
        "maria approved the plan to be run",
        "2026-03-01 12:01:35 UTC \u00b7 maria \u00b7 entry 2",
        "closed as resolved; it has 3 entries up to here",
        example.VKEY,
        example.NOTE.split("\n")[2],
        "<svg",
    ):
        assert text in page, text


def test_what_was_stopped_taken_back_or_refused_is_told_in_words() -> None:
    steps = [{"index": 0, "exit_status": 1, "output_sha256": "ab" * 32}]
    drafts = [
        draft(0),
        draft(1, type="node.halt", body={"scope": "fleet", "node": None, "state": "ordered"}),
        draft(2, type="node.resume", body={"scope": "node", "node": "web1", "state": "signed"}),
        draft(3, type="witness.refuse", body={"node": "web1", "reason": "it is shorter"}),
        draft(4, type="exec.gap", body={"node": "w", "first": 2, "last": 3, "kind": "hole"}),
        draft(5, incident=INCIDENT, type="exec.result", body={"outcome": "failed", "steps": steps}),
        draft(
            6,
            incident=INCIDENT,
            type="exec.rollback",
            body={"outcome": "succeeded", "steps": steps},
        ),
    ]
    story = tell(chain_of(drafts))
    said = " | ".join(line.what for line in story.changes)
    for words in ("stop on all hosts: ordered", "host web1 may run again", "web1 refused the log"):
        assert words in said
    assert story.cases[INCIDENT].ran == [
        "1 command on maria: failed",
        "taken back, 1 command on maria: succeeded",
    ]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.TAMPERED, "Altered: this is not what was signed"),
        (Verdict.INCOMPLETE, "Genuine as far as it goes, but not complete"),
    ],
)
def test_a_bad_verdict_is_the_first_thing_that_is_read(verdict: Verdict, words: str) -> None:
    story = tell(example.LINES)
    export = Export(kind="whole", first=0, incident=None)
    report = msgspec.structs.replace(make_log(4).verify(), verdict=verdict, sentence="it is so")
    summary = summarize(export, report, story, note=example.NOTE, vkey=example.VKEY)
    page = html_report(summary, story)
    assert page.index(words) < page.index("At a glance")
    assert "It is so." in page


def test_the_same_story_is_the_same_bytes() -> None:
    story = hostile_story()
    first = pdf_report(summary_of(story), story, at=AT)
    assert first == pdf_report(summary_of(story), story, at=AT)
    assert b"D:20260301120000" in first


def test_a_long_log_gives_a_bounded_report_that_says_so() -> None:
    drafts = [draft(n, type="config.change") for n in range(MAX_CHANGES + 5)]
    drafts += [draft(n, incident=uuid_of(n)) for n in range(1000, 1000 + MAX_CASES + 3)]
    drafts += [draft(n, incident=uuid_of(1000)) for n in range(2000, 2300)]
    story = tell(chain_of(drafts))
    assert (len(story.changes), story.more_changes) == (MAX_CHANGES, 5)
    assert (len(story.cases), story.more_cases) == (MAX_CASES, 3)
    page = html_report(summary_of(story), story)
    assert "3 more incidents are in the entries" in page
    assert "101 more entries of this incident" in page


def test_an_entry_that_is_none_is_counted() -> None:
    story = tell([*example.LINES, b"nonsense"])
    assert (story.entries, story.unreadable) == (5, 1)


@pytest.mark.parametrize("char", ["\x00", "\x1f", "\x7f", "\x85", "\u2028", "\ufeff", "\U000e0041"])
def test_no_character_hides(char: str) -> None:
    assert visible(f"a{char}b") == f"a\u27e8U+{ord(char):04X}\u27e9b"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert visible("x" * 700).endswith(" … (100 characters more)")


def test_the_fonts_come_with_their_licence() -> None:
    fonts = Path(__file__).parents[2] / "audit" / "fonts"
    assert "Bitstream Vera" in (fonts / "LICENSE").read_text()
    assert signer().vkey  # builders are the real ones
