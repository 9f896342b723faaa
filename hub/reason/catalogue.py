"""The catalogue of causes: strict records over `catalogue.toml`, the file people edit.

A cause says which conditions it explains, what kind of evidence it blames, which signs speak for
or against it, and which remedies fit. Thresholds and words are data; what a sign measures is a
function of that name in `hub/reason/measures.py`, and a hole in a command is filled, or refused,
in `hub/reason/remedy.py`. A catalogue with an unknown key, measure or hole does not load.
"""

import functools
import re
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

from appliance.errors import SettingsError
from appliance.records import Condition, Record
from appliance.settings import convert
from hub.reason.measures import MEASURES

HOLES = frozenset({"pid", "unit", "file", "directory", "mount"})
_HOLE = re.compile(r"\{([^{}]*)\}")

TargetKind = Literal["process", "mount", "directory", "file", "unit", "metric"]


class Sign(Record, frozen=True, kw_only=True):
    """One observation for (weight above 0) or against (below 0) a cause."""

    measure: str  # a name in MEASURES
    weight: Annotated[int, msgspec.Meta(ge=-100, le=100)]  # points when fully present
    full: Annotated[float, msgspec.Meta(gt=0)] = 1.0  # the measure's value that counts fully
    words: str = ""  # said to people when the sign is at least half present
    texts: tuple[str, ...] = ()  # for log measures: the words looked for, in lower case


class TemplateStep(Record, frozen=True, kw_only=True):
    """One command with typed holes, what it is for, and the command that undoes it, if any."""

    command: str
    purpose: str
    undo: str | None = None


class Template(Record, frozen=True, kw_only=True):
    """A remedy: steps that belong together, and what should be seen afterwards."""

    key: str
    title: str
    effect: str
    steps: tuple[TemplateStep, ...]
    within: tuple[str, ...] = ()  # roots that a file or directory must lie under


class Cause(Record, frozen=True, kw_only=True):
    """One cause, the conditions it explains and the evidence it blames."""

    key: str
    title: str
    conditions: tuple[Condition, ...]
    target: TargetKind
    base: Annotated[int, msgspec.Meta(ge=0, le=100)]  # points before any sign
    runbook: str  # what a person should know about this cause
    sign: tuple[Sign, ...] = ()
    remedy: tuple[Template, ...] = ()


class Catalogue(Record, frozen=True, kw_only=True):
    """All causes, and the units that no remedy restarts."""

    untouchable_units: tuple[str, ...]  # shell patterns
    cause: tuple[Cause, ...]


def load(text: str, *, name: str) -> Catalogue:
    """Read a catalogue strictly; raises `SettingsError` naming the key or the cause."""
    try:
        catalogue = convert(tomllib.loads(text), Catalogue, name=name)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}: not valid TOML: {error}") from error
    _no_repeats((cause.key for cause in catalogue.cause), where=name)
    for cause in catalogue.cause:
        _check(cause, where=f"{name}: cause {cause.key}")
    return catalogue


@functools.cache
def shipped() -> Catalogue:
    """The catalogue that comes with the product."""
    text = files("hub.reason").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return load(text, name="catalogue.toml")


def _check(cause: Cause, *, where: str) -> None:
    for sign in cause.sign:
        if sign.measure not in MEASURES:
            raise SettingsError(f"{where}: unknown measure {sign.measure!r}")
    _no_repeats((template.key for template in cause.remedy), where=where)
    for template in cause.remedy:
        for step in template.steps:
            unknown = set(_HOLE.findall(step.command + (step.undo or ""))) - HOLES
            if unknown:
                raise SettingsError(f"{where}: unknown hole {{{min(unknown)}}}")


def _no_repeats(keys: Iterable[str], *, where: str) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise SettingsError(f"{where}: {key!r} stands there twice")
        seen.add(key)
