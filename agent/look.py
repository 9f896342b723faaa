"""`sentinel-agent check`: two looks at the host, and every measure that is over its limit."""

import time

from agent.history import History
from agent.measure import measures
from agent.probes import HostProbe
from agent.settings import AgentSettings

_APART_S = 1.0  # processor use is a difference of two looks


def look(settings: AgentSettings) -> tuple[list[str], bool]:
    """Lines for a person, and whether anything is over its limit."""
    probe, history = HostProbe(), History(window_s=settings.limits.leak_window_s)
    history.add(probe.read())
    time.sleep(_APART_S)
    readings = probe.read()
    history.add(readings)
    found = list(measures(readings, history, settings.limits))
    bad = [one for one in found if one.bad]
    seen = f"{len(readings.processes)} processes, {len(readings.mounts)} filesystems"
    lines = [f"{seen}, {len(found)} measures, {len(bad)} over their limits"]
    lines += [f"{one.condition.value}: {one.summary} (limit {one.limit:g})" for one in bad]
    return lines, bool(bad)
