"""Facts from the evidence of one finding: what a command of its plan may refer to.

Hub and node both call this, each with its own copy of the finding, so that a command is judged
on the same facts on both sides.
"""

from appliance.records import (
    DirectoryEvidence,
    FileEvidence,
    Finding,
    MountEvidence,
    ProcessEvidence,
    UnitEvidence,
)
from policy.facts import Facts, ProcessFact


def facts_of(finding: Finding) -> Facts:
    """Processes with their start times, units, mounts and paths that this finding names."""
    processes, units, mounts, paths = set(), set(), set(), set()
    for item in finding.evidence:
        match item:
            case ProcessEvidence():
                processes.add(
                    ProcessFact(
                        pid=item.pid, started_ticks=item.started_ticks, protected=item.protected
                    )
                )
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
        mounts=frozenset(mounts),
        paths=frozenset(paths),
    )
