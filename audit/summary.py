"""The first page of a report in words: what this is, what was found, what it proves."""

import msgspec

from audit.exported import Export
from audit.report import Report, Verdict
from audit.story import Story
from audit.visible import visible


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All that the two forms of the report say before the story."""

    title: str
    subtitle: str
    verdict: str
    headline: str
    verdict_sentence: str
    facts: tuple[tuple[str, str], ...]
    checkpoint: str  # the signed note, verbatim
    checkpoint_words: str
    vkey: str
    how_to_check: tuple[str, ...]
    command: str


_READING_AID = (
    "This page is a reading aid. What counts are the entries, which lie beside it. Unpack the"
    " archive on any computer with Python and run the enclosed program of one file; it needs"
    " nothing else, and README.md shows the same with openssl, sha256sum and jq."
)
_WHOSE_KEY = (
    "Give the key that you noted when the log was begun; a key that comes with the export proves"
    " only that nothing was changed since it was exported."
)
_HOW_TO_CHECK = (_READING_AID, _WHOSE_KEY)
_HEADLINES = {
    Verdict.VALID: "Complete and unaltered",
    Verdict.TAMPERED: "Altered: this is not what was signed",
    Verdict.INCOMPLETE: "Genuine as far as it goes, but not complete",
}


def summarize(export: Export, report: Report, story: Story, *, note: str, vkey: str) -> Summary:
    """The summary of an exported part that was just verified."""
    part = f"entries {export.first} to {export.last}"
    title = "Report from the audit log"
    if export.incident is not None:
        title = "Report on one incident"
        part = f"the {export.entries} entries of incident {export.incident}"
    facts = [
        ("Log", export.log),
        ("This report covers", part),
        ("From", story.begins or "—"),
        ("To", story.ends or "—"),
        ("Incidents", str(len(story.cases) + story.more_cases)),
        ("Signed size of the log", f"{export.size} entries"),
    ]
    if story.unreadable:
        facts.append(("Unreadable", f"{story.unreadable} entries are not in their proper form"))
    facts += [("Withheld", f"{_withheld(each)}") for each in export.withheld[:20]]
    return Summary(
        title=title,
        subtitle=f"{visible(export.log)} · {part}",
        verdict=report.verdict,
        headline=_HEADLINES[report.verdict],
        verdict_sentence=visible(_capital(report.sentence) + "."),
        facts=tuple(facts),
        checkpoint=visible_note(note),
        checkpoint_words=(
            "These lines name the log, count its entries and hold one number (the root) that"
            " depends on every one of them; the last line is the signature. Keep a copy, on paper"
            " or by scanning the square: whoever has it can tell later whether the log was changed."
        ),
        vkey=visible(vkey),
        how_to_check=_HOW_TO_CHECK,
        command="python3 audit_verify.py . --vkey 'THE KEY YOU NOTED'",
    )


def visible_note(note: str) -> str:
    """A signed note line by line."""
    return "\n".join(visible(line) for line in note.split("\n"))


def _withheld(each: str) -> str:
    seq, field, digest = [*each.split(" ", 2), "", ""][:3]
    return f"{field} of entry {seq}; what was withheld is bound by the digest {digest}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
