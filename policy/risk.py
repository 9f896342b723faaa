"""The risk of a judged command, in the one word that quorums are named by."""

from policy.verdict import Verdict

LOW = "low"


def risk_of(verdict: Verdict) -> str:
    """What the rules say of it; "low" where they say nothing."""
    return str(getattr(verdict, "risk", LOW))


def worst_of(*risks: str) -> str:
    """The one that is not "low", if there is one; a word nobody knows is not low."""
    return next((risk for risk in sorted(risks) if risk != LOW), LOW)
