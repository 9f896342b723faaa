"""Where the tables of a rule file stand: TOML gives values, a reason needs their lines."""

import re

from policy.errors import PolicyError

_HEADER = re.compile(r"\[\[(command|command\.form|forbid|type|window)\]\]|\[(places)\]")
_WHERE_IN_ERROR = re.compile(r"`\$\.(command|forbid|type)\[(\d+)\](?:\.form\[(\d+)\])?")


class Lines:
    """Where the headers of a file stand: TOML tables have no line numbers of their own."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.commands: list[int] = []
        self.forms: list[list[int]] = []
        self.forbids: list[int] = []
        self.types: list[int] = []
        self.windows: list[int] = []
        self.places = 1
        for number, line in enumerate(text.splitlines(), start=1):
            if '"""' in line or "'''" in line:
                raise PolicyError("a string must stay on one line", file=file, line=number)
            if found := _HEADER.match(line.strip()):
                self._note(found[1], number)
                self.places = number if found[2] else self.places

    def _note(self, header: str | None, number: int) -> None:
        match header:
            case "command":
                self.commands.append(number)
                self.forms.append([])
            case "command.form" if self.forms:
                self.forms[-1].append(number)
            case "forbid":
                self.forbids.append(number)
            case "type":
                self.types.append(number)
            case "window":
                self.windows.append(number)
            case _:
                pass

    def check(self, forms: list[int], forbids: int, types: int, windows: int) -> None:
        """A table written inline has no line: refuse it. The counts are those of the values."""
        flat = len(self.forbids), len(self.types), len(self.windows)
        if ([len(lines) for lines in self.forms], *flat) != (forms, forbids, types, windows):
            message = "write each table with its own [[header]] line"
            raise PolicyError(message, file=self.file, line=1)

    def of_error(self, text: str) -> int:
        """The line of the rule that a conversion error talks about."""
        found = _WHERE_IN_ERROR.search(text)
        if not found:
            return 1
        index = int(found[2])
        try:
            if found[1] in ("forbid", "type"):
                return (self.forbids if found[1] == "forbid" else self.types)[index]
            return self.forms[index][int(found[3])] if found[3] else self.commands[index]
        except IndexError:
            return 1
