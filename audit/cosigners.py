"""Who else saw a checkpoint: the cosignatures in a note, verified where the key is known."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from audit.checkpoint import parse_text
from audit.cosignature import claimed_by, cosigned_by
from audit.note import split_note
from audit.trust import NONE, Policy

MAX_SHOWN_TIME = 253_402_300_799  # the year 9999: what is later is shown as a number


class Cosigner(msgspec.Struct, frozen=True, kw_only=True):
    """One line of one note."""

    name: str
    at: str
    verified: bool  # False: no key of that name was given


class Witnessed(msgspec.Struct, frozen=True, kw_only=True):
    """The cosignatures of one checkpoint."""

    size: int
    by: tuple[Cosigner, ...]
    enough: bool  # for the policy's quorum, where there is one

    def __str__(self) -> str:
        names = ", ".join(
            f"{one.name} ({one.at}{'' if one.verified else ', not checked: no key given'})"
            for one in self.by
        )
        return f"{self.size} entries, by {names}"


def cosigners(note: str, policy: Policy | None) -> Witnessed:
    """Who cosigned this note. Raises `NoteError` for a line that a known witness did not make."""
    known = cosigned_by(note, policy.witnesses.values() if policy else ())
    verified = [Cosigner(name=one.witness.name, at=_when(one.at), verified=True) for one in known]
    names = {one.name for one in verified}
    claimed = [
        Cosigner(name=name, at=_when(at), verified=False)
        for name, at in claimed_by(note)
        if name not in names
    ]
    return Witnessed(
        size=parse_text(split_note(note)[0]).size,
        by=(*verified, *claimed),
        enough=policy is None or policy.is_enough(one.witness.key for one in known),
    )


def is_enough(found: Sequence[Witnessed], policy: Policy | None) -> bool | None:
    """Whether a quorum saw one of these checkpoints; None when nobody asks for one."""
    if policy is None or policy.quorum == NONE:
        return None
    return any(one.enough for one in found)


def _when(at: int) -> str:
    if at > MAX_SHOWN_TIME:
        return f"time {at}"
    return f"{datetime.fromtimestamp(at, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"
