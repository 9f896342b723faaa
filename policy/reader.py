"""Read one line of the executable language, or refuse it and say what to write instead.

The language is small enough that one page defines it: printable ASCII, plain and quoted words,
`|`, `&&`, `||`, `;`, `2>&1` and redirections to /dev/null. Whatever bash would expand, substitute
or interpret is refused here. What the words mean is left to `policy.evaluate`.
"""

import re
from typing import Literal, NoReturn

import msgspec

from appliance import canonical
from policy import constructs
from policy.errors import SyntaxRefusedError

MAX_CHARACTERS = 4096  # a longer line is no command that a person can approve
MAX_WORDS = 64  # in one command
MAX_COMMANDS = 8

Span = tuple[int, int]
Join = Literal["", "&&", "||", ";"]

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_SPACES = re.compile(r" *")
# A whole bare word; what follows must end it. `~` and a leading `#` take the slower way below.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=^}-][A-Za-z0-9_./:@%+,=^#}-]*(?=[ ;|]|&&|\Z)")
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=^~#}-]+")
_TILDE = re.compile(r"(?:\A|[=:])~")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\$`!]|\\[^!])*)"')
_DOUBLE_ESCAPE = re.compile(r'\\([$`"\\])')  # inside "…" any other backslash stays
_JOIN = re.compile(r"&&(?![&>|;])|\|\|(?![|&;])|\|(?![|&;])|;(?![;&|])")
_REDIRECT = re.compile(
    r"(?:(?P<out>1?>>?)|(?P<err>2>>?)|(?P<both>&>>?)|(?P<in>0?<)) */dev/null(?=[ ;|]|&&|\Z)"
    r"|(?P<merge>2>&1)(?=[ ;|]|&&|\Z)"
)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One program call: its words, and where its three streams go."""

    argv: tuple[str, ...]
    spans: tuple[Span, ...]  # where each word stands in the text; not part of the digest
    stdin: Literal["in", "null"] = "in"
    stdout: Literal["out", "null"] = "out"
    stderr: Literal["err", "out", "null"] = "err"  # "out": where stdout led before any >/dev/null


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """Commands connected by pipes; `join` is what stands before the pipeline."""

    join: Join
    commands: tuple[Command, ...]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What a line would run, in one form for each meaning."""

    pipelines: tuple[Pipeline, ...]

    @property
    def commands(self) -> tuple[Command, ...]:
        """Every command, from left to right."""
        return tuple(command for line in self.pipelines for command in line.commands)

    @property
    def argvs(self) -> tuple[tuple[str, ...], ...]:
        """The argument vectors, from left to right."""
        return tuple(command.argv for command in self.commands)

    def canonical(self) -> dict[str, object]:
        """The value that is hashed: meaning only, no spans."""
        return {
            "form": "program-1",
            "pipelines": [_plain_pipeline(line) for line in self.pipelines],
        }

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical bytes; hub and node compare it."""
        return canonical.digest(self.canonical())


def _plain_pipeline(line: Pipeline) -> dict[str, object]:
    commands = [
        {
            "argv": list(command.argv),
            "stdin": command.stdin,
            "stdout": command.stdout,
            "stderr": command.stderr,
        }
        for command in line.commands
    ]
    return {"join": line.join, "commands": commands}


def read(text: str) -> Program:
    """The program of a line; raises `SyntaxRefusedError` for anything outside the language."""
    if len(text) > MAX_CHARACTERS:
        _refuse("too-long", (MAX_CHARACTERS, len(text)))
    if found := _UNPRINTABLE.search(text):
        _refuse(constructs.unprintable(found[0]), found.span())
    if not text.strip(" "):
        _refuse("empty", (0, len(text)))
    return _Scanner(text).program()


def _refuse(construct: str, span: Span) -> NoReturn:
    message, hint = constructs.WORDS[construct]
    raise SyntaxRefusedError(construct, span, message, hint)


class _Scanner:
    """Walks the text once from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def program(self) -> Program:
        join: Join = ""
        lines: list[Pipeline] = []
        commands: list[Command] = []
        count = 0
        while True:
            commands.append(self.command())
            count += 1
            if count > MAX_COMMANDS:
                _refuse("too-many-commands", (0, len(self.text)))
            mark = self.join()
            if mark == "|":
                continue
            lines.append(Pipeline(join=join, commands=tuple(commands)))
            if not mark or (mark == ";" and self.rest_is_empty()):
                return Program(pipelines=tuple(lines))
            join, commands = mark, []

    def rest_is_empty(self) -> bool:
        return not self.text[self.at :].strip(" ")

    def join(self) -> Literal["|", "", "&&", "||", ";"]:
        """The connector here, or nothing at the end; `command` stopped at one of the two."""
        found = _JOIN.match(self.text, self.at)
        if not found:
            if self.at < len(self.text):
                self.refuse_here()
            return ""
        self.at = found.end()
        mark: Literal["|", "&&", "||", ";"] = found[0]  # type: ignore[assignment]  # the pattern has these four
        return mark

    def command(self) -> Command:
        words: list[str] = []
        spans: list[Span] = []
        streams: dict[str, str] = {}
        while True:
            self.skip_spaces()
            start = self.at
            first = self.text[start : start + 1]
            if not first or (first in "|&;" and _JOIN.match(self.text, start)):
                break
            # What a redirection can begin with; nearly every word is spared the expression.
            if first in "<>&012" and (found := _REDIRECT.match(self.text, start)):
                self.at = found.end()
                _redirect(streams, found.lastgroup)
                if not words:
                    _refuse("redirection-first", found.span())
                continue
            words.append(self.word())
            spans.append((start, self.at))
            if len(words) == 1:
                self.check_name(words[0], spans[0])
        if not words:
            _refuse("missing-command", (start, min(start + 1, len(self.text))))
        if len(words) > MAX_WORDS:
            _refuse("too-many-words", (spans[0][0], spans[-1][1]))
        command = {"argv": tuple(words), "spans": tuple(spans), **streams}
        return Command(**command)  # type: ignore[arg-type]  # `_redirect` writes only these streams

    def skip_spaces(self) -> None:
        if self.text[self.at : self.at + 1] == " ":
            found = _SPACES.match(self.text, self.at)
            self.at = found.end() if found else self.at

    def word(self) -> str:
        if found := _PLAIN.match(self.text, self.at):
            self.at = found.end()
            return found[0]
        start = self.at
        pieces: list[str] = []
        while self.at < len(self.text) and self.text[self.at] not in " ;|&":
            pieces.append(self.piece(start))
        if self.at == start:
            self.refuse_here()
        if self.text[self.at : self.at + 1] == "&" and self.text[self.at : self.at + 2] != "&&":
            self.refuse_here()
        return "".join(pieces)

    def piece(self, start: int) -> str:
        """One run of the same quoting inside a word that began at `start`."""
        text, at = self.text, self.at
        if found := _BARE.match(text, at):
            self.check_bare(found, first=at == start)
            self.at = found.end()
            return found[0]
        if found := _SINGLE.match(text, at):
            self.at = found.end()
            return found[1]
        if found := _DOUBLE.match(text, at):
            self.at = found.end()
            return _DOUBLE_ESCAPE.sub(r"\1", found[1])
        if text[at] == "\\" and at + 1 < len(text):
            self.at = at + 2
            return text[at + 1]
        return self.refuse_here()

    def check_bare(self, found: re.Match[str], *, first: bool) -> None:
        """`#` at the start opens a comment; `~` at the start or after = or : is a home."""
        run = found[0]
        if first and run[0] == "#":
            _refuse("comment", (found.start(), len(self.text)))
        if "~" in run and (home := _TILDE.search(run)):
            _refuse("tilde", (found.start() + home.end() - 1, found.end()))

    def check_name(self, name: str, span: Span) -> None:
        """The first word may be nothing that bash itself interprets."""
        if "=" in name:
            _refuse("assignment", span)
        if not name:
            _refuse("empty-name", span)
        if name in constructs.RESERVED or name[0] in "%^}":
            _refuse("reserved-word", span)
        if name in constructs.BUILTINS:
            _refuse("builtin", span)

    def refuse_here(self) -> NoReturn:
        construct, span = constructs.name_at(self.text, self.at)
        _refuse(construct, span)


def _redirect(streams: dict[str, str], kind: str | None) -> None:
    """Apply one redirection to the streams, in bash's order from left to right."""
    match kind:
        case "out":
            streams["stdout"] = "null"
        case "err":
            streams["stderr"] = "null"
        case "both":
            streams["stdout"] = streams["stderr"] = "null"
        case "in":
            streams["stdin"] = "null"
        case _:
            streams["stderr"] = streams.get("stdout", "out")
