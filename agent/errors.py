"""What can go wrong on a node, as an operator reads it."""

from appliance.errors import RefusedError, SentinelError


class ProbeError(SentinelError):
    """The host could not be read; the cycle is skipped, nothing is decided from half a reading."""

    code = "probe"


class SpoolError(SentinelError):
    """An event could not be made durable on this node, for instance because the disk is full."""

    code = "spool"


class JournalError(SentinelError):
    """The execution journal cannot be read or written; without it nothing runs."""

    code = "execution-journal"


class AsideError(SentinelError):
    """A check in a process of its own gave no answer; what it was asked for is refused."""

    code = "aside"


class UnitError(SentinelError):
    """systemd does not do what the executor asks for an order's unit."""

    code = "unit"


class SocketError(SentinelError):
    """The other end of the local socket is not there, or does not speak as agreed."""

    code = "local-socket"


class LogForkedError(RefusedError):
    """A checkpoint that does not extend what this node has accepted; `notes` holds both."""

    code = "log-forked"

    def __init__(self, because: str, *, notes: str) -> None:
        super().__init__(because)
        self.notes = notes


class LogStaleError(RefusedError):
    """A proof that does not start where this node stands; `seen_size` is where it does."""

    code = "log-stale"

    def __init__(self, seen_size: int) -> None:
        super().__init__(f"the proof is not from the {seen_size} entries that were accepted here")
        self.seen_size = seen_size


class OrderRefusedError(RefusedError):
    """A numbered check of the executor said no; `step` is its number and name."""

    code = "order-refused"

    def __init__(self, step: str, because: str) -> None:
        super().__init__(f"step {step}: {because}")
        self.step = step
        self.because = because
