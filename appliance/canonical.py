"""One byte form for one value: RFC 8785 restricted to what every encoder agrees on.

Keys `^[a-z][a-z0-9_]*$` (and `_sd`), integers within ±(2^53-1), no floats, valid UTF-8 without
U+007F and lone surrogates, depth at most 8. On this profile rfc8785, orjson with sorted keys,
stdlib json and `jq -cS` agree byte for byte. Whatever is hashed or signed is encoded here.
"""

import hashlib
import re
from typing import Any

import orjson

from appliance.errors import CanonicalError

MAX_DEPTH = 8
MAX_INTEGER = 2**53 - 1  # what a double holds exactly, so that every JSON reader agrees

_KEY = re.compile(r"[a-z][a-z0-9_]*\Z|_sd\Z")


def encode(value: Any) -> bytes:
    """The canonical bytes of a JSON value; raises `CanonicalError` when it has none."""
    _check(value, depth=0)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:
        raise CanonicalError(f"not canonical: {error}") from error


def decode(data: bytes) -> Any:
    """The value of canonical bytes; anything that would not encode to the same bytes is refused."""
    try:
        value = orjson.loads(data)
    except ValueError as error:
        raise CanonicalError(f"not JSON: {error}") from error
    if encode(value) != data:
        raise CanonicalError("valid JSON, but not in canonical form")
    return value


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes, in hex."""
    return hashlib.sha256(encode(value)).hexdigest()


def _check(value: Any, *, depth: int) -> None:  # noqa: C901 - one case a JSON type
    if depth > MAX_DEPTH:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
    match value:
        case None | bool():
            pass
        case int():
            if abs(value) > MAX_INTEGER:
                raise CanonicalError(f"integer {value} is outside ±(2^53-1)")
        case str():
            _check_text(value)
        case list() | tuple():
            for item in value:
                _check(item, depth=depth + 1)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str) or not _KEY.match(key):
                    raise CanonicalError(f"key {key!r} is not of the form [a-z][a-z0-9_]*")
                _check(item, depth=depth + 1)
        case _:
            raise CanonicalError(f"{type(value).__name__} has no canonical form")


def _check_text(text: str) -> None:
    if "\x7f" in text:
        raise CanonicalError("text contains U+007F")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CanonicalError("text contains a lone surrogate") from error
