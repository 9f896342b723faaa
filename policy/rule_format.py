"""What a rule file may say: the tables of `rules.d/*.toml`, explained in README.md."""

from typing import Annotated, Literal

import msgspec

from policy.places import Places
from policy.rules import Style


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a rule file."""


class TypeSpec(_Record, frozen=True, kw_only=True):
    """`[[type]]`: an argument type that is one pattern, and what it stands for in words."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z-]*$")]
    pattern: str
    expected: str
    script: bool = False  # `$NAME` in it is the script's own, not a placeholder


class WindowSpec(_Record, frozen=True, kw_only=True):
    """`[[window]]`: when changes may be made, in UTC; over midnight when the end is less."""

    start: str
    end: str
    days: tuple[str, ...] = ()  # none: every day


class FormSpec(_Record, frozen=True, kw_only=True):
    """`[[command.form]]`: one way to call the program, added to what the command says."""

    names: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    options: dict[str, str] = {}
    operands: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    effect: Literal["read", "state", "destroy"] = "read"
    risk: Literal["", "low", "high"] = ""
    needs: tuple[str, ...] = ()
    why: str = ""
    hint: str = ""
    undo: str = ""
    roles: tuple[str, ...] = ()
    change_window: bool = False


class CommandSpec(FormSpec, frozen=True, kw_only=True):
    """`[[command]]`: one program; without forms it is its own only form."""

    name: str
    why: str
    paths: tuple[str, ...]
    style: Style = "gnu"
    bsd: str = ""
    bundled: bool = False
    options_first: bool = False
    doors: dict[str, str] = {}
    otherwise: Literal["", "review", "block"] = ""
    form: tuple[FormSpec, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[tuple[str, str], ...] = ()


class ForbidSpec(_Record, frozen=True, kw_only=True):
    """`[[forbid]]`: programs that stay blocked whatever else is written."""

    names: tuple[str, ...]
    why: str
    hint: str
    words: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class FileSpec(_Record, frozen=True, kw_only=True):
    """A whole rule file."""

    type: tuple[TypeSpec, ...] = ()
    window: tuple[WindowSpec, ...] = ()
    command: tuple[CommandSpec, ...] = ()
    forbid: tuple[ForbidSpec, ...] = ()
    places: Places = Places()
