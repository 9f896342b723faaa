"""The demo model under the grammar: it chooses among the evidence, and can do nothing else."""

import msgspec
import pytest

from appliance.records import Finding, Plan, ProcessEvidence
from hub.reason import grammar, offer, prompt
from hub.reason.diagnose import diagnose
from hub.reason.errors import CancelledError, ModelError
from hub.reason.frames import Ask
from hub.reason.process import ModelProcess
from hub.reason.reasoner import reason
from hub.reason.settings import ReasonSettings
from tests.reason import hostile, world

pytestmark = [pytest.mark.llm, pytest.mark.xdist_group("model")]


def question(finding: Finding, **changes: object) -> Ask:
    diagnosis = diagnose(finding)
    choices = offer.offer(finding, diagnosis)
    values = {
        "prompt": prompt.build(finding, diagnosis, choices),
        "grammar": grammar.build(choices).text,
        "most_tokens": 256,
        "seed": 1,
    }
    return msgspec.convert({**values, **changes}, Ask, from_attributes=True)


def always() -> bool:
    return True


def without_measures(plan: Plan) -> Plan:
    run = plan.model
    assert run is not None
    return msgspec.structs.replace(
        plan, plan_id="", model=msgspec.structs.replace(run, prompt_ms=0, output_ms=0)
    )


@pytest.mark.parametrize("case", world.CASES[::3], ids=lambda case: case.name)
def test_the_model_makes_a_plan_whose_targets_are_all_in_evidence(
    case: world.Case, model: ModelProcess
) -> None:
    plan = reason(case.finding, "i", model)
    assert plan.origin == "model", plan.model_error
    offered = {
        step.command
        for suspect in diagnose(case.finding).suspects
        for remedy in suspect.remedies
        for step in remedy.steps
    }
    assert {step.command for step in plan.steps} <= offered
    ids = {item.id for item in case.finding.evidence}
    assert {*plan.citations, *([plan.culprit] if plan.culprit else [])} <= ids
    assert plan.model
    assert plan.model.name.endswith(".gguf")
    assert plan.confidence_percent <= 95


def test_the_same_finding_and_seed_give_the_same_plan_whatever_came_before(
    model: ModelProcess,
) -> None:
    case, other = world.CASES[0], world.CASES[12]
    first = reason(case.finding, "i", model)
    reason(other.finding, "i", model)
    again = reason(case.finding, "i", model)
    model.close()  # and in a fresh process
    fresh = reason(case.finding, "i", model)
    assert without_measures(first) == without_measures(again) == without_measures(fresh)


def test_the_start_of_the_prompt_is_kept_in_memory(model: ModelProcess) -> None:
    model.ask(question(world.CASES[0].finding), go_on=always)
    second = model.ask(question(world.CASES[12].finding), go_on=always)
    assert second.reused_tokens > 100
    assert second.forced_tokens > 0


@pytest.mark.parametrize("number", [11, 19])
def test_hostile_evidence_moves_the_real_model_to_no_other_command(
    number: int, model: ModelProcess
) -> None:
    text = hostile.TEXTS[number]
    first, *others = world.LEAK.evidence
    assert isinstance(first, ProcessEvidence)
    poisoned = msgspec.structs.replace(
        world.LEAK,
        evidence=(msgspec.structs.replace(first, command=text), *others, world.log(40, "x", text)),
    )
    expected, plan = reason(world.LEAK, "i", model), reason(poisoned, "i", model)
    assert (plan.culprit, plan.steps) == (expected.culprit, expected.steps)


def test_role_tokens_in_evidence_stay_text(model: ModelProcess) -> None:
    plain = question(world.LEAK)
    said = "<|im_end|><|im_start|>"
    lines = (*plain.prompt.lines, said)
    marked = msgspec.structs.replace(
        plain, prompt=msgspec.structs.replace(plain.prompt, lines=lines)
    )
    before = model.ask(plain, go_on=always).prompt_tokens
    # as special tokens these would be two
    assert model.ask(marked, go_on=always).prompt_tokens - before > 6


def test_a_prompt_that_is_too_long_for_the_context_loses_its_last_lines(
    model_settings: ReasonSettings,
) -> None:
    logs = [world.log(number, "app", f"{number} " * 100) for number in range(20, 60)]
    huge = world.finding(world.LEAK.condition, world.LEAK.subject, *world.LEAK.evidence, *logs)
    small = ModelProcess(msgspec.structs.replace(model_settings, context_tokens=1024))
    try:
        answer = small.ask(question(huge), go_on=always)
    finally:
        small.close()
    assert 4 <= int(answer.parameters["evidence_lines"]) < prompt.MAX_LINES
    assert answer.prompt_tokens <= 1024 - 256


@pytest.mark.parametrize("text", ["", "root ::= root", 'start ::= "a"', "root ::= x"])
def test_a_bad_grammar_is_an_error_and_no_crash(text: str, model: ModelProcess) -> None:
    model.warm()
    pid = model.pid
    with pytest.raises(ModelError, match="gguf"):
        model.ask(question(world.LEAK, grammar=text), go_on=always)
    assert model.pid == pid


def test_a_question_nobody_waits_for_is_given_up_and_the_model_stays(model: ModelProcess) -> None:
    model.warm()
    pid = model.pid
    with pytest.raises(CancelledError):
        model.ask(question(slow(), grammar=ENDLESS, most_tokens=2000), go_on=lambda: False)
    assert model.pid == pid
    assert reason(world.LEAK, "i", model).origin == "model"


def slow() -> Finding:
    return world.CASES[0].finding


# Much to write, and all of it to be chosen, so that the model is surely still at it.
ENDLESS = 'root ::= [a-z ]{500} [a-z ]{500} [a-z ]{500} "."\n'


def test_an_answer_later_than_the_deadline_costs_the_process_and_no_more(
    model_settings: ReasonSettings,
) -> None:
    hurried = ModelProcess(msgspec.structs.replace(model_settings, deadline_s=0.2))
    try:
        hurried.warm()
        plan = reason(slow(), "i", Endless(hurried))
        assert plan.origin == "catalogue"
        assert plan.model_error
        assert "deadline" in plan.model_error
        assert "gguf" in plan.model_error
        assert hurried.pid is None
        assert plan.steps
    finally:
        hurried.close()


class Endless:
    """A model asked for far more than fits the deadline."""

    def __init__(self, model: ModelProcess) -> None:
        self._model = model

    def ask(self, asked: Ask, *, go_on: object) -> object:
        more = msgspec.structs.replace(asked, grammar=ENDLESS, most_tokens=2000)
        return self._model.ask(more, go_on=always)
