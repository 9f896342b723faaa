"""What a check says about one value: nothing, or the fault it found."""

from collections.abc import Callable

import msgspec

from policy.facts import Facts
from policy.places import Guard


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one value."""

    code: str
    message: str
    hint: str = ""


Check = Callable[[str, Facts, Guard], Fault | None]

# A maker turns the parameters of a type into the words for it and its check.
Maker = Callable[[str], tuple[str, Check]]


def not_expected(value: str, expected: str, code: str = "bad-value") -> Fault:
    """The ordinary fault: the value is not what the type says."""
    return Fault(code=code, message=f"{value!r} is not {expected}")
