"""Errors that people read: what was expected, what came, and what to do.

Every error of the product ends in `Error` and derives from `SentinelError`, so that a program's
`main` can print one line and leave with the right exit status. Those that cross the wire carry a
`code`; only the console turns codes into sentences.
"""

from typing import ClassVar


class SentinelError(Exception):
    """Something an operator can read in one line; `exit_status` is what a command leaves with."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 2


class SettingsError(SentinelError):
    """The configuration file has an unknown key, a wrong type, or cannot be read."""

    code = "settings"


class RefusedError(SentinelError):
    """A check said no; the text names the step that refused and why."""

    code = "refused"
    exit_status = 1


class CanonicalError(SentinelError):
    """A value has no canonical form: a float, a lone surrogate, too deep, too long."""

    code = "not-canonical"


class EnvelopeError(RefusedError):
    """A signed envelope does not open: wrong type, wrong key, damaged bytes."""

    code = "envelope"


class TrustError(RefusedError):
    """Signed trust was not taken: the text says which check refused; what was there stays."""

    code = "trust"


class LaunchError(SentinelError):
    """A part did not start; the text says which part, its log file and its last line."""

    code = "launch"


class IdentityError(RefusedError):
    """A peer's certificate does not say who it is in the way we demand."""

    code = "identity"
