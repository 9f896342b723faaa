"""What can go wrong while reasoning; none of it stops an incident from getting a plan."""

from appliance.errors import RefusedError, SentinelError


class ReasonError(RefusedError):
    """The model's answer is not a choice among what was offered."""

    code = "reason"


class GrammarError(SentinelError):
    """A grammar that llama.cpp would crash on, or that would not constrain at all."""

    code = "grammar"


class ModelError(SentinelError):
    """The model has no part in this plan; the text names its file and says why."""

    code = "model"


class CancelledError(SentinelError):
    """Nobody waits for this answer any more: the incident recovered or the lease was lost."""

    code = "cancelled"
