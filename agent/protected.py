"""Why a process must not be signalled, or None.

The agent marks its evidence with this, and the executor asks again about the living process, so
that a forged finding cannot unprotect anything. Names are those the kernel keeps (15 characters).
"""

import os
import re
from collections.abc import Sequence

_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (why, re.compile(pattern))
    for why, pattern in (
        ("part of systemd", r"systemd.*|\(sd-pam\)"),
        ("message bus", r"dbus-(daemon|broker).*"),
        ("remote sign-in", r"sshd.*|dropbear"),
        ("sign-in", r"login|agetty|getty|sddm|gdm.*|polkitd|sssd.*|accounts-daemon|su|sudo"),
        ("database", r"postgres.*|postmaster|mysqld|mariadbd?|mongod|redis-server|oracle|db2sysc"),
        ("secret store", r"vault|bao|openbao"),
        ("audit trail", r"auditd|rsyslogd|syslog-ng|journald"),
        ("network", r"NetworkManager|wpa_supplicant|dhclient|dhcpcd|chronyd|ntpd|firewalld"),
        ("storage", r"multipathd|lvmetad|dmeventd|iscsid|ceph-(mon|osd|mds).*|glusterd|zed"),
        ("cluster", r"corosync|pacemakerd?|keepalived|etcd|kubelet|k3s.*|containerd|dockerd|crio"),
        ("virtual machine", r"qemu-.*|libvirtd|virtqemud"),
        ("container's init", r"tini|dumb-init|catatonit"),
    )
)
# Our own daemons by their command line: as programs, and as modules of an interpreter.
_OURS = re.compile(
    r"(?:\A|/)sentinel-(?:agent|executor|hub|notary|console|reasoner|postgres)(?:\s|\Z)"
    r"|\s-m\s(?:agent|agent\.execut\w+|hub)(?:\s|\Z)"
)


def why(
    *, pid: int, name: str, command: Sequence[str], ours: frozenset[int] = frozenset()
) -> str | None:
    """Why this process must live; `ours` are the pids of agent and executor."""
    if pid == 1:
        return "init"
    if pid in ours or pid == os.getpid() or _OURS.search(" ".join(command)):
        return "Sentinel itself"
    if not command:
        return "kernel thread"
    program = command[0].rsplit("/", 1)[-1].removesuffix(":")
    for reason, pattern in _NAMES:
        # The kernel's name can be changed by the process, its first word as well: either is enough.
        if pattern.fullmatch(name) or pattern.fullmatch(program):
            return reason
    return None
