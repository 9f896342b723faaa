"""Facts from the evidence of one finding: what a command of its plan may refer to.

Hub and node both call this, each with its own copy of the finding, so that a command is judged
on the same facts on both sides.
"""

import re

from appliance.records import (
    DirectoryEvidence,
    FileEvidence,
    Finding,
    MountEvidence,
    ProcessEvidence,
    UnitEvidence,
)
from policy.facts import Facts, ProcessFact

SHORT_ID = 12  # what docker and podman show of a container's 64 hexadecimal digits
# The scope of a container under the systemd cgroup driver of docker, podman, CRI-O, containerd.
_CONTAINER = re.compile(r"(?:docker|libpod|crio|cri-containerd)-([0-9a-f]{64})\.scope\Z")


def facts_of(finding: Finding, *, change_window_open: bool = False) -> Facts:
    """Processes with their start times, units, mounts, paths that this finding names; the role."""
    processes, units, containers, mounts, paths = set(), set(), set(), set(), set()
    for item in finding.evidence:
        match item:
            case ProcessEvidence():
                processes.add(
                    ProcessFact(
                        pid=item.pid, started_ticks=item.started_ticks, protected=item.protected
                    )
                )
                if found := _CONTAINER.match(item.unit or ""):
                    containers |= {found[1], found[1][:SHORT_ID]}
            case UnitEvidence():
                units.add(item.unit)
            case MountEvidence():
                mounts.add(item.mount)
            case DirectoryEvidence() | FileEvidence():
                paths.add(item.path)
            case _:
                pass
    return Facts(
        processes=frozenset(processes),
        units=frozenset(units),
        containers=frozenset(containers),
        mounts=frozenset(mounts),
        paths=frozenset(paths),
        role=finding.role or "",
        change_window_open=change_window_open,
    )
