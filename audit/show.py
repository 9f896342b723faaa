"""Entries for people: which ones, and one line each."""

import msgspec

from audit.entry import Entry

WIDTH = 100  # characters of one value that a wide terminal has room for


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What to show; None is everything."""

    incident: str | None = None
    type: str | None = None  # with a dot at its end, all that begin so
    actor: str | None = None  # its id
    since_seq: int = 0

    def fits(self, entry: Entry) -> bool:
        """Whether the entry is wanted."""
        return (
            entry.seq >= self.since_seq
            and self.incident in {None, entry.incident}
            and self.actor in {None, entry.actor.id}
            and (self.type in {None, entry.type} or self._begins(entry.type))
        )

    def _begins(self, type_: str) -> bool:
        return self.type is not None and self.type.endswith(".") and type_.startswith(self.type)


def sentence(entry: Entry) -> str:
    """The entry on one line."""
    who = f"{entry.actor.kind} {entry.actor.id}"
    incident = f" incident {entry.incident}#{entry.inc_seq}" if entry.incident else ""
    outcome = f" [{entry.outcome}]" if entry.outcome else ""
    body = " ".join(f"{key}={_short(value)}" for key, value in entry.body.items())
    line = f"{entry.seq:>8}  {entry.ts}  {entry.type:<16} {who}{incident}{outcome}  {body}"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def _short(value: object) -> str:
    """Cut to fit; `sentence` takes out control characters: a terminal must not obey a log."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
