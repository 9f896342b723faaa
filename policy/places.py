"""Paths and units that no rule can reach: secrets, records, what keeps the host alive; and hosts.

The lists are data (`[places]` in a rule file); this module normalises a name and looks it up.
Links are not followed here; the executor resolves the real path and asks again.
"""

import fnmatch
import ipaddress
import posixpath
import re

import msgspec

# systemd.unit(5), the types of unit.
_UNIT_SUFFIXES = (
    *(".service", ".timer", ".socket", ".mount", ".automount", ".path"),
    *(".slice", ".scope", ".target", ".swap", ".device"),
)


class Places(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Patterns for what stays out of reach; `*` stays in one component, `**` does not."""

    secret: tuple[str, ...] = ()  # never read, never changed, with everything below
    devices: tuple[str, ...] = ()  # may be looked at, not opened: reading can block or disturb
    mixed: tuple[str, ...] = ()  # opened only by programs that show none of the keys in it
    precious: tuple[str, ...] = ()  # may be read; never deleted or emptied
    units: tuple[str, ...] = ()  # never started, stopped or restarted
    hosts: tuple[str, ...] = ()  # may be asked over the network: names, `*.site.test`, 10.0.0.0/8

    def joined(self, other: "Places") -> "Places":
        """Both together; a second file can only add."""
        return Places(
            secret=self.secret + other.secret,
            devices=self.devices + other.devices,
            mixed=self.mixed + other.mixed,
            precious=self.precious + other.precious,
            units=self.units + other.units,
            hosts=self.hosts + other.hosts,
        )


def normal_path(path: str) -> str:
    """The path without `//`, `.` and `..`; it must be absolute."""
    return posixpath.normpath("/" + path.lstrip("/"))


def normal_unit(name: str) -> str:
    """The unit with its suffix, as systemctl completes it."""
    return name if name.endswith(_UNIT_SUFFIXES) else name + ".service"


def is_below(path: str, root: str) -> bool:
    """Whether a normal path is strictly below a root."""
    return path != root and path.startswith(root.rstrip("/") + "/")


class Matcher:
    """One compiled list of path patterns."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        anywhere = [pattern[4:] for pattern in patterns if pattern.startswith("/**/")]
        fixed = [pattern for pattern in patterns if not pattern.startswith("/**/")]
        # A path is asked about on every judgement. `/**/*.key` is the text `.key/` somewhere in
        # the path and its slash, which is found ten times as fast as by an expression.
        self._texts = tuple(_text(pattern) for pattern in anywhere)
        self._below = {top: _any_of(group) for top, group in _by_top(fixed).items()}
        # A `**` place could be below anything: rules for trees name kinds of files instead.
        self._stems = tuple(pattern.split("*")[0] for pattern in fixed)

    def covers(self, path: str) -> bool:
        """Whether the path is one of the places or lies inside one."""
        below = self._below.get(path[1:].partition("/")[0])
        if below and below.match(path):
            return True
        slashed = path.lower() + "/"  # `Passwords.txt`, `DB_PASSWORD`
        return any(text in slashed for text in self._texts)

    def has_below(self, path: str) -> bool:
        """Whether one of the places could lie below the path."""
        stem = path.rstrip("/") + "/"
        return any(place.startswith(stem) or stem.startswith(place) for place in self._stems)


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` unless the pattern is one that `Matcher` understands."""
    name = pattern.removeprefix("/**")
    if not name.startswith("/") or "**" in name or normal_path(name) != name:
        raise ValueError(f"{pattern!r}: write a normal absolute path, or /**/ and one name")
    if name == pattern and "*" in name.split("/")[1]:
        raise ValueError(f"{pattern!r}: the first folder is written out")
    if name != pattern and ("/" in name[1:] or "*" in name[1:].strip("*") or not name.strip("/*")):
        raise ValueError(f"{pattern!r}: after /**/ comes one name, with * only at its ends")


def _text(name: str) -> str:
    """What stands in a path with a final slash exactly when one of its names fits."""
    core = name.strip("*").lower()
    return f"{'' if name[0] == '*' else '/'}{core}{'' if name[-1] == '*' else '/'}"


def _by_top(patterns: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for pattern in patterns:
        groups.setdefault(pattern.split("/")[1], []).append(pattern)
    return groups


def _any_of(patterns: list[str]) -> re.Pattern[str]:
    bodies = [re.escape(pattern).replace(r"\*", "[^/]*") for pattern in patterns]
    return re.compile("(?:" + "|".join(bodies) + r")(?=/|\Z)")


def _name(pattern: str) -> str:
    """A host name; a leading `*.` stands for one label, and nothing else is special."""
    label = r"[a-z0-9_](?:[a-z0-9_-]{0,30}[a-z0-9])?\."  # short: a name is no way to carry data out
    stem, star = pattern.removeprefix("*."), pattern.startswith("*.")
    return f"(?:{label if star else ''}{re.escape(stem.lower())}\\Z)"


class Guard:
    """The compiled places of a bundle."""

    def __init__(self, places: Places) -> None:
        self.secret = Matcher(places.secret)
        self.devices = Matcher(places.devices)
        self.mixed = Matcher(places.mixed)
        self.precious = Matcher(places.precious)
        networks = [host for host in places.hosts if "/" in host]
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._names = re.compile("|".join(_name(host) for host in places.hosts) or r"(?!)")
        self._units = re.compile(
            "|".join(fnmatch.translate(unit) for unit in places.units) or r"(?!)"
        )

    def may_ask(self, host: str) -> bool:
        """Whether a name or an address may be asked over the network."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return self._names.match(host.lower()) is not None
        return any(address in network for network in self._networks)

    def keeps_unit(self, name: str) -> bool:
        """Whether the unit (with suffix) must not be acted upon."""
        return self._units.match(name) is not None
