"""Text from hosts and models, made harmless and visible for readers.

A control character, a direction override, a zero-width or unassigned character is shown as its
number in brackets, as U+001B is: what a reader sees is what is in the entry, and nothing hides.
"""

import unicodedata
from collections.abc import Container

MOST = 600  # characters of one value in a report; the entry has it whole
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(value: object, *, most: int = MOST) -> str:
    """One line in which every character can be seen."""
    text = value if isinstance(value, str) else str(value)
    cut = text if len(text) <= most else f"{text[:most]} … ({len(text) - most} characters more)"
    return "".join(_shown(char) for char in cut)


def drawable(text: str, glyphs: Container[int]) -> str:
    """The same for a font: what it has no glyph for is shown as its number."""
    return "".join(char if ord(char) in glyphs else _number(char) for char in text)


def _shown(char: str) -> str:
    if char == "\n":
        return " \u23ce "
    hidden = unicodedata.category(char) in _HIDDEN or (char != " " and char.isspace())
    return _number(char) if hidden else char


def _number(char: str) -> str:
    return f"\u27e8U+{ord(char):04X}\u27e9"
