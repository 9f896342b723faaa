"""The report as a PDF: the same words as the page, for who prints and files.

Always the same bytes for the same report: its date is that of the last entry, its fonts come with
the package. A character that the fonts lack is shown as its number.
"""

from datetime import datetime
from importlib.resources import files

import segno
from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos
from fpdf.fonts import TTFFont

from audit.html_report import GLANCE, case_words, deeds
from audit.story import Case, Line, Story
from audit.summary import Summary
from audit.visible import drawable

_MARGIN_MM = 18
_QR_MM = 42
_SANS, _MONO = "DejaVu", "DejaVuMono"
Colour = tuple[int, int, int]
_INK, _SOFT, _RULE = (26, 31, 38), (91, 102, 115), (217, 222, 228)
_TONES: dict[str, Colour] = {"yes": (27, 122, 67), "no": (179, 38, 30), "ran": (20, 89, 156)}
_VERDICTS: dict[str, Colour] = {"VALID": _TONES["yes"], "TAMPERED": _TONES["no"]}


def pdf_report(summary: Summary, story: Story, *, at: datetime) -> bytes:
    """The document's bytes; `at` is the time it says it was made."""
    page = _Page(summary.title, at)
    page.add_page()
    _head(page, summary)
    _glance(page, story)
    _checkpoint(page, summary)
    if story.cases:
        page.heading("What happened")
        for case in story.cases.values():
            _case(page, case)
        if story.more_cases:
            page.say(f"{story.more_cases} more incidents are in the entries, not in this report.")
    if story.people:
        page.heading("People")
        for name, did in sorted(story.people.items()):
            page.say(f"{name}: {deeds(did)}")
    if story.changes:
        page.heading("Outside of incidents")
        for line in story.changes:
            _line(page, line)
        if story.more_changes:
            page.say(f"{story.more_changes} more are in the entries, not in this report.")
    page.need(60)
    page.heading("How to check this without trusting us")
    for each in summary.how_to_check:
        page.say(each)
    page.say(summary.command, family=_MONO, size=9)
    return bytes(page.output())


class _Page(FPDF):
    """A4 in our fonts, with a foot on every page."""

    def __init__(self, title: str, at: datetime) -> None:
        super().__init__(format="A4")
        self.set_margins(_MARGIN_MM, _MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=_MARGIN_MM + 4)
        self.set_creation_date(at)
        self.set_title(title)
        self.set_creator("sentinel-audit")
        fonts = files("audit") / "fonts"
        for family, style, name in (
            (_SANS, "", "DejaVuSans"),
            (_SANS, "B", "DejaVuSans-Bold"),
            (_MONO, "", "DejaVuSansMono"),
        ):
            self.add_font(family, style, str(fonts / f"{name}.ttf"))
        self._foot = title
        self._known: dict[str, set[int]] = {}

    def footer(self) -> None:
        """Which report, which page of how many."""
        self.set_y(-_MARGIN_MM + 2)
        self.pen(8, _SOFT)
        self.cell(0, 5, f"{self._foot} · page {self.page_no()} of {{nb}}", align="C")

    def pen(
        self, size: float, colour: Colour = _INK, *, bold: bool = False, family: str = _SANS
    ) -> None:
        """The font of what is written next."""
        self.set_font(family, "B" if bold else "", size)
        self.set_text_color(*colour)

    def say(
        self,
        text: str,
        *,
        size: float = 10,
        colour: Colour = _INK,
        bold: bool = False,
        family: str = _SANS,
        indent: float = 0,
        width: float = 0,
        after: float = 1.2,
    ) -> None:
        """A paragraph."""
        self.pen(size, colour, bold=bold, family=family)
        self.set_x(_MARGIN_MM + indent)
        self.multi_cell(
            width,
            size * 0.5,
            drawable(text, self.glyphs(family)),
            align="L",
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
            wrapmode=WrapMode.WORD,
        )
        self.ln(after)

    def heading(self, text: str) -> None:
        """A chapter, not alone at the end of a page."""
        self.need(38)
        self.ln(4)
        self.say(text, size=14, bold=True, after=0.5)
        self.set_draw_color(*_INK)
        self.line(_MARGIN_MM, self.get_y(), self.w - _MARGIN_MM, self.get_y())
        self.ln(3)

    def need(self, height: float) -> None:
        """Begin a new page when this much, in mm, does not fit on this one."""
        if self.get_y() + height > self.page_break_trigger:
            self.add_page()

    def height(self, text: str, size: float, *, indent: float = 0) -> float:
        """How high a paragraph will be, in mm."""
        self.pen(size)
        shown = drawable(text, self.glyphs(_SANS))
        width = self.epw - indent
        high = self.multi_cell(width, size * 0.5, shown, dry_run=True, output="HEIGHT")
        return high if isinstance(high, float) else size

    def _drawable(self, family: str) -> set[int]:
        font = self.fonts[family.lower()]
        return set(font.cmap) | {ord("\n")} if isinstance(font, TTFFont) else set(range(32, 127))

    def glyphs(self, family: str) -> set[int]:
        """The characters that a font can draw."""
        if family not in self._known:
            self._known[family] = self._drawable(family)
        return self._known[family]


