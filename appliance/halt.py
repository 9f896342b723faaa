"""The kill switch as it travels: a halt, and what it takes to lift one.

A halt needs nobody's signature: it can only make nodes do less. Lifting it needs the statement of
an administrator, signed with their own key, on a terminal or in a browser, over exactly this halt;
every node checks it by itself, as it checks the yes to a plan.
"""

from appliance import records
from appliance.people import statement
from appliance.records import Name, OperatorSignature, Record, Text


class Halt(Record, frozen=True, kw_only=True):
    """Run nothing more. Its id is used once: a halt that was lifted never comes back."""

    halt_id: Name
    reason: Text = ""


class Resumption(Record, frozen=True, kw_only=True):
    """An administrator's word that this halt is over."""

    halt_id: Name
    operator: Name
    signature: OperatorSignature


def to_be_signed(halt: Halt, operator: str) -> bytes:
    """The 32 bytes that an administrator signs to lift a halt."""
    return statement("resume", operator=operator, digest=records.digest_of(halt))
