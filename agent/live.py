"""A glimpse of what a running command has printed, as it goes from executor to agent."""

from typing import Annotated

import msgspec

from appliance.records import Count, Name, Record

MOST_SHOWN = 4096  # characters; the last of them, whatever was printed before


class Live(Record, frozen=True, kw_only=True):
    """Unsigned, and replaced by the next; the report is the truth."""

    order_id: Name
    index: Annotated[int, msgspec.Meta(ge=0, le=255)]  # of the plan's commands
    undoing: bool = False  # it is that command's rollback which runs
    text: Annotated[str, msgspec.Meta(max_length=MOST_SHOWN)] = ""  # redacted
    total: Count = 0  # bytes printed so far
