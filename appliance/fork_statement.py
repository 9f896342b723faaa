"""What two administrators sign when a log that was set back is to be gone on with.

Only the records, as they travel in a file between two people and stand in the log's entry. Whether
notes and signatures are good is `audit/fork_decision.py`.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from appliance.records import Name, OperatorSignature, Record, Text, digest_of

MOST_GIVEN_UP = 8  # different checkpoints that witnesses hold; nearly always it is one
MOST_SIGNERS = 4

Note = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]  # a signed checkpoint


class ForkStatement(Record, frozen=True, kw_only=True):
    """Which history is given up, from which checkpoint the log goes on, and why."""

    statement_id: Name  # UUIDv7; one decision is taken once
    log: Name  # its origin
    given_up: Annotated[tuple[Note, ...], msgspec.Meta(min_length=1, max_length=MOST_GIVEN_UP)]
    go_on: Note  # the log as it is now: its next checkpoints extend this one
    reason: Text
    at: datetime

    @property
    def digest(self) -> str:
        """What an administrator signs, and what a decision is called by."""
        return digest_of(self)


class ForkSignature(Record, frozen=True, kw_only=True):
    """One administrator's own signature over the statement's digest."""

    operator: Name
    signature: OperatorSignature


class SignedFork(Record, frozen=True, kw_only=True):
    """A statement with whoever has signed it so far."""

    statement: ForkStatement
    signatures: Annotated[tuple[ForkSignature, ...], msgspec.Meta(max_length=MOST_SIGNERS)] = ()
