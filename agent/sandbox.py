"""What one command may reach: the words of its rule turned into what systemd or the kernel grants.

A command starts with nothing but the right to read. Each word of `needs` opens one thing; what the
words mean is decided here and nowhere else, so that a unit (`agent/units.py`) and a confined
process (`agent/confine.py`) grant the same. Nothing is run here.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from policy.needs import WRITE

# capabilities(7), by number, as far as any command is granted one.
CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
    "CAP_AUDIT_CONTROL": 30,
    "CAP_SYSLOG": 34,
    "CAP_AUDIT_READ": 37,
}

_READS = ("CAP_DAC_READ_SEARCH",)  # root's own right to read; without it nothing could be diagnosed
_WRITES = ("CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID")
_BY_NEED: dict[str, tuple[str, ...]] = {
    "processes": ("CAP_SYS_PTRACE", "CAP_SYS_RESOURCE"),  # prlimit asks for the second
    "devices": ("CAP_SYS_RAWIO", "CAP_SYS_ADMIN"),  # SMART, NVMe and SCSI queries are ioctls
    "kernel": ("CAP_SYSLOG", "CAP_AUDIT_CONTROL", "CAP_AUDIT_READ"),
    "services": ("CAP_DAC_OVERRIDE",),  # a socket that only its service's group may use
    "interfaces": ("CAP_NET_ADMIN", "CAP_NET_RAW"),
    "network": ("CAP_NET_RAW", "CAP_NET_BIND_SERVICE"),
    "signals": ("CAP_KILL", "CAP_SYS_NICE"),
    "remount": ("CAP_SYS_ADMIN",),
    "owners": ("CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID", "CAP_SETUID", "CAP_SETGID"),
}
_FAMILIES: dict[str, tuple[str, ...]] = {
    "names": ("AF_UNIX",),
    "services": ("AF_UNIX",),
    "interfaces": ("AF_UNIX", "AF_INET", "AF_INET6", "AF_PACKET"),
    "network": ("AF_UNIX", "AF_INET", "AF_INET6", "AF_PACKET"),
}
_NOT_PRIVATE = ("/tmp", "/var/tmp", "/home", "/root", "/run/user", "/dev")  # noqa: S108 - names


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What one command is granted."""

    needs: frozenset[str] = frozenset()
    writes: tuple[str, ...] = ()  # absolute; what is not there is not granted
    capabilities: tuple[str, ...] = field(default=_READS)
    families: tuple[str, ...] = ("AF_NETLINK",)  # kinds of socket; netlink without power only asks

    @property
    def whole_host(self) -> bool:
        """No sandbox at all, only limits."""
        return "whole-host" in self.needs

    @property
    def own_mounts(self) -> bool:
        """Whether it may have a view of the file system that is not the host's own."""
        return self.needs.isdisjoint(("mounts", "remount", "whole-host"))

    @property
    def private(self) -> bool:
        """Whether /tmp is its own and homes are empty."""
        return "tree" not in self.needs

    @property
    def bus(self) -> bool:
        """Whether it may ask services to act: who speaks to systemd as root may do anything."""
        return "services" in self.needs

    @property
    def network(self) -> bool:
        """Whether packets may leave."""
        return "network" in self.needs

    @property
    def signals(self) -> bool:
        """Whether it may signal a process that is not its own child."""
        return not self.needs.isdisjoint(("signals", "services", "whole-host"))


def sandbox(needs: Collection[str], writes: Collection[str]) -> Sandbox:
    """What a command with these needs is granted; an unknown word grants nothing."""
    words = {word for word in needs if not word.startswith(WRITE)}
    if any(_lies_in(path, place) for path in writes for place in _NOT_PRIVATE):
        words.add("tree")  # it is to write the host's own /tmp
    capabilities = {*_READS, *(_WRITES if writes else ())}
    families = {"AF_NETLINK"}
    for word in words:
        capabilities.update(_BY_NEED.get(word, ()))
        families.update(_FAMILIES.get(word, ()))
    one = Sandbox(needs=frozenset(words))
    if not one.own_mounts and words.isdisjoint(("services", "interfaces", "network")):
        families.discard("AF_UNIX")  # the bus cannot be hidden from it
    return Sandbox(
        needs=one.needs,
        writes=tuple(sorted(writes)),
        capabilities=tuple(sorted(capabilities, key=CAPABILITIES.__getitem__)),
        families=tuple(sorted(families)),
    )


def _lies_in(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/") or place.startswith(f"{path}/")
