"""A small line chart of a measured value and its limit, as numbers for an SVG template."""

from dataclasses import dataclass

from appliance.records import MetricEvidence

WIDTH, HEIGHT = 640, 120
_MARGIN = 8  # so that the line's own width is not cut off at the edges


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Where the lines go, in the units of the view box."""

    metric: MetricEvidence
    points: str  # of a polyline
    limit_y: float
    last_x: float
    last_y: float
    low: float  # the values at the lower and upper edge
    high: float


def chart_of(metric: MetricEvidence) -> Chart:
    """The chart of one measured value; the limit is always inside the picture."""
    samples = metric.samples or (metric.value,)
    low, high = min(*samples, metric.limit), max(*samples, metric.limit)
    span = high - low or 1.0
    high, low = high + span * 0.08, (0.0 if 0 <= low < span else low - span * 0.08)

    def y(value: float) -> float:
        inner = HEIGHT - 2 * _MARGIN
        return round(_MARGIN + inner * (1 - (value - low) / (high - low)), 1)

    step = (WIDTH - 2 * _MARGIN) / max(1, len(samples) - 1)
    spots = [(round(_MARGIN + step * index, 1), y(value)) for index, value in enumerate(samples)]
    return Chart(
        metric=metric,
        points=" ".join(f"{x},{at}" for x, at in spots),
        limit_y=y(metric.limit),
        last_x=spots[-1][0],
        last_y=spots[-1][1],
        low=low,
        high=high,
    )
