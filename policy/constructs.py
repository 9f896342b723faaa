"""The parts of the shell that the executable language leaves out: names, messages and hints.

`policy.reader` decides that something is refused; this module only finds the right words for it.
"""

import re

Span = tuple[int, int]

# bash 5.2, "RESERVED WORDS", and what `compgen -k` prints.
_RESERVED = """
! [[ ]] { } case coproc do done elif else esac fi for function if in select then time until
while
"""
RESERVED = frozenset(_RESERVED.split())
# bash 5.2 `compgen -b`, without those that are also programs on disk and behave the same there:
# [ echo false kill printf pwd test true.
_BUILTINS = """
. : alias bg bind break builtin caller cd command compgen complete compopt continue declare
dirs disown enable eval exec exit export fc fg getopts hash help history jobs let local
logout mapfile popd pushd read readarray readonly return set shift shopt source suspend times
trap type typeset ulimit umask unalias unset wait
"""
BUILTINS = frozenset(_BUILTINS.split())

WORDS: dict[str, tuple[str, str]] = {
    "too-long": ("the line is longer than 4096 characters", "split it into several steps"),
    "too-many-commands": ("more than 8 commands in one line", "split it into several steps"),
    "too-many-words": ("more than 64 words in one command", "name fewer files, or use two steps"),
    "empty": ("there is no command", "write the command to run"),
    "newline": ("a line break ends the command", "write one command a step, on one line"),
    "control": ("a control character", "remove it; between words write a plain space"),
    "non-ascii": (
        "a character outside printable ASCII",
        "type it again in ASCII; look-alike letters and quotes come from copied text",
    ),
    "missing-command": ("a command is missing here", "remove the connector or add the command"),
    "redirection-first": ("a redirection before the command", "write it after the command"),
    "empty-name": ("the name of the program is empty", "write the program's name"),
    "assignment": (
        "a variable assignment",
        "leave it out; commands run with a fixed environment",
    ),
    "reserved-word": (
        "a word of the shell's own grammar",
        "write the plain commands as separate steps",
    ),
    "builtin": (
        "a shell builtin; there is no shell here",
        "name the program itself, with absolute paths instead of cd",
    ),
    "comment": ("a comment", "leave the comment out"),
    "tilde": ("`~` means a home directory", "write the absolute path"),
    "placeholder": ("a placeholder, not a value", "put in the real value from the evidence"),
    "brace": ("brace expansion or a group", "write each word out, or quote it: '{}'"),
    "glob": ("a file name pattern", "name each file, or quote the word: '*.log'"),
    "command-substitution": (
        "a command inside a command",
        "run the inner command as its own step and write its result here",
    ),
    "process-substitution": ("a command used as a file", "run it as its own step, or use a pipe"),
    "ansi-c-quote": ("quoting with $'…'", "write the character itself inside '…'"),
    "expansion": ("a variable", "write the value itself; to mean a dollar sign write '$'"),
    "history": ("history expansion or negation with `!`", "put it inside '…' or leave it out"),
    "here-document": ("a here-document", "name a file, or give the text as an argument"),
    "here-string": ("a here-string", "name a file, or give the text as an argument"),
    "redirection": (
        "a redirection to or from a file",
        "only /dev/null and 2>&1 are possible, each after a space",
    ),
    "background": ("running in the background", "leave out the `&`"),
    "subshell": ("a parenthesis: subshell or function", "write the plain commands, or quote it"),
    "operator": ("an operator outside the language", "use one of | && || ;"),
    "quote": ("a quote that is never closed", "close it, or escape it with a backslash"),
    "backslash": ("a backslash at the end of the line", "leave it out"),
}

_PLACEHOLDER = re.compile(r"<[A-Za-z][A-Za-z0-9_. -]*>(?=[ ;|&]|\Z)|\{\{[^{}]*\}\}")
_DOLLAR = {"(": "command-substitution", "'": "ansi-c-quote", '"': "ansi-c-quote"}
_SINGLE_CHARACTERS = {
    "`": "command-substitution",
    "*": "glob",
    "?": "glob",
    "[": "glob",
    "]": "glob",
    "{": "brace",
    "}": "brace",
    "!": "history",
    "(": "subshell",
    ")": "subshell",
    "'": "quote",
    "\\": "backslash",
}


def unprintable(character: str) -> str:
    """Which kind of character outside printable ASCII this is."""
    if character == "\n":
        return "newline"
    return "control" if character < " " or "\x7f" <= character <= "\x9f" else "non-ascii"


def name_at(text: str, at: int) -> tuple[str, Span]:
    """The construct that begins at a place where the reader could not go on, and its span."""
    if found := _PLACEHOLDER.match(text, at):
        return "placeholder", found.span()
    rest = text[at : at + 3]
    if rest[0] in "<>":
        return _redirection(text, at)
    if rest[0] == "$":
        return _DOLLAR.get(rest[1:2], "expansion"), (at, min(at + 2, len(text)))
    if rest[0] == '"':
        return _inside_double(text, at)
    if rest[0] == "&":
        return _ampersand(rest, at)
    if rest[0] in "|;":
        return "operator", (at, at + 2)
    return _SINGLE_CHARACTERS.get(rest[0], "operator"), (at, at + 1)


def _redirection(text: str, at: int) -> tuple[str, Span]:
    rest = text[at : at + 3]
    for mark, construct in (
        ("<<<", "here-string"),
        ("<<", "here-document"),
        ("<(", "process-substitution"),
        (">(", "process-substitution"),
    ):
        if rest.startswith(mark):
            return construct, (at, at + len(mark))
    return "redirection", (at, at + 1)


def _ampersand(rest: str, at: int) -> tuple[str, Span]:
    if rest[1:2] == ">":
        return "redirection", (at, at + 2)
    return ("operator" if rest[1:2] in ("&", "|") else "background"), (at, at + 1)


def _inside_double(text: str, at: int) -> tuple[str, Span]:
    """What is wrong with the double quote that opens here."""
    place = at + 1
    while place < len(text) and text[place] != '"':
        if text[place] == "$" and text[place + 1 : place + 2] != "(":
            return "expansion", (place, min(place + 2, len(text)))
        if text[place] in "$`":
            return name_at(text, place)
        if text[place] == "!":
            return "history", (place, place + 1)
        place += 2 if text[place] == "\\" and text[place + 1 : place + 2] != "!" else 1
    return "quote", (at, at + 1)
