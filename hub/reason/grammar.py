"""The grammar of one incident: the model can choose, order and explain, and name nothing else.

One branch a culprit, with that culprit's own remedies; citations only of evidence that exists;
abstaining is always a branch; words for people are plain ASCII of bounded length.
"""

import json

from hub.reason import gbnf
from hub.reason.gbnf import Grammar
from hub.reason.offer import ABSTAIN, Offer

MOST_WORDS = 160  # characters of explanation; the demo model has little more to say
MOST_CITED = 3

_FIRST = "[A-Z]"
_WORD = "[A-Za-z0-9 ,.:;()%/_-]"  # nothing that JSON, a terminal or a page would interpret


def build(choices: Offer) -> Grammar:
    """The grammar of these choices, read back by the strict reader."""
    branches = [f"c{number}" for number in range(1, len(choices.options) + 1)]
    lines = [f"root ::= {_literal('{"culprit":"')} ( {' | '.join([*branches, 'none'])} )"]
    for branch, option in zip(branches, choices.options, strict=True):
        fixes = " | ".join(_literal(_inside(fix.text)) for fix in option.fixes)
        lines.append(
            f"{branch} ::= {_literal(_inside(option.text) + '","fix":"')} ( {fixes} )"
            f" {_literal('","evidence":["')} cites {_literal('"],"because":"')} words"
        )
    lines.append(f"none ::= {_literal(_inside(ABSTAIN) + '","because":"')} words")
    if branches:
        cited = " | ".join(_literal(one) for one in choices.citations)
        more = f'( {_literal('","')} cite ){{0,{MOST_CITED - 1}}}'
        lines += [f"cite ::= {cited}", f"cites ::= cite {more}"]
    lines.append(f"words ::= {_FIRST} {_WORD}{{0,{MOST_WORDS - 1}}} {_literal('"}')}")
    return validate("\n".join(lines) + "\n")


def validate(text: str) -> Grammar:
    """Refuse, with a `GrammarError`, whatever llama.cpp would crash on or not be bound by."""
    return gbnf.read(text)


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _inside(text: str) -> str:
    """Text as it stands inside a JSON string."""
    return json.dumps(text)[1:-1]
