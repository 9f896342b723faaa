"""What can be wrong with a log, in words an auditor can read."""

from appliance.errors import RefusedError, SentinelError


class EntryError(SentinelError):
    """An entry cannot be written, or a stored line is not an entry in its one canonical form."""

    code = "entry"


class AuditRefusedError(RefusedError):
    """Something that was shown as proof is none."""

    code = "audit"


class VkeyError(AuditRefusedError):
    """A verifier key is not one: wrong form, wrong hash, or a point that signs for everybody."""

    code = "vkey"


class NoteError(AuditRefusedError):
    """A signed note is malformed, or nobody we trust signed it."""

    code = "note"


class CheckpointError(AuditRefusedError):
    """A note was signed, but its text is not a checkpoint of this log."""

    code = "checkpoint"


class ProofError(AuditRefusedError):
    """A proof does not lead from the entry to the signed root."""

    code = "proof"


class ExportError(AuditRefusedError):
    """An export is not what it says it is, or cannot be made from what is there."""

    code = "export"


class ComparisonError(SentinelError):
    """The part of the log that is here does not reach back to the last audit's checkpoint."""

    code = "comparison"


class TrustError(SentinelError):
    """The policy file says something this verifier cannot read or cannot check yet."""

    code = "trust"


class EpochError(AuditRefusedError):
    """The list of epoch keys, or the key that should fit it, is not what the root key certified."""

    code = "epochs"


class ForkError(AuditRefusedError):
    """A decision to go on with a log that was set back does not count."""

    code = "fork"


class WitnessError(SentinelError):
    """A witness cannot keep what it has seen, and so it says nothing."""

    code = "witness"
