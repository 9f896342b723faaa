"""How much one command may use up; apart, because the agent reads it and knows no policy."""

from typing import Annotated

import msgspec

Megabytes = Annotated[int, msgspec.Meta(ge=16, le=1024 * 1024)]


class CommandLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[limits]` of executor.toml: what one command may use up, wherever it runs."""

    memory_mb: Megabytes = 512  # with its children; over it the kernel kills them
    tasks: Annotated[int, msgspec.Meta(ge=4, le=32768)] = 128  # processes and threads
    cpu_percent: Annotated[int, msgspec.Meta(ge=5, le=100_000)] = 100  # 100 is one processor
    file_mb: Megabytes = 4096  # the largest file it may write
    open_files: Annotated[int, msgspec.Meta(ge=64, le=1_000_000)] = 1024  # of one process
