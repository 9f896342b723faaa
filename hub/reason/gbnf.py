"""GBNF, llama.cpp's grammar language: a strict reader of the part of it that we write.

llama.cpp ends the process on a grammar with a syntax error, a missing root, an undefined rule or
left recursion, and takes an empty one for no constraint at all. What is read here is a subset of
its language in printable ASCII, one rule a line, without any of those; all else is refused.
"""

import re

from appliance.records import Record
from hub.reason.errors import GrammarError

MAX_GRAMMAR_BYTES = 64 * 1024
MAX_REPEATS = 500  # llama.cpp copies the symbol so often, and refuses 2000
MAX_DEPTH = 16

Symbol = frozenset[str] | str  # the characters one place may hold, or the name of a rule
Sequence = tuple[Symbol, ...]
Rules = dict[str, tuple[Sequence, ...]]

_RULE = re.compile(r"([a-z][a-z0-9-]*) ::= (.+)\Z")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_COUNT = re.compile(r"\{(0|[1-9][0-9]{0,3})(,(0|[1-9][0-9]{0,3}))?\}")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "[": "[", "]": "]"}
_ASCII = frozenset(map(chr, range(128)))


class Grammar(Record, frozen=True, kw_only=True):
    """A grammar that was read and found safe; `rules` have no repetitions and no groups left."""

    text: str
    rules: dict[str, tuple[tuple[frozenset[str] | str, ...], ...]]


def read(text: str) -> Grammar:
    """The grammar of a text; raises `GrammarError` saying what llama.cpp would choke on."""
    # 1. something, and not too much   3. a root, and every rule named is there
    # 2. every line is one rule        4. every rule can end   5. no rule begins with itself
    if not text.strip():  # 1
        raise GrammarError("the grammar is empty, which would constrain nothing")
    if len(text) > MAX_GRAMMAR_BYTES:
        raise GrammarError(f"the grammar has {len(text)} characters, at most {MAX_GRAMMAR_BYTES}")
    rules: Rules = {}
    for number, line in enumerate(text.split("\n"), 1):  # 2
        if line:
            _Line(line, number, rules).read()
    if "root" not in rules:  # 3
        raise GrammarError("the grammar has no rule `root`")
    for name, ways in rules.items():
        for symbol in (symbol for way in ways for symbol in way):
            if isinstance(symbol, str) and symbol not in rules:
                raise GrammarError(f"rule {_plain(name)}: `{symbol}` is not defined")
    _can_end(rules)  # 4
    _no_left_recursion(rules)  # 5
    return Grammar(text=text, rules=rules)


