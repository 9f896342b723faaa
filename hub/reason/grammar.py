"""The grammar of one incident: the model can choose, order and explain, and name nothing else.

One branch a culprit, with that culprit's own remedies; citations only of evidence that exists;
abstaining is always a branch; words for people are plain ASCII of bounded length.
"""

import json

from hub.reason import gbnf
from hub.reason.gbnf import Grammar
from hub.reason.offer import ABSTAIN, Offer, Option

MOST_WORDS = 160  # characters of explanation; the demo model has little more to say
MOST_CITED = 3

BEGINNING = "The evidence shows that "  # so that a small model explains and does not repeat
_WORD = "[A-Za-z0-9 ,.:;()%/_-]"  # nothing that JSON, a terminal or a page would interpret


def build(choices: Offer) -> Grammar:
    """The grammar of these choices, read back by the strict reader."""
    branches = [f"c{number}" for number in range(1, len(choices.options) + 1)]
    begin = _literal('{"culprit":"')
    lines = [f"root ::= {begin} ( {' | '.join([*branches, 'none'])} )"]
    lines += [_branch(*pair) for pair in zip(branches, choices.options, strict=True)]
    lines.append("none ::= " + _literal(_inside(ABSTAIN) + '","because":"') + " words")
    if branches:
        more = "( " + _literal('","') + f" cite ){{0,{MOST_CITED - 1}}}"
        cited = " | ".join(_literal(one) for one in choices.citations)
        lines += [f"cite ::= {cited}", f"cites ::= cite {more}"]
    end = _literal('"}')
    lines.append(f"words ::= {_literal(BEGINNING)} {_WORD}{{1,{MOST_WORDS}}} {end}")
    return validate("\n".join(lines) + "\n")


def validate(text: str) -> Grammar:
    """Refuse, with a `GrammarError`, whatever llama.cpp would crash on or not be bound by."""
    return gbnf.read(text)


def _branch(name: str, option: Option) -> str:
    fixes = " | ".join(_literal(_inside(fix.text)) for fix in option.fixes)
    parts = (
        _literal(_inside(option.text) + '","fix":"'),
        f"( {fixes} )",
        _literal('","evidence":["'),
        "cites",
        _literal('"],"because":"'),
        "words",
    )
    return f"{name} ::= {' '.join(parts)}"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _inside(text: str) -> str:
    """Text as it stands inside a JSON string."""
    return json.dumps(text)[1:-1]
