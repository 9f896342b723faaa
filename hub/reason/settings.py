"""Settings of `sentinel-hub reason`, read once from `reason.toml`."""

import os
from pathlib import Path
from typing import Annotated

import msgspec

from appliance.settings import Settings
from vault.access import VaultAccess

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Positive = Annotated[int, msgspec.Meta(gt=0)]


class ReasonSettings(Settings, frozen=True, kw_only=True):
    """What the reasoner reads at its start."""

    dsn: str  # PostgreSQL connection string, without a password
    password: str | None = None  # where its password is: `vault:PATH#FIELD` or `credential:NAME`
    secrets: VaultAccess | None = None  # the Vault that `vault:` is in
    model: Path | None = None  # a GGUF file; without one every plan is the catalogue's
    model_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None  # demanded
    context_tokens: Annotated[int, msgspec.Meta(ge=1024, le=131072)] = 4096  # prompt and answer
    answer_tokens: Annotated[int, msgspec.Meta(ge=64, le=2048)] = 256  # most of them for words
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0  # 0: all processors but one
    seed: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1  # 0 would mean "any" to the library
    load_s: Seconds = 300.0  # reading and checking a large model file takes minutes
    deadline_s: Seconds = 120.0  # for one answer; then the model's process is killed
    memory_limit_mb: Annotated[int, msgspec.Meta(ge=0)] = 0  # 0: three times the file, and 4 GiB
    lease_s: Seconds = 30.0  # an incident whose reasoner is silent so long is taken by another
    beat_s: Seconds = 5.0  # how often the reasoner says that it lives
    most_attempts: Positive = 2  # after so many, an incident is reasoned about without a model

    def usable_threads(self) -> int:
        """How many processors the model may use; one is left to everything else."""
        return self.threads or max(1, (os.cpu_count() or 1) - 1)

    def memory_limit_bytes(self) -> int:
        """The address space the model's process may have."""
        if self.memory_limit_mb:
            return self.memory_limit_mb * 1024 * 1024
        size = self.model.stat().st_size if self.model and self.model.is_file() else 0
        return 3 * size + 4 * 1024**3
