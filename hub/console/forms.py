"""Read text, numbers and choices from a request, bounded; nothing here trusts what it reads."""

from collections.abc import Collection

from flask import abort, request

from appliance.ids import is_uuid


def field(name: str, *, most: int) -> str:
    """A form field without surrounding white space and without NUL, which no database takes."""
    return request.form.get(name, "").replace("\0", "").replace("\r\n", "\n").strip()[:most]


def lines(name: str, *, most: int) -> list[str]:
    """A form field's lines, the empty ones too; none when there is nothing in any."""
    text = request.form.get(name, "").replace("\0", "").replace("\r\n", "\n")[:most]
    return text.split("\n") if text.strip() else []


def asked(name: str, *, most: int = 200) -> str:
    """A query parameter, as `field` reads a form's."""
    return request.args.get(name, "").replace("\0", "").strip()[:most]


def choice(name: str, allowed: Collection[str], *, default: str = "") -> str:
    """A query parameter that is one of these, or the default."""
    value = asked(name)
    return value if value in allowed else default


def number(name: str) -> int:
    """A page number, at least 1."""
    value = asked(name, most=6)
    return max(1, int(value)) if value.isascii() and value.isdigit() else 1


def identifier(value: str) -> str:
    """An incident's id in its one spelling, or 404."""
    if not is_uuid(value):
        abort(404)
    return value