def _head(page: _Page, summary: Summary) -> None:
    page.say(summary.title, size=20, bold=True)
    page.say(summary.subtitle, colour=_SOFT, after=4)
    top = page.get_y()
    page.ln(2)
    page.say(summary.headline, size=13, bold=True, indent=7)
    page.say(summary.verdict_sentence, indent=7, after=2)
    page.set_fill_color(*_VERDICTS.get(summary.verdict, _SOFT))
    page.rect(_MARGIN_MM, top, 3, page.get_y() - top, style="F")
    page.ln(4)
    for name, value in summary.facts:
        at = page.get_y()
        page.pen(10, _SOFT)
        page.cell(48, 5, name)
        page.set_y(at)
        page.say(value, indent=48)


def _glance(page: _Page, story: Story) -> None:
    if not story.cases:
        return
    page.heading("At a glance")
    page.pen(9)
    page.set_draw_color(*_RULE)
    page.set_fill_color(255, 255, 255)  # of the verdict's bar, otherwise
    glyphs = page.glyphs(_SANS)
    with page.table(
        col_widths=(40, 16, 28, 16), text_align="LEFT", line_height=4.6, padding=1,
        borders_layout="HORIZONTAL_LINES", first_row_as_headings=True,
        v_align="TOP",
    ) as table:  # fmt: skip
        for cells in (GLANCE, *(case.glance for case in story.cases.values())):
            row = table.row()
            for cell in cells:
                row.cell(drawable(cell, glyphs))


def _checkpoint(page: _Page, summary: Summary) -> None:
    page.heading("The signed checkpoint")
    page.say(summary.checkpoint_words)
    top = page.get_y() + 1
    page.set_y(top)
    text_width = page.w - 2 * _MARGIN_MM - _QR_MM - 6
    page.say(summary.checkpoint, family=_MONO, size=8, width=text_width)
    below = max(page.get_y(), top + _QR_MM + 2)
    _qr(page, summary.checkpoint, x=page.w - _MARGIN_MM - _QR_MM, y=top)
    page.set_y(below)
    page.say(
        "The log's public key, to compare with the one noted when the log was begun:",
        colour=_SOFT,
        after=0.2,
    )
    page.say(summary.vkey, family=_MONO, size=8)


def _qr(page: _Page, text: str, *, x: float, y: float) -> None:
    rows = [list(row) for row in segno.make(text, error="m", micro=False).matrix]
    size = _QR_MM / len(rows)
    page.set_fill_color(0, 0, 0)
    for down, row in enumerate(rows):
        for across, dark in enumerate(row):
            if dark:
                # A hair wider than its place: no printer then shows lines between the squares.
                page.rect(x + across * size, y + down * size, size * 1.03, size * 1.03, style="F")


def _case(page: _Page, case: Case) -> None:
    page.need(40)
    page.say(case.title, size=11.5, bold=True, after=0.4)
    page.say(case_words(case), size=9, colour=_SOFT, after=0.2)
    page.say(case.incident, size=8, family=_MONO, colour=_SOFT, after=2)
    for line in case.lines:
        _line(page, line)
    if case.entries > len(case.lines):
        page.say(f"{case.entries - len(case.lines)} more entries are not in this report.")
    page.ln(4)


def _line(page: _Page, line: Line) -> None:
    said = f"{line.time} · {line.who} · entry {line.seq}"
    small = sum(page.height(each, 8.5, indent=6) + 0.2 for each in (said, *line.details))
    page.need(min(small + page.height(line.what, 11, indent=6), page.eph / 2))
    page.set_fill_color(*_TONES.get(line.tone, _SOFT))
    page.ellipse(_MARGIN_MM + 0.5, page.get_y() + 1.1, 2.4, 2.4, style="F")
    page.say(said, size=8.5, colour=_SOFT, indent=6, after=0)
    page.say(line.what, bold=True, indent=6, after=0.2)
    for each in line.details:
        page.say(each, size=8.5, indent=6, after=0.2)
    page.ln(1.6)
