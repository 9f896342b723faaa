"""Walk a grammar one character at a time: what may follow, and what must.

Where only one character can follow, the model has nothing to choose: `forced` gives the whole
stretch, to be appended instead of sampled. A state is the set of all stacks of symbols that
could still come; an empty set means that the text does not belong to the grammar.
"""

from collections.abc import Iterable

from hub.reason.gbnf import Grammar, Symbol

# A stack is a chain (symbol, rest of the chain); None is the empty stack: the text may end here.
Stack = tuple[Symbol, "Stack"] | None
State = frozenset[Stack]

MAX_FORCED = 16384  # characters; longer than any answer


class Automaton:
    """The states of one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self._rules = grammar.rules
        self._after: dict[tuple[State, str], State] = {}
        self.start: State = self._open([("root", None)])

    def advance(self, state: State, text: str) -> State:
        """The state after so much more text; empty when the grammar does not allow it."""
        for character in text:
            key = (state, character)
            if key not in self._after:
                self._after[key] = self._open(
                    [stack[1] for stack in state if stack is not None and character in stack[0]]
                )
            state = self._after[key]
            if not state:
                break
        return state

    def forced(self, state: State) -> str:
        """The text that must follow, as far as there is no choice."""
        text: list[str] = []
        while len(text) < MAX_FORCED and state and None not in state:
            choices = frozenset[str]().union(*(stack[0] for stack in state if stack is not None))
            if len(choices) != 1:
                break
            (character,) = choices
            text.append(character)
            state = self.advance(state, character)
        return "".join(text)

    def _open(self, stacks: Iterable[Stack]) -> State:
        """Replace rules on top by what they stand for, until a character or nothing is on top."""
        waiting, seen, opened = list(stacks), set[Stack](), set[Stack]()
        while waiting:
            stack = waiting.pop()
            if stack in seen:
                continue
            seen.add(stack)
            if stack is None or not isinstance(stack[0], str):
                opened.add(stack)
                continue
            for way in self._rules[stack[0]]:
                pushed = stack[1]
                for symbol in reversed(way):
                    pushed = (symbol, pushed)
                waiting.append(pushed)
        return frozenset(opened)


def may_end(state: State) -> bool:
    """Whether the text may end here."""
    return None in state


def must_end(state: State) -> bool:
    """Whether nothing more can follow."""
    return state == frozenset({None})
