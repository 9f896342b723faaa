"""What can go wrong on the hub, in words an operator can read."""

from appliance.errors import RefusedError, SentinelError


class DatabaseError(SentinelError):
    """PostgreSQL did not do what was asked: unreachable, full, or of another version."""

    code = "database"


class MoveError(RefusedError):
    """The incident is not in a state from which this can be done; somebody was faster."""

    code = "moved-on"


class ApprovalError(RefusedError):
    """An approval was refused; the text says what differs from what was shown."""

    code = "approval"


class NotaryError(SentinelError):
    """The audit log cannot be written; nothing is approved or released until it can."""

    code = "notary"


class EventError(RefusedError):
    """An event that can never be accepted; the node sets it aside."""

    code = "event"