class _Line:
    """Reads one rule; groups and repetitions become rules of their own, named `rule/number`."""

    def __init__(self, line: str, number: int, rules: Rules) -> None:
        found = _RULE.match(line)
        if not found or not line.isascii() or not line.isprintable():
            raise GrammarError(f"line {number}: expected `name ::= …` in printable ASCII")
        if found[1] in rules:
            raise GrammarError(f"line {number}: rule `{found[1]}` is defined twice")
        self._name, self._text, self._at = found[1], found[2], 0
        self._number, self._rules, self._made = number, rules, 0

    def read(self) -> None:
        """Add the rule of this line."""
        self._rules[self._name] = ()  # taken, so that no group can take the name
        self._rules[self._name] = self._ways(depth=0)
        if self._at < len(self._text):
            raise self._error("expected the end of the line")

    def _ways(self, *, depth: int) -> tuple[Sequence, ...]:
        if depth > MAX_DEPTH:
            raise self._error(f"groups nested deeper than {MAX_DEPTH}")
        ways = [self._sequence(depth=depth)]
        while self._peek() == "|":
            self._at += 1
            self._spaces()
            ways.append(self._sequence(depth=depth))
        return tuple(ways)

    def _sequence(self, *, depth: int) -> Sequence:
        symbols: list[Symbol] = []
        while self._peek() not in ("", "|", ")"):
            symbols += self._repeated(self._item(depth=depth))
            self._spaces()
        if not symbols:
            raise self._error("expected a symbol")
        return tuple(symbols)

    def _item(self, *, depth: int) -> Sequence:
        match self._peek():
            case '"':
                return self._literal()
            case "[":
                return (self._class(),)
            case "(":
                self._at += 1
                self._spaces()
                ways = self._ways(depth=depth + 1)
                self._expect(")")
                return (self._rule(ways),)
        found = _NAME.match(self._text, self._at)
        if not found:
            raise self._error(f"unexpected {self._peek()!r}")
        self._at = found.end()
        return (found[0],)

    def _literal(self) -> Sequence:
        self._expect('"')
        symbols = []
        while self._peek() != '"':
            symbols.append(frozenset(self._character()))
        self._at += 1
        if not symbols:
            raise self._error("an empty literal")
        return tuple(symbols)

    def _class(self) -> frozenset[str]:
        self._expect("[")
        negated = self._peek() == "^"
        self._at += negated
        characters: set[str] = set()
        while self._peek() != "]":
            first = last = self._character()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                last = self._character()
            if last < first:
                raise self._error(f"a range that runs backwards, {first!r} to {last!r}")
            characters.update(map(chr, range(ord(first), ord(last) + 1)))
        self._at += 1
        chosen = _ASCII - characters if negated else frozenset(characters)
        if not chosen or not characters:
            raise self._error("a class without characters")
        return chosen

    def _character(self) -> str:
        one = self._peek()
        self._at += 1
        if one == "":
            raise self._error("the line ends inside a literal or class")
        if one != "\\":
            return one
        escaped = self._peek()
        self._at += 1
        if escaped not in _ESCAPES:
            raise self._error(f"unknown escape \\{escaped}")
        return _ESCAPES[escaped]

    def _repeated(self, item: Sequence) -> Sequence:
        mark = self._peek()
        if mark not in ("*", "+", "?", "{"):
            return item
        least, most = self._bounds(mark)
        before, item = item[:-1], item[-1:]  # a mark binds the last character of a literal
        if most is None:
            loop = self._rule(())
            self._rules[loop] = ((*item, loop), ())
            return (*before, *item * least, loop)
        rest: Sequence = ()
        for _ in range(most - least):
            rest = (self._rule(((*item, *rest), ())),)
        return (*before, *item * least, *rest)

    def _bounds(self, mark: str) -> tuple[int, int | None]:
        if mark != "{":
            self._at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[mark]
        found = _COUNT.match(self._text, self._at)
        if not found:
            raise self._error("expected {least,most}")
        self._at = found.end()
        least, most = int(found[1]), int(found[3] or found[1])
        if not least <= most <= MAX_REPEATS or most == 0:
            raise self._error(f"repetitions must be within 1 and {MAX_REPEATS}")
        return least, most

    def _rule(self, ways: tuple[Sequence, ...]) -> str:
        self._made += 1
        name = f"{self._name}/{self._made}"
        self._rules[name] = ways
        return name

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _spaces(self) -> None:
        while self._peek() == " ":
            self._at += 1

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._error(f"expected {character!r}")
        self._at += 1

    def _error(self, what: str) -> GrammarError:
        return GrammarError(f"line {self._number}, character {self._at + 1}: {what}")


def _can_end(rules: Rules) -> None:
    ends: set[str] = set()
    while True:
        more = {
            name
            for name, ways in rules.items()
            if name not in ends
            and any(all(not isinstance(s, str) or s in ends for s in way) for way in ways)
        }
        if not more:
            break
        ends |= more
    if stuck := sorted(rules.keys() - ends):
        raise GrammarError(f"rule {_plain(stuck[0])} can never end")


def _no_left_recursion(rules: Rules) -> None:
    nullable = _nullable(rules)
    first: dict[str, set[str]] = {}
    for name, ways in rules.items():
        first[name] = set()
        for way in ways:
            for symbol in way:
                if isinstance(symbol, str):
                    first[name].add(symbol)
                if not isinstance(symbol, str) or symbol not in nullable:
                    break
    while first:  # take away what begins with nothing left, until only circles remain
        free = {name for name, begins in first.items() if not begins & first.keys()}
        if not free:
            raise GrammarError(f"rule {_plain(min(first))} can begin with itself")
        for name in free:
            del first[name]


def _nullable(rules: Rules) -> set[str]:
    nullable: set[str] = set()
    while True:
        more = {
            name
            for name, ways in rules.items()
            if name not in nullable
            and any(all(isinstance(s, str) and s in nullable for s in way) for way in ways)
        }
        if not more:
            return nullable
        nullable |= more


def _plain(name: str) -> str:
    return f"`{name.split('/', maxsplit=1)[0]}`"
