"""The life of an incident as one list of states, and the only moves between them.

The SQL enum in `hub/persist/migrations` carries the same comments and its trigger the same moves;
a test compares the two.
"""

from enum import StrEnum


class State(StrEnum):
    """Where an incident stands; the state is also the queue its next worker takes from."""

    OPEN = "open"  # durable; waits for a reasoner
    REASONING = "reasoning"  # a reasoner holds the lease
    PROPOSED = "proposed"  # a plan is stored; waits for the policy's judgement
    AWAITING = "awaiting"  # judged; waits for an operator
    MANUAL = "manual"  # no command may run by itself; a person acts and records it
    APPROVED = "approved"  # an operator said yes; waits for the log, then for dispatch
    DISPATCHED = "dispatched"  # the signed order is stored and offered to the node
    REHEARSED = "rehearsed"  # the node checked all and, in dry-run, ran nothing
    EXECUTED = "executed"  # the node ran the commands; the detector has the last word
    RESOLVED = "resolved"  # ran, and the detector says the condition is gone
    UNRESOLVED = "unresolved"  # ran or failed, and the condition is still there
    UNKNOWN = "outcome_unknown"  # a crash in the middle, or no report; a person must look
    REFUSED = "refused"  # the node refused the order; nothing ran
    REJECTED = "rejected"  # an operator said no
    EXPIRED = "expired"  # nobody answered in time; silence is never a yes
    RECOVERED = "recovered"  # the condition ended by itself
    CLOSED = "closed"  # a person ended it, with a note


MOVES: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.REASONING, State.RECOVERED, State.CLOSED}),
    State.REASONING: frozenset({State.OPEN, State.PROPOSED, State.RECOVERED, State.CLOSED}),
    State.PROPOSED: frozenset({State.AWAITING, State.MANUAL, State.RECOVERED, State.CLOSED}),
    State.AWAITING: frozenset(
        {
            State.APPROVED,
            State.REJECTED,
            State.EXPIRED,
            State.PROPOSED,  # other commands were written, or another policy came into force
            State.RECOVERED,
            State.CLOSED,
        }
    ),
    State.MANUAL: frozenset({State.PROPOSED, State.RECOVERED, State.CLOSED}),
    State.APPROVED: frozenset({State.DISPATCHED, State.EXPIRED, State.RECOVERED}),
    State.DISPATCHED: frozenset(
        {
            State.REHEARSED,
            State.EXECUTED,
            State.UNRESOLVED,
            State.UNKNOWN,
            State.REFUSED,
        }
    ),
    State.REHEARSED: frozenset({State.RECOVERED, State.CLOSED}),
    State.EXECUTED: frozenset({State.RESOLVED, State.UNRESOLVED}),
    State.UNRESOLVED: frozenset({State.RECOVERED, State.CLOSED}),
    State.UNKNOWN: frozenset(  # a late report tells after all
        {
            State.REHEARSED,
            State.EXECUTED,
            State.UNRESOLVED,
            State.REFUSED,
            State.RECOVERED,
            State.CLOSED,
        }
    ),
    State.REFUSED: frozenset({State.RECOVERED, State.CLOSED}),
    State.REJECTED: frozenset({State.RECOVERED, State.CLOSED}),
    State.EXPIRED: frozenset({State.RECOVERED, State.CLOSED}),
    State.RESOLVED: frozenset(),
    State.RECOVERED: frozenset(),
    State.CLOSED: frozenset(),
}

FINAL = frozenset(state for state, onward in MOVES.items() if not onward)
"""Nothing follows these; the condition may come back as a new incident."""

NEEDS_A_PERSON = frozenset(
    {State.AWAITING, State.MANUAL, State.UNRESOLVED, State.UNKNOWN, State.REFUSED}
)
"""What the console lists first."""


def may_move(before: State, after: State) -> bool:
    """Whether an incident may go from one state to the other."""
    return after in MOVES[before]
