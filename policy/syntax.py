"""Read a line a second time, with bashlex, and say which argument vectors it sees.

The only module that imports bashlex. Its tree is trusted for where words begin and end, never for
their text: each word is unquoted again from the source, and whatever bash might expand ends in
`CouldNotTellError`. bashlex can hang or crash, so daemons use it through `policy.worker`.
"""

import re
from typing import Any

import bashlex
import bashlex.ast

from policy.errors import CouldNotTellError

_QUOTED = re.compile(
    r"""'(?P<single>[^']*)'"""
    r"""|"(?P<double>(?:[^"\\]|\\.)*)\""""
    r"""|\\(?P<escaped>.)"""
    r"""|(?P<bare>[^'"\\]+)"""
)
_KEPT_IN_DOUBLE = re.compile(r"\\([$`\"\\])")
_EXPANDS_IN_DOUBLE = re.compile(r"(?<!\\)(?:\\\\)*[$`]")
_EXPANDS_BARE = re.compile(r"[$`*?\[\]{()<>|&;!\s]")
_HOME = re.compile(r"(?:\A|[=:])~")
_NULL = "/dev/null"
_HIDING = ("commandsubstitution", "processsubstitution", "compound", "function")

Argvs = tuple[tuple[str, ...], ...]


class BashlexReader:
    """The second reader inside this process: for tests, where a hang stops only the test."""

    def argvs(self, text: str) -> Argvs:
        """The argument vectors bashlex sees; raises `CouldNotTellError` when it is not sure."""
        return read(text)

    def hidden(self, text: str) -> tuple[str, ...]:
        """What bash would run besides the plain commands; nothing when bashlex is not sure."""
        try:
            return hidden(text)
        except CouldNotTellError:
            return ()


def read(text: str) -> Argvs:
    """The argument vectors of a line; everything unusual, also a crash, is `CouldNotTellError`."""
    try:
        found: list[tuple[str, ...]] = []
        for tree in bashlex.parse(text):
            _walk(tree, text, found)
        return tuple(found)
    except CouldNotTellError:
        raise
    except Exception as error:  # bashlex raises nearly everything, from AssertionError to TypeError
        raise CouldNotTellError(f"bashlex: {type(error).__name__}: {error}") from error


def _walk(node: Any, text: str, found: list[tuple[str, ...]]) -> None:
    """Collect the commands of plain lists and pipelines; any other node is not plain."""
    match node.kind:
        case "list" | "pipeline":
            for part in node.parts:
                _walk(part, text, found)
        case "command":
            found.append(_command(node, text))
        case "operator" if node.op in ("&&", "||", ";"):
            pass
        case "pipe" if node.pipe == "|":
            pass
        case kind:
            raise CouldNotTellError(f"bashlex sees a {kind} that is not a plain command")


def _command(node: Any, text: str) -> tuple[str, ...]:
    words = []
    for part in node.parts:
        match part.kind:
            case "word" if not part.parts:
                words.append(unquote(text[part.pos[0] : part.pos[1]]))
            case "redirect":
                _check_redirect(part, text)
            case kind:
                raise CouldNotTellError(f"bashlex sees a {kind} with parts")
    return tuple(words)


def _check_redirect(node: Any, text: str) -> None:
    if node.type == ">&" and node.input == 2 and node.output == 1:  # noqa: PLR2004  # 2>&1
        return
    target = text[node.output.pos[0] : node.output.pos[1]] if hasattr(node.output, "pos") else ""
    if target != _NULL or node.type not in (">", ">>", "<", "&>", "&>>"):
        raise CouldNotTellError(f"bashlex sees a redirection {node.type}{target}")


def unquote(source: str) -> str:
    """The word bash would make of this piece of source, or `CouldNotTellError` if it expands."""
    if source.startswith("#"):
        raise CouldNotTellError(f"{source!r} is a comment to bash")
    pieces = []
    at = 0
    while at < len(source):
        found = _QUOTED.match(source, at)
        if not found:
            raise CouldNotTellError(f"{source!r} has an open quote")
        pieces.append(_piece(found))
        at = found.end()
    return "".join(pieces)


def _piece(found: re.Match[str]) -> str:
    kind = found.lastgroup or ""
    value = found[kind]
    if kind == "double":
        if _EXPANDS_IN_DOUBLE.search(value):
            raise CouldNotTellError(f'"{value}" is expanded by bash')
        return _KEPT_IN_DOUBLE.sub(r"\1", value)
    if kind == "bare" and (_EXPANDS_BARE.search(value) or _HOME.search(value)):
        raise CouldNotTellError(f"{value!r} is expanded by bash")
    return str(value)


def hidden(text: str) -> tuple[str, ...]:
    """The commands bash would run besides those that stand there plainly: for people, not judged.

    They come from the insides of substitutions, loops and functions. Raises `CouldNotTellError`.
    """
    try:
        found = _Hidden()
        for tree in bashlex.parse(text):
            found.visit(tree)
    except Exception as error:
        raise CouldNotTellError(f"bashlex: {type(error).__name__}: {error}") from error
    return tuple(found.commands)


class _Hidden(bashlex.ast.nodevisitor):  # type: ignore[misc]  # bashlex has no types
    """Collects the commands below a substitution, a compound command or a function."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self._depth = 0

    def visitnode(self, n: Any) -> None:
        self._depth += n.kind in _HIDING

    def visitnodeend(self, n: Any) -> None:
        self._depth -= n.kind in _HIDING

    def visitcommand(self, n: Any, parts: Any) -> None:  # noqa: ARG002  # bashlex calls it so
        if self._depth:
            words = (part.word for part in parts if part.kind == "word")
            self.commands.append(" ".join(words))
