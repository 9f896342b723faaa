"""Whatever the model's process does, the incident gets a plan, and one line says what happened."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.records import Plan
from hub.reason.frames import Answer, Ask
from hub.reason.process import ModelProcess
from hub.reason.reasoner import reason
from hub.reason.settings import ReasonSettings
from tests.reason import world
from tests.reason.test_model import Endless

pytestmark = [pytest.mark.llm, pytest.mark.xdist_group("model")]


@pytest.fixture
def start(model_settings: ReasonSettings) -> Iterator[Callable[..., ModelProcess]]:
    """Makes model processes with changed settings, and ends them."""
    made: list[ModelProcess] = []

    def make(**changes: object) -> ModelProcess:
        made.append(ModelProcess(msgspec.structs.replace(model_settings, **changes)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def fell_back(plan: Plan, *, file: str, words: str) -> None:
    assert plan.origin == "catalogue"
    assert plan.model is None
    assert plan.model_error
    assert "\n" not in plan.model_error
    assert file in plan.model_error
    assert words in plan.model_error
    assert plan.culprit == "e1"
    assert [step.command for step in plan.steps] == ["kill -TERM 4711"]
    assert plan.confidence_percent < 95


def test_a_missing_file(start: Callable[..., ModelProcess], tmp_path: Path) -> None:
    model = start(model=tmp_path / "absent.gguf")
    fell_back(reason(world.LEAK, "i", model), file="absent.gguf", words="No such file")


def test_a_truncated_file(
    start: Callable[..., ModelProcess], tmp_path: Path, model_path: Path
) -> None:
    short = tmp_path / "short.gguf"
    with model_path.open("rb") as whole:
        short.write_bytes(whole.read(3_000_000))
    fell_back(reason(world.LEAK, "i", start(model=short)), file="short.gguf", words="cannot load")


def test_a_file_of_random_bytes(start: Callable[..., ModelProcess], tmp_path: Path) -> None:
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(random.Random(1).randbytes(100_000))
    fell_back(reason(world.LEAK, "i", start(model=noise)), file="noise.gguf", words="cannot load")


def test_a_header_that_aborts_the_library(
    start: Callable[..., ModelProcess], tmp_path: Path, model_path: Path
) -> None:
    bad = tmp_path / "abort.gguf"
    data = bytearray(model_path.read_bytes())
    at = data.index(b"llama.block_count") + len(b"llama.block_count") + 4
    data[at : at + 4] = (2**31).to_bytes(4, "little")
    bad.write_bytes(data)
    fell_back(reason(world.LEAK, "i", start(model=bad)), file="abort.gguf", words="")


def test_a_wrong_digest(start: Callable[..., ModelProcess], model_path: Path) -> None:
    model = start(model_sha256="0" * 64)
    fell_back(reason(world.LEAK, "i", model), file=model_path.name, words="SHA-256 is")


def test_too_little_memory(start: Callable[..., ModelProcess], model_path: Path) -> None:
    model = start(memory_limit_mb=300)
    fell_back(reason(world.LEAK, "i", model), file=model_path.name, words="")


def test_a_file_that_did_not_load_is_not_tried_again_until_it_changes(
    start: Callable[..., ModelProcess], tmp_path: Path, model_path: Path
) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    model = start(model=file)
    reason(world.LEAK, "i", model)
    spawned: list[int | None] = [model.pid]
    fell_back(reason(world.LEAK, "i", model), file="m.gguf", words="cannot load")
    assert spawned == [None]
    assert model.pid is None
    file.unlink()
    file.symlink_to(model_path)
    assert reason(world.LEAK, "i", model).origin == "model"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_in_the_middle_of_an_answer_costs_that_attempt_only(
    number: signal.Signals, start: Callable[..., ModelProcess], model_path: Path
) -> None:
    model = start()
    model.warm()
    asked: list[int] = []

    class Shot(Endless):
        """A model whose process is shot while it writes."""

        def ask(self, question: Ask, *, go_on: Callable[[], bool]) -> Answer:
            def shoot() -> bool:
                if model.pid:
                    os.kill(model.pid, number)
                return True

            asked.append(1)
            more = msgspec.structs.replace(question, grammar=LONG, most_tokens=2000)
            return model.ask(more, go_on=shoot)

    fell_back(reason(world.LEAK, "i", Shot(model)), file=model_path.name, words=number.name)
    assert asked == [1]  # a crash is not tried again with the same incident
    assert reason(world.LEAK, "i", model).origin == "model"  # the next incident has a model again


LONG = 'root ::= [a-z ]{500} [a-z ]{500} [a-z ]{500} "."\n'


def test_the_models_process_ends_with_its_parents_end_of_the_line(
    start: Callable[..., ModelProcess],
) -> None:
    model = start()
    model.warm()
    child = model._child
    assert child
    assert model._end
    model._end.close()
    assert child.wait(timeout=10) == 0
