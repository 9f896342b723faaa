"""What comes with a checkpoint from the hub: how the log leads there from what a node has seen.

It proves itself, so it is in no envelope. Agent and executor both use it; the agent opens nothing.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from appliance.records import Count, Record

MAX_PATH = 128  # twice the depth of a log of 2^53 entries, and some
MAX_DECISION_BYTES = 192 * 1024  # an entry of 60,000 bytes as JSON in JSON, and its proof

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class LogProof(Record, frozen=True, kw_only=True):
    """A consistency proof between the size a node has seen and a checkpoint's, either way round."""

    log_from: Count = 0  # the size the node is believed to have seen; 0: nothing
    path: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=MAX_PATH)] = ()
    # Of a log that was set back: two administrators' word to go on, see `decided.py`.
    decision: Annotated[bytes, msgspec.Meta(max_length=MAX_DECISION_BYTES)] = b""


class Standing(Record, frozen=True, kw_only=True):
    """Where this node stands in the log, as it tells others."""

    size: Count = 0
    root: str = ""  # hex
    vkey: str = ""  # of this node as a witness
    cosignature: str = ""  # over the checkpoint of this size
    refusal: str = ""  # why the offered checkpoint is not of this log; empty: it is
    fork: str = ""  # why no order runs until a person has looked; empty: all is well
    kept: str = ""  # the notes that show it, each followed by an empty line


NO_PROOF = LogProof()


def read(log_from: int, path: Sequence[bytes], decision: bytes = b"") -> LogProof | None:
    """A proof as it came over the wire; None when it has not the form of one."""
    fields = {"log_from": log_from, "path": tuple(path), "decision": decision}
    try:
        return msgspec.convert(fields, LogProof)
    except msgspec.ValidationError:
        return None
