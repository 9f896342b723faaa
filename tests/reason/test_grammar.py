"""Grammars: bad ones are refused before llama.cpp sees them, good ones bind what may be said."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.reason import grammar, offer, parse, prompt
from hub.reason.automaton import Automaton, may_end
from hub.reason.diagnose import diagnose
from hub.reason.errors import GrammarError, ReasonError
from hub.reason.offer import ABSTAIN, Offer
from tests.reason import hostile, world

BAD = {
    "empty": "",
    "only spaces": "  \n \n",
    "no root": 'start ::= "a"\n',
    "an undefined rule": "root ::= other\n",
    "left recursion": 'root ::= root "a" | "b"\n',
    "left recursion through another rule": 'root ::= a "x"\na ::= root | "b"\n',
    "left recursion behind something that may be empty": 'root ::= "a"? root | "b"\n',
    "a repetition of what may be empty": 'root ::= ("a"?)*\n',
    "a rule that never ends": 'root ::= "a" root\n',
    "an open literal": 'root ::= "a\n',
    "an open class": "root ::= [a-z\n",
    "an open group": 'root ::= ("a"\n',
    "a group closed twice": 'root ::= ("a"))\n',
    "an empty literal": 'root ::= ""\n',
    "an empty class": "root ::= []\n",
    "a range that runs backwards": "root ::= [z-a]\n",
    "an empty alternative": 'root ::= "a" |\n',
    "nothing behind the sign": "root ::= \n",
    "a wrong sign": 'root = "a"\n',
    "a repetition of nothing": "root ::= *\n",
    "an unknown escape": 'root ::= "\\q"\n',
    "a repetition without end": 'root ::= "a"{1,99999}\n',
    "a repetition that runs backwards": 'root ::= "a"{3,1}\n',
    "a rule defined twice": 'root ::= "a"\nroot ::= "b"\n',
    "a character that is not ASCII": 'root ::= "ä"\n',
    "a control character": 'root ::= "\x07"\n',
    "a rule over two lines": 'root ::= ("a"\n | "b")\n',
    "groups without end": "root ::= " + "(" * 100 + '"a"' + ")" * 100 + "\n",
    "too large": 'root ::= "' + "a" * 70000 + '"\n',
}


@pytest.mark.parametrize("name", BAD)
def test_a_grammar_that_would_crash_or_not_bind_is_refused(name: str) -> None:
    with pytest.raises(GrammarError):
        grammar.validate(BAD[name])


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='root:=ab "[]()|*+?{1,2}\\\n-^', max_size=60))
def test_any_text_is_a_grammar_or_refused(tail: str) -> None:
    try:
        found = grammar.validate(f"root ::= {tail}")
    except GrammarError:
        return
    Automaton(found)  # ends, for every grammar that was accepted


def test_repetitions_count() -> None:
    walk = Automaton(grammar.validate('root ::= "a"{2,3} [b-c]* "d"+ "e"?\n'))
    for text in ("aad", "aaad", "aabcbd", "aadde"):
        assert may_end(walk.advance(walk.start, text)), text
    for text in ("ad", "aaaad", "aa", "aadee", "aadb"):
        assert not may_end(walk.advance(walk.start, text)), text


def offers() -> list[Offer]:
    return [offer.offer(case.finding, diagnose(case.finding)) for case in world.CASES]


def test_what_must_follow_is_known_without_the_model() -> None:
    walk = Automaton(grammar.build(offers()[0]))
    assert walk.forced(walk.start) == '{"culprit":"'
    chosen = walk.advance(walk.start, '{"culprit":"A')
    forced = walk.forced(chosen)
    assert forced.startswith(' e1 leaky (pid 4711)","fix":"1 terminate by kill","')


@pytest.mark.parametrize("number", range(len(world.CASES)))
def test_every_answer_of_the_grammar_is_read_and_its_commands_are_offered(number: int) -> None:
    choices = offers()[number]
    walk = Automaton(grammar.build(choices))
    for option in choices.options:
        for fix in option.fixes:
            answer = {
                "culprit": option.text,
                "fix": fix.text,
                "evidence": [choices.citations[0]],
                "because": grammar.BEGINNING + "x",
            }
            text = json.dumps(answer, separators=(",", ":"))
            assert may_end(walk.advance(walk.start, text)), text
            read = parse.read(text.encode(), choices)
            assert (read.option, read.fix) == (option, fix)


def test_abstaining_is_always_possible() -> None:
    for choices in [*offers(), Offer(options=(), citations=())]:
        walk = Automaton(grammar.build(choices))
        text = json.dumps(
            {"culprit": ABSTAIN, "because": grammar.BEGINNING + "x"}, separators=(",", ":")
        )
        assert may_end(walk.advance(walk.start, text))
        assert parse.read(text.encode(), choices).option is None


def good(choices: Offer) -> dict[str, object]:
    first = choices.options[0]
    return {
        "culprit": first.text,
        "fix": first.fixes[0].text,
        "evidence": ["e1"],
        "because": "it grows",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"culprit": "A e1 leaky (pid 4712)"},
        {"culprit": "D e99 sshd"},
        {"fix": "1 terminate by rm"},
        {"fix": "rm -rf /"},
        {"fix": None},
        {"evidence": ["e99"]},
        {"evidence": ["e1"] * 4},
        {"evidence": "e1"},
        {"because": ""},
        {"because": "x" * 2000},
        {"because": 7},
        {"command": "rm -rf /"},
        {"steps": [{"command": "rm -rf /"}]},
    ],
    ids=str,
)
def test_an_answer_that_differs_from_the_offer_is_no_choice(change: dict[str, object]) -> None:
    choices = offers()[0]
    assert parse.read(json.dumps(good(choices)).encode(), choices).option
    with pytest.raises(ReasonError):
        parse.read(json.dumps({**good(choices), **change}).encode(), choices)


@pytest.mark.parametrize(
    "answer",
    [b"", b"   ", b"null", b"[]", b"kill -9 1", b"\xff\xfe", b"{" * 9000, b"[" * 8000, b'{"a":'],
)
def test_bytes_that_are_no_answer_are_refused(answer: bytes) -> None:
    with pytest.raises(ReasonError):
        parse.read(answer, offers()[0])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_choice_or_refused(answer: bytes) -> None:
    try:
        parse.read(answer, offers()[0])
    except ReasonError:
        return


def test_an_explanation_is_bounded_and_shows_control_characters() -> None:
    choices = offers()[0]
    spoken = {**good(choices), "because": "a\x1b[31m" + "b" * 900}
    read = parse.read(json.dumps(spoken).encode(), choices)
    assert "\\x1b" in read.explanation
    assert len(read.explanation) < 400


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_hostile_text_cannot_leave_its_line_of_the_prompt(text: str) -> None:
    poisoned = world.finding(
        world.LEAK.condition,
        world.LEAK.subject,
        world.process(1, 4711, text[:255], command=text, rss_bytes=world.GIB),
        world.log(2, text[:255], text),
    )
    diagnosis = diagnose(poisoned)
    choices = offer.offer(poisoned, diagnosis)
    built = prompt.build(poisoned, diagnosis, choices)
    assert all(line.count("\n") == 1 and line.endswith("\n") for line in built.lines)
    assert built.tail.count("END EVIDENCE") == 1
    assert all(len(line) < 700 for line in built.lines)
    assert "\x1b" not in "".join(built.lines)
    grammar.build(choices)


def test_the_least_important_evidence_is_left_out_first() -> None:
    case = world.CASES[0]
    diagnosis = diagnose(case.finding)
    built = prompt.build(case.finding, diagnosis, offer.offer(case.finding, diagnosis))
    fixed = len(built.system) + len(built.head) + len(built.tail)
    short = prompt.fit(built, count=len, budget=fixed + len(built.lines[0]) + 5)
    assert short.lines == built.lines[:1]
    assert built.lines[0].startswith(f"{case.culprit} ")


def test_the_same_finding_gives_the_same_prompt_and_grammar() -> None:
    case = world.CASES[0]
    made = []
    for _ in range(2):
        diagnosis = diagnose(case.finding)
        choices = offer.offer(case.finding, diagnosis)
        built = prompt.build(case.finding, diagnosis, choices)
        made.append((built, grammar.build(choices).text))
    assert made[0] == made[1]
