"""What can go wrong in this room: a broken rule file, a refused text, an unsure second reader."""

from appliance.errors import RefusedError, SentinelError


class PolicyError(SentinelError):
    """A rule file cannot be used; the text names the file and the line."""

    code = "policy"

    def __init__(self, message: str, *, file: str, line: int) -> None:
        super().__init__(f"{file}:{line}: {message}")
        self.message = message
        self.file = file
        self.line = line


class SyntaxRefusedError(RefusedError):
    """The text is outside the executable language; `construct` names the part of the shell."""

    code = "syntax"

    def __init__(self, construct: str, span: tuple[int, int], message: str, hint: str) -> None:
        super().__init__(f"syntax:{construct}: {message}")
        self.construct = construct
        self.span = span
        self.message = message
        self.hint = hint


class CouldNotTellError(SentinelError):
    """The second reader crashed, ran out of time or memory, or met something it does not know."""

    code = "could-not-tell"
