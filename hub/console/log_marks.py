"""What a mark can say of an entry, and what one look at the log found; how is `log_check`'s."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from audit.checkpoint import Checkpoint
from hub.console.words import Badge

VERIFIED = Badge("verified", "✔", "good")
UNSIGNED = Badge("not signed yet", "…", "warn")
ALTERED = Badge("NOT VERIFIED", "✖", "bad")
INDEX_LIES = Badge("verified, but not as indexed", "✖", "bad")
UNCHECKED = Badge("not checked", "?", "warn")

NO_FOLDER = (
    "This console was not given the log's files (`log` in console.toml), so it cannot check"
    " anything. What it shows is the database's word."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One entry as the page shows it."""

    seq: int
    mark: Badge
    why: str  # a sentence, beside the mark
    line: bytes  # what is shown: the file's line, or the index's where there is none
    entry: Mapping[str, Any]
    proof: str = ""  # C2SP tlog-proof, verified; only with a mark that says so


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The log at one look: what is signed, by whom, and what is wrong with it."""

    checkpoint: Checkpoint | None = None  # verified
    note: str = ""
    keys: tuple[str, ...] = ()  # those of the log's keys that signed it
    key_from: str = ""  # where the key to trust came from
    troubles: tuple[str, ...] = ()  # in red, above everything
    other_note: str = ""  # of the index, where it tells another history
    why_not: str = NO_FOLDER  # when nothing can be verified
    given: bool = False  # whether there are files to look at


def readable(line: bytes) -> Mapping[str, Any]:
    """The fields of a line, whatever they are; empty when it is no JSON object."""
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
