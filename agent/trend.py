"""Does a series of memory samples grow steadily, or did it only jump, or breathe?

A leak is told from a start-up burst and from a cache that fills and empties by four plain
conditions, each of which must hold; the reason beside each says what it rules out.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

Sample = tuple[float, int]
"""Seconds after boot, bytes."""

_LEAST_SAMPLES = 5  # fewer say nothing about steadiness
_MOST_FALLEN = 0.25  # a garbage collector may give a little back, not a quarter of the growth
_LEAST_LATE = 0.25  # the second half must carry its share: a burst that levels off is no leak
_LEAST_COVERED = 0.9  # of the window, else it has not lasted


def steady_growth(samples: Sequence[Sample], *, window_s: float, least_bytes: int) -> bool:
    """Whether the samples of the last window show steady growth of at least so much."""
    if len(samples) < _LEAST_SAMPLES or samples[-1][0] - samples[0][0] < window_s * _LEAST_COVERED:
        return False
    growth = samples[-1][1] - samples[0][1]
    if growth < least_bytes:
        return False
    fallen = sum(max(0, before[1] - after[1]) for before, after in pairwise(samples))
    if fallen > growth * _MOST_FALLEN:
        return False
    middle = samples[len(samples) // 2][1]
    if samples[-1][1] - middle < growth * _LEAST_LATE:
        return False
    # One jump of any height moves the mean, but not the median of the steps.
    return median(after[1] - before[1] for before, after in pairwise(samples)) > 0


def slope(samples: Sequence[Sample]) -> float:
    """Bytes per second between the first and the last sample."""
    if len(samples) < 2:  # noqa: PLR2004 - a slope needs two points
        return 0.0
    duration = samples[-1][0] - samples[0][0]
    return (samples[-1][1] - samples[0][1]) / duration if duration > 0 else 0.0
