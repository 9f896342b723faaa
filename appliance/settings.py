"""Settings: one TOML file per daemon, read once, strictly, into one frozen record.

An unknown key, a wrong type or an unreadable file stops the start with the path and the key:

    hub.toml: approval.expires_min: expected `int`, got `str`
"""

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance.errors import SettingsError

S = TypeVar("S")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every settings record; a field's comment is its documentation."""


def load(path: Path, kind: type[S]) -> S:
    """Read a settings file into its record; raises `SettingsError` with path and key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    return convert(table, kind, name=str(path))


def convert(table: dict[str, Any], kind: type[S], *, name: str) -> S:
    """A settings record from a table that was already read."""
    try:
        return msgspec.convert(table, kind, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {_sentence(str(error))}") from error


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"expected `{kind.__name__}`, got `{type(value).__name__}`")


def _sentence(message: str) -> str:
    """Turn msgspec's ``Expected `int`, got `str` - at `$.a.b` `` into `a.b: expected …`."""
    found = re.fullmatch(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?", message, re.DOTALL)
    what, where = (found["what"], found["where"]) if found else (message, None)
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown:
        return f"{where + '.' if where else ''}{unknown[1]}: unknown key"
    text = what[:1].lower() + what[1:]
    return f"{where}: {text}" if where else text
