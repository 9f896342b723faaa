"""The risk of a judged command, in the one word that quorums are named by."""

from policy.verdict import Ruling, Verdict

LOW = "low"


def risk_of(verdict: Verdict) -> str:
    """What the rules say of it; "low" where they say nothing."""
    return str(getattr(verdict, "risk", LOW))


def risk_with_undo(verdict: Verdict, undo: Verdict | None) -> str:
    """Of a command and of what undoes it; an undo that is not `allow` never runs by itself.

    The one that is not "low" counts, if there is one; a word nobody knows is not low.
    """
    runs = [verdict, *([undo] if undo is not None and undo.ruling is Ruling.ALLOW else [])]
    return next((risk for risk in sorted(map(risk_of, runs)) if risk != LOW), LOW)
