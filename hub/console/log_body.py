"""An entry's fields for a reader: every value on a line of its own, by the path of its names."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

MOST_FIELDS = 400  # an entry is at most 60,000 bytes; nobody reads more lines than this


def fields_of(body: object) -> list[tuple[str, str]]:
    """Names and values in the order of the line; what was left out is said at the end."""
    found: list[tuple[str, str]] = []
    for name, value in _each(body, ""):
        if len(found) == MOST_FIELDS:
            return [*found, ("\u2026", "more fields; take the entry's line along to see them")]
        found.append((name, value))
    return found


@cache
def meaning(type_: str) -> str:
    """What entries of this type say, in the words of its schema; empty for an unknown one."""
    if not type_.replace(".", "").replace("_", "").isalpha():
        return ""
    file = files("audit") / "schemas" / f"{type_}.json"
    if not file.is_file():
        return ""
    return str(msgspec.json.decode(file.read_bytes())["description"]).replace("`", "")


def _each(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _each(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value:
        for number, item in enumerate(value, 1):
            yield from _each(item, f"{name} {number}")
    else:
        yield name, _said(value)


def _said(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
