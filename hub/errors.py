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


class CredentialError(RefusedError):
    """A change to a person's keys was refused; the text says why."""

    code = "credential"


class FleetError(RefusedError):
    """A halt, or a node's key, was refused; nothing was changed."""

    code = "fleet"


class RenewalError(SentinelError):
    """The process that renews a certificate gave no answer."""

    code = "renewal"


class NotaryError(SentinelError):
    """The audit log cannot be written; nothing is approved or released until it can."""

    code = "notary"


class RollbackError(NotaryError):
    """The log on disk is shorter or other than what was signed or indexed; it is not continued."""

    code = "rollback"


class DiskLiesError(NotaryError):
    """The disk did not keep what it was given; after a restart the log says what is there."""

    code = "disk"


class LogFullError(NotaryError):
    """There is no room for the log; make room, then start the notary again."""

    code = "disk-full"


class LogLockedError(NotaryError):
    """Another notary has this log open."""

    code = "locked"


class EventError(RefusedError):
    """An event that can never be accepted; the node sets it aside."""

    code = "event"


class SigningError(NotaryError):
    """The log cannot be signed now: a signer does not answer, or signs with another key."""

    code = "signing"


class KeyEndedError(SigningError):
    """The log's key may sign no more: its epoch is over, it was revoked, or a second is lacking."""

    code = "key-ended"
