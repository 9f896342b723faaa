"""Fill a remedy's holes from typed evidence, or say why that remedy is not for this target.

A command is only ever a template of the catalogue with values from the evidence in its holes. A
protected process, a unit of the machine's own foundation, a path outside the remedy's roots or a
value that cannot be written plainly leaves the remedy out; nothing is repaired or guessed.
"""

import fnmatch
import re
from collections.abc import Sequence

from appliance.records import (
    DirectoryEvidence,
    Evidence,
    FileEvidence,
    MountEvidence,
    ProcessEvidence,
    Record,
    Step,
    UnitEvidence,
)
from hub.reason.catalogue import Template
from hub.reason.measures import is_under

MAX_PATH = 1024  # PATH_MAX is 4096; a longer path than this is not one a person reads
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@-]{0,200}\.(service|socket|timer|mount|path)\Z")
_BARE = re.compile(r"/[A-Za-z0-9_./@%+,:-]*\Z")  # no shell gives these a meaning
_QUOTABLE = re.compile(r"/[ -&(-~]*\Z")  # printable ASCII without the single quote
_HOLE = re.compile(r"\{([a-z]+)\}")


class Remedy(Record, frozen=True, kw_only=True):
    """Steps that are ready to be judged."""

    key: str
    title: str
    effect: str
    steps: tuple[Step, ...]

    @property
    def only_reads(self) -> bool:
        """Whether it changes nothing; the catalogue calls such a remedy `look`."""
        return self.key == "look"


class UnfitError(ValueError):
    """This remedy is not for this target; the text says why."""


class Ground(Record, frozen=True, kw_only=True):
    """What is known beside the target itself."""

    untouchable: tuple[str, ...]  # patterns of units that no remedy restarts
    units: frozenset[str]  # units in evidence; the policy lets no other be restarted


def fit(
    templates: Sequence[Template], target: Evidence, ground: Ground
) -> tuple[tuple[Remedy, ...], tuple[str, ...]]:
    """The remedies that fit the target, and a note for each reason why others do not."""
    remedies: list[Remedy] = []
    notes: list[str] = []
    for template in templates:
        try:
            remedies.append(_filled(template, target, ground))
        except UnfitError as error:
            if str(error) not in notes and str(error):
                notes.append(str(error))
    return tuple(remedies), tuple(notes)


def _filled(template: Template, target: Evidence, ground: Ground) -> Remedy:
    if template.within and not is_under(_path(target), template.within):
        raise UnfitError("")  # not a place to remove from: nothing a person need be told

    def fill(text: str) -> str:
        return _HOLE.sub(lambda hole: _value(hole[1], target, template, ground), text)

    return Remedy(
        key=template.key,
        title=template.title,
        effect=template.effect,
        steps=tuple(
            Step(
                command=fill(step.command),
                purpose=step.purpose,
                undo=None if step.undo is None else fill(step.undo),
            )
            for step in template.steps
        ),
    )


def _value(hole: str, target: Evidence, template: Template, ground: Ground) -> str:
    if isinstance(target, ProcessEvidence) and target.protected is not None:
        raise UnfitError(f"protected, so no command: {target.protected}")
    match hole, target:
        case "pid", ProcessEvidence():
            return str(target.pid)
        case "unit", ProcessEvidence():
            if (
                target.unit is None
                or target.unit not in ground.units
                or not target.unit.endswith(".service")
            ):
                raise UnfitError("")  # no service of the evidence; ending it is another remedy
            return _unit(target.unit, ground.untouchable)
        case "unit", UnitEvidence():
            return _unit(target.unit, () if template.key == "look" else ground.untouchable)
        case "file", FileEvidence():
            return _plain(target.path)
        case "directory", DirectoryEvidence():
            return _plain(target.path)
        case "mount", MountEvidence():
            return _plain(target.mount)
        case _:
            raise UnfitError(f"the evidence has no {hole}")


def _unit(unit: str, untouchable: Sequence[str]) -> str:
    if not _UNIT.match(unit):
        raise UnfitError("the unit's name cannot be written plainly, so no command names it")
    if any(fnmatch.fnmatchcase(unit, pattern) for pattern in untouchable):
        raise UnfitError(f"{unit} carries the machine itself, so no command restarts it")
    return unit


def _plain(path: str) -> str:
    if len(path) > MAX_PATH or ".." in path.split("/") or "//" in path:
        raise UnfitError("the path cannot be written plainly, so no command names it")
    if _BARE.match(path):
        return path
    if _QUOTABLE.match(path):
        return f"'{path}'"
    raise UnfitError("the path cannot be written plainly, so no command names it")


def _path(target: Evidence) -> str:
    return target.path if isinstance(target, DirectoryEvidence | FileEvidence) else ""
