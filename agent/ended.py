"""How a command ended, and what it says about the limits that it ran under."""

import signal
from dataclasses import dataclass

from agent.command_limits import CommandLimits

_LIMITS = (signal.SIGKILL, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGSYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of one command."""

    status: int | None = None  # as of a child of ours: -9 is SIGKILL; None: it never ran, or on
    because: str = ""  # in words, when there is more to say than the status
    limit: bool = False  # whether it was a limit that ended it


def of_status(status: int, limits: CommandLimits) -> Ended:
    """The end that a status tells."""
    if status >= 0:
        return Ended(status=status)
    because = _signal_words(-status, limits)
    return Ended(status=status, because=because, limit=-status in _LIMITS)


def _signal_words(number: int, limits: CommandLimits) -> str:
    match number:
        case signal.SIGKILL:
            return f"it was killed, as over a limit of memory ({limits.memory_mb} MB)"
        case signal.SIGXCPU:
            return "it used up its processor time"
        case signal.SIGXFSZ:
            return f"it wrote a file of more than {limits.file_mb} MB"
        case signal.SIGSYS:
            return "it made a system call that its rule does not grant"
        case _:
            return f"it was ended by signal {number}"
