"""Types for plain values: numbers, sizes, times, choices, text, and output templates."""

import re
from collections.abc import Callable

from policy.facts import Facts
from policy.fault import Check, Fault, Maker, not_expected
from policy.places import Guard

_UNITS_OF_SIZE = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hour": 3600, "hours": 3600, "hr": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
    "month": 2592000, "months": 2592000, "y": 31536000, "year": 31536000, "years": 31536000,
}  # fmt: skip
_DIGITS = re.compile(r"[0-9]{1,18}\Z")
_SIZE = re.compile(r"([0-9]{1,12})([KMGT]?)i?B?\Z")
_SPAN = re.compile(r"([0-9]{1,9}) ?([a-z]+)\Z")
_TIME = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?(?: UTC)?"
    r"|[0-9]{2}:[0-9]{2}(?::[0-9]{2})?|now|today|yesterday|boot|@[0-9]{1,12}"
    r"|[0-9]{1,6} ?(?:s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?|months?)(?: ago)?"
    r"|-[0-9]{1,6} ?(?:s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?))\Z"
)
_TEXT = re.compile(r"[\x20-\x7e]{1,200}\Z")


def whole(pattern: str) -> "re.Pattern[str]":
    """The pattern of a rule, for whole words. Raises `ValueError` for one that is none.

    `re` says that in three ways: a number of repetitions beyond its own is an OverflowError.
    """
    try:
        return re.compile(f"(?:{pattern})\\Z")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern is broken: {error}") from error


def _bounds(parameters: str, read: Callable[[str], int]) -> tuple[int, int]:
    low, dots, high = parameters.partition("..")
    if parameters and not dots:
        raise ValueError(f"{parameters!r} is no range: write a..b")
    return (read(low) if low else 0), (read(high) if high else 1 << 62)


def _integer(parameters: str) -> tuple[str, Check]:
    low, high = _bounds(parameters, int)
    expected = f"a whole number in {parameters or '0..'}"

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        good = bool(_DIGITS.match(value)) and low <= int(value) <= high
        return None if good else not_expected(value, expected)

    return expected, check


def _bytes(value: str) -> int:
    found = _SIZE.match(value)
    if not found:
        raise ValueError(f"{value!r} is no size: write digits and K, M, G or T")
    return int(found[1]) * _UNITS_OF_SIZE[found[2]]


def _seconds(value: str) -> int:
    found = _SPAN.match(value)
    if not found or found[2] not in _SECONDS:
        raise ValueError(
            f"{value!r} is no time span: write digits and s, min, h, d, weeks or months"
        )
    return int(found[1]) * _SECONDS[found[2]]


def _ranged(read: Callable[[str], int], noun: str) -> Callable[[str], tuple[str, Check]]:
    def make(parameters: str) -> tuple[str, Check]:
        low, high = _bounds(parameters, read)
        expected = f"{noun} in {parameters or '0..'}"

        def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
            try:
                good = low <= read(value) <= high
            except ValueError:
                good = False
            return None if good else not_expected(value, expected)

        return expected, check

    return make


def _enum(parameters: str) -> tuple[str, Check]:
    choices = frozenset(parameters.split("|"))
    expected = "one of " + ", ".join(sorted(choices))

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        return None if value in choices else not_expected(value, expected)

    return expected, check


def _list(parameters: str) -> tuple[str, Check]:
    choices = frozenset(parameters.split("|"))
    expected = "a comma-separated list of " + ", ".join(sorted(choices))

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        wrong = [item for item in value.split(",") if item not in choices]
        return not_expected(wrong[0], expected) if wrong else None

    return expected, check


def _text(_parameters: str) -> tuple[str, Check]:
    expected = "at most 200 printable characters, not beginning with a dash"

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        return None if _TEXT.match(value) and value[0] != "-" else not_expected(value, expected)

    return expected, check


_TEMPLATE = re.compile(
    r"(?:table )?(?:[A-Za-z0-9 _.,:;=/|\\\[\]()'\"%>-]"
    r"|\{\{-? ?(?:json |end|else|range ?(?:\$\w{1,20}(?:, ?\$\w{1,20})? ?:= ?)?"
    r"|index |if |len |\(index |)"
    r"(?:[$.][\w.$]{0,80}(?: [0-9]{1,3}\)?[\w.]{0,40})?)? ?-?\}\})*\Z"
)
_ACTION = re.compile(r"\{\{(.*?)\}\}")
_FIELD = re.compile(r"\$?\w*(?:\.[\w.$]*)|\$\w*")


def _template(parameters: str) -> tuple[str, Check]:
    """`go-template`: any fields; `go-template(A|B.C)`: these and what is below them."""
    fields = tuple(parameters.split("|")) if parameters else ()
    expected = "an output template that only names fields, such as '{{.Names}}'"
    expected += f"; fields: {', '.join(fields)}" if fields else ""

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        good = len(value) <= 400 and _TEMPLATE.match(value) and value[:1] != "-"  # noqa: PLR2004
        if not good or (fields and not _ACTION.search(value)):  # `json` prints everything
            return not_expected(value, expected)
        for field in _fields(value) if fields else ():
            known = any(field == name or field.startswith(name + ".") for name in fields)
            if not known or "$" in field:
                return not_expected(field or "the whole object", expected)
        return None

    return expected, check


_DPKG_FORMAT = re.compile(
    r"(?:[A-Za-z0-9 _.,:;=/|()\[\]#+-]|\\[nrt]"
    r"|\$\{[A-Za-z][A-Za-z0-9:-]{0,40}(?:;-?[0-9]{1,3})?\})*\Z"
)


def _dpkg_format(_parameters: str) -> tuple[str, Check]:
    expected = r"a format of fields, such as '${Package} ${Version}\n'"

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        good = len(value) <= 400 and _DPKG_FORMAT.match(value) and value[:1] != "-"  # noqa: PLR2004
        return None if good else not_expected(value, expected)

    return expected, check


def _fields(template: str) -> list[str]:
    """What a template prints or walks: `.A.B` and `$x.A.B` are A.B; `.` and `$` are everything."""
    found = []
    for action in _ACTION.findall(template):
        for word in _FIELD.findall(action.replace("range.", "range .")):
            variable, _, field = word.partition(".")
            if field or not variable.strip("$"):  # a bare `$x` is an element of a known field
                found.append(field)
    return found


def _time(_parameters: str) -> tuple[str, Check]:
    expected = "a time such as 2026-01-31, '2026-01-31 12:00:00', today or '1 hour ago'"

    def check(value: str, _facts: Facts, _guard: Guard) -> Fault | None:
        return None if _TIME.match(value) else not_expected(value, expected)

    return expected, check


MAKERS: dict[str, Maker] = {
    "int": _integer,
    "size": _ranged(_bytes, "a size"),
    "span": _ranged(_seconds, "a time span"),
    "enum": _enum,
    "list": _list,
    "text": _text,
    "time": _time,
    "go-template": _template,
    "dpkg-format": _dpkg_format,
}
