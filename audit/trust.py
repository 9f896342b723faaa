"""Whom a verifier trusts, from a policy file: the log's keys, witnesses, and how many are enough.

    # comment
    log VKEY [URL]
    root VKEY            instead of `log`: the key that certifies the log's epochs
    second VKEY [FROM]   a key that must sign beside the log's, from this size on
    witness NAME VKEY [URL]
    group NAME all|any|K MEMBER…
    quorum NAME|none

The form of C2SP tlog-policy. Names mean something only within the file, and must be there before
they are used; a file without a `quorum` line demands none. Source: c2sp.org/tlog-policy.
"""

import re
from collections.abc import Iterable

import msgspec

from audit.cosignature import WitnessKey, parse_witness
from audit.counting import Second
from audit.epochs import ROOT_SUFFIX
from audit.errors import TrustError, VkeyError
from audit.note import Vkey, parse_vkey

NONE = "none"
_SIZE = re.compile("[0-9]{1,16}")
_GROUP_WORDS = 3  # name, threshold, one member


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of one log, several after a rotation; and what its checkpoints need besides."""

    logs: tuple[Vkey, ...]
    witnesses: dict[str, WitnessKey]  # by their names in the file
    groups: dict[str, tuple[int, tuple[str, ...]]]  # how many of which members
    quorum: str  # a witness, a group, or "none"
    root: Vkey | None = None  # certifies the log's keys, of which none is named then
    seconds: tuple[Second, ...] = ()

    def is_enough(self, keys: Iterable[bytes]) -> bool:
        """Whether the holders of these public keys are a quorum."""
        return self.quorum == NONE or self._saw(self.quorum, frozenset(keys))

    def _saw(self, name: str, keys: frozenset[bytes]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name].key in keys
        most, members = self.groups[name]
        return sum(self._saw(member, keys) for member in members) >= most


def parse_policy(text: str) -> Policy:
    """The policy of a file. Raises `TrustError` with the line that is wrong."""
    reading = _Reading()
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if words and not words[0].startswith("#"):
            try:
                reading.take(*words)
            except (TrustError, VkeyError) as error:
                raise TrustError(f"line {number}: {error}") from error
    return reading.policy()


class _Reading:
    """A policy file as far as it was read."""

    def __init__(self) -> None:
        self._logs: list[Vkey] = []
        self._roots: list[Vkey] = []
        self._seconds: list[Second] = []
        self._witnesses: dict[str, WitnessKey] = {}
        self._groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._used: set[str] = set()
        self._quorum: str | None = None

    def take(self, keyword: str, *words: str) -> None:
        match keyword, words:
            case "log", (vkey,) | (vkey, _):
                self._logs.append(parse_vkey(vkey))
            case "root", (vkey,):
                self._roots.append(parse_vkey(vkey))
            case "second", (vkey,):
                self._seconds.append(Second(vkey=parse_vkey(vkey)))
            case "second", (vkey, size) if _SIZE.fullmatch(size):
                self._seconds.append(Second(vkey=parse_vkey(vkey), from_size=int(size)))
            case "witness", (name, vkey) | (name, vkey, _):
                self._new(name)
                self._witnesses[name] = parse_witness(vkey)
            case "group", (name, threshold, *members) if len(words) >= _GROUP_WORDS:
                self._new(name)
                self._group(name, threshold, members)
            case "quorum", (name,) if self._quorum is None:
                if name != NONE:
                    self._demand_known(name)
                self._quorum = name
            case _:
                raise TrustError(f"{keyword!r} cannot be read here")

    def policy(self) -> Policy:
        if len(self._roots) > 1 or (self._roots and self._logs):
            raise TrustError("expected `log` lines or one `root` line, not both")
        if not self._logs and not self._roots:
            raise TrustError("no `log` line: whose log is it?")
        if len({vkey.name for vkey in self._logs}) > 1:
            raise TrustError("keys of more than one log")
        log = (*self._logs, *self._roots)[0].name
        names = [one.vkey.name for one in self._seconds]
        if any(log in (name, name + ROOT_SUFFIX) for name in names):
            raise TrustError("a second key needs a name of its own, or it would count as the log's")
        keys = [one.key for one in (*self._logs, *self._roots)]
        keys += [one.vkey.key for one in self._seconds]
        keys += [one.key for one in self._witnesses.values()]
        if len(set(keys)) < len(keys):
            raise TrustError("one key stands in two lines")
        return Policy(
            logs=tuple(self._logs),
            witnesses=self._witnesses,
            groups=self._groups,
            quorum=self._quorum or NONE,
            root=self._roots[0] if self._roots else None,
            seconds=tuple(self._seconds),
        )

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            self._demand_known(member)
            if member in self._used:
                raise TrustError(f"{member} is a member twice")
            self._used.add(member)
        most = {"any": 1, "all": len(members)}.get(threshold)
        if most is None:
            plain = threshold.isascii() and threshold.isdigit() and threshold[0] != "0"
            most = int(threshold) if plain and len(threshold) < 4 else 0  # noqa: PLR2004 - digits
        if not 1 <= most <= len(members):
            raise TrustError(f"{threshold} of {len(members)} is no threshold")
        self._groups[name] = (most, tuple(members))

    def _new(self, name: str) -> None:
        if name == NONE or name in self._witnesses or name in self._groups:
            raise TrustError(f"the name {name} is taken")

    def _demand_known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise TrustError(f"nothing above is called {name}")
