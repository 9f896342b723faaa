"""A step of the setup: what should be in Vault, what is there, and how it is made.

A step only looks until it is told to act, and looks again when it has acted: what Vault did not
keep as it was written is an error, and not something that the next run would do once more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vault.door import Door
from vault.errors import VaultError


class State(StrEnum):
    """What looking found."""

    EXISTS = "exists"
    MAKE = "make"
    CHANGE = "change"
    BY_HAND = "by hand"  # we may not, or cannot; the words say what somebody has to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One line of the plan."""

    state: State
    why: str = ""

    @property
    def ours_to_do(self) -> bool:
        """Whether `--apply` would act."""
        return self.state in (State.MAKE, State.CHANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing in Vault."""

    what: str
    look: Callable[[Door], Found]
    act: Callable[[Door], None]

    def apply(self, door: Door) -> Found:
        """Act if that is needed; what was done, as the plan would have said it."""
        before = self.look(door)
        if not before.ours_to_do:
            return before
        self.act(door)
        after = self.look(door)
        if after.ours_to_do:
            raise VaultError(f"{self.what}: Vault did not keep what was written: {after.why}")
        return before if after.state is State.EXISTS else after


EXISTS = Found(state=State.EXISTS)


def written(
    what: str, path: str, wanted: Callable[[Door], Mapping[str, Any] | None], *, until: str = ""
) -> Step:
    """A step that is one path with these values; None while they cannot be known yet.

    With `until`, a person has to do something before they are known.
    """

    def look(door: Door) -> Found:
        values = wanted(door)
        if values is None and until:
            return Found(state=State.BY_HAND, why=f"waits for {until}")
        there = None if values is None else door.read(path)
        if values is None or there is None:
            return Found(state=State.MAKE)
        different = differences(there, values)
        return Found(state=State.CHANGE, why="; ".join(different)) if different else EXISTS

    def act(door: Door) -> None:
        values = wanted(door)
        if values is None:
            raise VaultError(f"{what}: what it needs was not made")
        door.write(path, values)

    return Step(what=what, look=look, act=act)


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, in words; what we do not ask for may be as it likes."""
    return [
        f"{key}: {_short(there.get(key))} → {_short(value)}"
        for key, value in wanted.items()
        if _plain(there.get(key)) != _plain(value)
    ]


def _plain(value: Any) -> Any:
    """Vault answers an empty list as none, and keeps texts without the last line's end."""
    if isinstance(value, list | tuple):
        return sorted(map(str, value)) or None
    return value.strip() if isinstance(value, str) else value


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:40]}…"  # noqa: PLR2004 - a line of the plan
