"""The crash tool, compiled once for each worker process."""

from pathlib import Path

import pytest

from tests.crash.preload import build


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that is preloaded; see crashpoint.c."""
    return build(tmp_path_factory.mktemp("crashpoint"))
