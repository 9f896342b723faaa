"""The verdict panel's values: where marks begin and end, and what stands in the way."""

from hypothesis import given
from hypothesis import strategies as st

from hub.console import present
from hub.console.panel import Reason, panel_of, pieces_of, way_of

EDGES = st.integers(min_value=-3, max_value=50)
REASONS = st.lists(
    st.builds(
        Reason,
        ruling=st.sampled_from(["review", "block", ""]),
        span=st.tuples(EDGES, EDGES),
    ),
    max_size=5,
)


@given(st.text(max_size=40), REASONS)
def test_the_pieces_are_the_command_again_whatever_the_spans(
    text: str, reasons: list[Reason]
) -> None:
    pieces = pieces_of(text, reasons)
    assert "".join(piece.text for piece in pieces) == text
    at = 0
    for piece in pieces:
        covered = [one.span[0] <= at and at + len(piece.text) <= one.span[1] for one in reasons]
        assert bool(piece.ruling) is any(covered)
        at += len(piece.text)


def test_of_two_reasons_about_one_word_the_first_which_is_the_worse_marks_it() -> None:
    reasons = [Reason(ruling="block", span=(0, 4)), Reason(ruling="review", span=(0, 4))]
    first, rest = pieces_of("curl x", reasons)
    assert (first.text, first.ruling, first.number) == ("curl", "block", 1)
    assert (rest.text, rest.ruling, rest.number) == (" x", "", None)


def test_the_line_about_what_stands_in_the_way_fits_its_reasons() -> None:
    word = Reason(ruling="review", code="unknown-option", span=(3, 6), token="-rf")
    absent = Reason(ruling="review", code="missing:-b", span=(0, 3), token="top", expected="-b")
    window = Reason(
        ruling="review",
        code="change-window",
        span=(0, 3),
        token="top",
        message="only while a change window is open",
    )
    unsure = Reason(ruling="review", code="second-reader", message="no second reader took part")
    said = [
        (way.lead, way.words)
        for way in map(way_of, ([word], [word, word], [absent], [word, absent], [window], [unsure]))
    ]
    assert said == [
        ("One word stands in the way:", ("-rf",)),
        ("One word stands in the way:", ("-rf",)),
        ("One thing is missing:", ("-b",)),
        ("In the way, or missing:", ("-rf", "-b")),
        ("No single word stands in the way: only while a change window is open.", ()),
        ("No single word stands in the way: no second reader took part.", ()),
    ]


def test_streams_and_joins_are_said_in_words() -> None:
    vector = {"argv": ["a"], "join": "||", "stdin": "null", "stdout": "null", "stderr": "out"}
    (shown,) = panel_of("a", "allow", {"commands": [vector]}).vectors
    assert shown.joined == "only if the one before failed"
    assert shown.streams == [
        "input from /dev/null",
        "output to /dev/null",
        "errors to where the output went before",
    ]


def test_words_show_their_spaces_their_foreign_letters_and_their_emptiness() -> None:
    gap = '<span class="space"> </span>'
    assert present.word(" a  b") == f"{gap}a{gap}{gap}b"
    assert present.word("") == '<span class="no-text">empty</span>'
    assert present.word("<b>\u0430\n") == "&lt;b&gt;\\u0430\\n"
    long = "x" * 25
    assert present.unbroken(f"-a  {long} <b>") == (
        f'<span class="whole">-a</span>  {long} <span class="whole">&lt;b&gt;</span>'
    )
