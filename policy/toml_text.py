"""Read TOML as every rule file and overlay is read: what is wrong names the file and the line."""

import re
from typing import Any

import tomli

from policy.errors import PolicyError

_LINE_IN_ERROR = re.compile(r"\(at line (\d+)")


def read(file: str, data: bytes) -> tuple[str, dict[str, Any]]:
    """The text and its tables; raises `PolicyError` when it is not UTF-8 or not TOML."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PolicyError("not UTF-8", file=file, line=line) from error
    try:
        return text, tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        found = _LINE_IN_ERROR.search(str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise PolicyError(f"not TOML: {error}", file=file, line=line) from error
