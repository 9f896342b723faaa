"""The limits of the agent's settings: when a measure is bad. Table `[limits]` of agent.toml."""

from typing import Annotated

import msgspec

from appliance.settings import Settings

Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Megabytes = Annotated[int, msgspec.Meta(ge=1, le=1_048_576)]
Samples = Annotated[int, msgspec.Meta(ge=1, le=100)]


class Limits(Settings, frozen=True, kw_only=True):
    """When a measure is bad; it is good again only below the limit by `clear_margin_percent`."""

    host_memory_percent: Percent = 92.0  # memory that cannot be given to a new process
    process_memory_percent: Percent = 60.0  # of the host's memory, for one process
    process_memory_mb: dict[str, Megabytes] = msgspec.field(default_factory=dict)  # by name
    leak_window_s: Seconds = 120.0  # how long a process must have grown steadily
    leak_growth_mb: Megabytes = 64  # and by how much in that window, at least
    disk_percent: Percent = 90.0  # bytes, as df counts them; every filesystem
    inodes_percent: Percent = 90.0
    cpu_percent: Percent = 95.0  # of all processors together
    load_per_cpu: Annotated[float, msgspec.Meta(gt=0)] = 4.0  # load over 1 min, per processor
    clear_margin_percent: Annotated[float, msgspec.Meta(ge=0, lt=50)] = 3.0  # of the limit
    ignore_mounts: tuple[str, ...] = ()  # mount points that are full on purpose
    ignore_units: tuple[str, ...] = ()  # units whose failure is nobody's concern
