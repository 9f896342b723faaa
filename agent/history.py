"""What detection remembers of past readings: a bounded row of samples for each process.

Rebuilt from nothing after a restart; what must survive one is in `agent.detect.Memory`.
"""

from agent.readings import ProcessKey, Readings
from agent.trend import Sample

_SAMPLES = 24  # in a leak window, whatever the cycle: enough for a trend, little to keep


class History:
    """Samples of every living process within the leak window, and the last processor times."""

    def __init__(self, *, window_s: float) -> None:
        self._window_s = window_s
        self._apart_s = window_s / _SAMPLES
        self._samples: dict[ProcessKey, list[Sample]] = {}
        self._cpu: dict[ProcessKey, float] = {}
        self._cpu_percent: dict[ProcessKey, float] = {}
        self._last: Readings | None = None
        self.cpu_busy_percent: float | None = None  # of all processors, since the last reading

    def add(self, readings: Readings) -> None:
        """Take in one reading; processes that are gone are forgotten."""
        last, now = self._last, readings.uptime_s
        elapsed = now - last.uptime_s if last else 0.0
        samples, cpu, percent = {}, {}, {}
        for process in readings.processes:
            key = process.key
            row = self._samples.get(key, [])
            if not row or now - row[-1][0] >= self._apart_s * 0.99:
                row.append((now, process.rss_bytes))
                while now - row[0][0] > self._window_s * 1.05:
                    del row[0]
            samples[key], cpu[key] = row, process.cpu_s
            used = process.cpu_s - self._cpu.get(key, process.cpu_s)
            percent[key] = 100.0 * used / elapsed if elapsed > 0 else 0.0
        self._samples, self._cpu, self._cpu_percent = samples, cpu, percent
        self.cpu_busy_percent = _busy(last, readings)
        self._last = readings

    def samples(self, key: ProcessKey) -> list[Sample]:
        """A process's memory samples, oldest first."""
        return self._samples.get(key, [])

    def cpu_percent(self, key: ProcessKey) -> float:
        """What a process used of one processor since the reading before."""
        return self._cpu_percent.get(key, 0.0)


def _busy(last: Readings | None, now: Readings) -> float | None:
    total = now.cpu_total_s - last.cpu_total_s if last else 0.0
    if last is None or total <= 0:
        return None
    return max(0.0, min(100.0, 100.0 * (now.cpu_busy_s - last.cpu_busy_s) / total))
