"""Words and signs for states, rulings, outcomes, conditions: colour is never the only sign."""

from typing import NamedTuple

from appliance.lifecycle import State


class Badge(NamedTuple):
    """A word, a sign and a tone: act, bad, busy, good, quiet or warn."""

    text: str
    sign: str
    tone: str


STATES = {
    State.OPEN: Badge("open", "○", "busy"),
    State.REASONING: Badge("reasoning", "◌", "busy"),
    State.PROPOSED: Badge("being judged", "◌", "busy"),
    State.AWAITING: Badge("awaits approval", "▶", "act"),
    State.MANUAL: Badge("manual steps", "✎", "act"),
    State.APPROVED: Badge("approved", "✓", "busy"),
    State.DISPATCHED: Badge("sent to node", "→", "busy"),
    State.REHEARSED: Badge("dry run only", "◇", "dry"),
    State.EXECUTED: Badge("ran, measuring", "◌", "busy"),
    State.RESOLVED: Badge("resolved", "✔", "good"),
    State.UNRESOLVED: Badge("not resolved", "✖", "bad"),
    State.UNKNOWN: Badge("outcome unknown", "?", "bad"),
    State.REFUSED: Badge("refused by node", "⊘", "bad"),
    State.REJECTED: Badge("rejected", "✕", "quiet"),
    State.EXPIRED: Badge("expired", "⧖", "quiet"),
    State.RECOVERED: Badge("recovered", "✔", "good"),
    State.CLOSED: Badge("closed", "■", "quiet"),
}

NEXT = {
    State.OPEN: "Waiting for a reasoner to look at the evidence.",
    State.REASONING: "A reasoner is working out a diagnosis and a plan.",
    State.PROPOSED: "A plan is stored; the policy is judging its commands.",
    State.AWAITING: "Waiting for an operator's answer.",
    State.MANUAL: "No command of this plan may run by itself. A person acts and records it here.",
    State.APPROVED: "Approved. The order leaves once the approval is in the audit log.",
    State.DISPATCHED: "The signed order is on its way; the node checks everything again itself.",
    State.REHEARSED: "Dry run: the node checked all and ran nothing; the fault is still there.",
    State.EXECUTED: "The node ran the commands; it now measures whether the condition is gone.",
    State.RESOLVED: "The commands ran and the condition is gone.",
    State.UNRESOLVED: "The condition is still there, or a command failed. A person must look.",
    State.UNKNOWN: "Nobody knows whether the commands ran. Look at the node before doing anything.",
    State.REFUSED: "The node refused the order; nothing ran. The reason is below.",
    State.REJECTED: "An operator said no; nothing ran.",
    State.EXPIRED: "Nobody answered in time; nothing ran. Silence is never a yes.",
    State.RECOVERED: "The condition ended by itself.",
    State.CLOSED: "A person ended this incident.",
}

SEVERITIES = {
    "critical": Badge("critical", "▲", "bad"),
    "warning": Badge("warning", "△", "warn"),
}

RULINGS = {
    "allow": Badge("allow", "✔", "good"),
    "review": Badge("review", "✎", "warn"),
    "block": Badge("block", "⊘", "bad"),
}

EFFECTS = {
    "read": Badge("only reads", "○", "good"),
    "state": Badge("changes state", "△", "warn"),
    "destroy": Badge("destroys data", "✖", "bad"),
}

OUTCOMES = {
    "refused": Badge("refused: nothing ran", "⊘", "bad"),
    "dry_run": Badge("DRY RUN: nothing ran", "◇", "dry"),
    "succeeded": Badge("ran, all commands succeeded", "✔", "good"),
    "failed": Badge("ran, a command failed", "✖", "bad"),
    "timed_out": Badge("ran into its deadline and was ended", "⧖", "bad"),
    "outcome_unknown": Badge("outcome unknown", "?", "bad"),
}

MANUAL = {
    "worked": Badge("it worked", "✔", "good"),
    "did_not_work": Badge("it did not work", "✖", "bad"),
    "not_done": Badge("not done", "○", "quiet"),
}

CONDITIONS = {
    "host_memory": "host memory",
    "process_memory": "process memory",
    "process_leak": "process leak",
    "disk_space": "disk space",
    "disk_inodes": "inodes",
    "cpu_saturation": "CPU saturation",
    "load_saturation": "load",
    "unit_failed": "unit failed",
    "stolen_token": "joining token",
}

BY_HAND = {
    "stolen_token": (
        "Ask at the node. If it says that it is enrolled, start its agent and compare its key.",
        "If not, shut out whoever has the token, on the hub: sentinel node check NODE --stolen",
        "Find out how the ticket was read, then add the node again: sentinel node add NODE",
        "Close this incident with a note that says what it was.",
    ),
}
"""Conditions that have no plan: what a person does."""
