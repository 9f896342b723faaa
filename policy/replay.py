"""Judge recorded commands under two policies, and list what changed: above all, what got looser."""

from collections.abc import Iterable, Iterator

import msgspec

from appliance.errors import SettingsError
from policy.evaluate import SecondReader, judge
from policy.facts import Facts
from policy.rules import Bundle
from policy.verdict import Ruling, Verdict


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was once proposed, and the facts it was judged on."""

    cmd: str
    facts: Facts = Facts()
    id: object = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A command whose verdict is another one under the new policy."""

    recorded: Recorded
    old: Verdict
    new: Verdict

    @property
    def looser(self) -> bool:
        """Whether more is possible than before."""
        return self.new.ruling < self.old.ruling


def replay(
    recorded: Iterable[Recorded], *, old: Bundle, new: Bundle, second: SecondReader
) -> Iterator[Change | None]:
    """For each command its change, or None when the verdict stayed; in order."""
    for one in recorded:
        before = judge(one.cmd, bundle=old, facts=one.facts, second=second)
        after = judge(one.cmd, bundle=new, facts=one.facts, second=second)
        same = before.ruling is after.ruling
        yield None if same else Change(recorded=one, old=before, new=after)


def decode(line: bytes, number: int) -> Recorded:
    """One line of a record; raises `SettingsError` that names the line."""
    try:
        return msgspec.json.decode(line, type=Recorded)
    except msgspec.DecodeError as error:
        raise SettingsError(f"record, line {number}: {error}") from error


def told(change: Change) -> str:
    """One line about a change."""
    arrow = f"{change.old.ruling.word} -> {change.new.ruling.word}"
    mark = "LOOSER " if change.looser else "tighter"
    reason = change.new.reasons[0] if change.new.ruling > Ruling.ALLOW else change.old.reasons[0]
    return f"{mark} {arrow:16} {change.recorded.cmd}\n        {reason.rule}: {reason.message}"
