"""From finding to plan with models that misbehave in ways a real one cannot be made to."""

import json
from collections.abc import Callable, Sequence

import pytest

from hub.reason import offer
from hub.reason.diagnose import diagnose
from hub.reason.errors import CancelledError, ModelError
from hub.reason.frames import Answer, Ask
from hub.reason.offer import ABSTAIN
from hub.reason.reasoner import reason
from tests.reason import world


class Scripted:
    """Says what it is told to say, in order, and counts."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.seeds: list[int] = []

    def ask(self, question: Ask, *, go_on: Callable[[], bool]) -> Answer:
        self.seeds.append(question.seed)
        said = self._answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return Answer(
            text=said,
            model="scripted.gguf",
            model_sha256="0" * 64,
            seed=question.seed,
            parameters={"temperature": 0},
            prompt_sha256="0" * 64,
            prompt_tokens=1,
            reused_tokens=0,
            output_tokens=1,
            forced_tokens=0,
            prompt_ms=1,
            output_ms=1,
        )


def said(culprit: str, fix: str | None = None, cited: Sequence[str] = ("e1",)) -> str:
    answer = {"culprit": culprit, "because": "It shows so."}
    if fix is not None:
        answer |= {"fix": fix, "evidence": list(cited)}
    return json.dumps(answer)


LEAKY = "A e1 leaky (pid 4711)"
NGINX = "B e4 nginx (pid 1300)"
FINDING = world.CASES[0].finding


def test_a_choice_of_the_model_becomes_the_plan() -> None:
    plan = reason(FINDING, "i-1", Scripted(said(LEAKY, "1 terminate by kill")))
    assert (plan.origin, plan.incident_id, plan.culprit) == ("model", "i-1", "e1")
    assert [step.command for step in plan.steps] == ["kill -TERM 4711"]
    assert plan.model_error is None
    assert plan.model
    assert plan.model.name == "scripted.gguf"
    assert 'The model says: "It shows so."' in plan.diagnosis


def test_force_is_not_offered_while_gentleness_was_not_tried() -> None:
    for case in world.CASES:
        for option in offer.offer(case.finding, diagnose(case.finding)).options:
            acting = [fix for fix in option.fixes if fix.remedy and not fix.remedy.only_reads]
            assert len(acting) <= 1
            assert not [fix for fix in acting if fix.remedy and fix.remedy.key == "kill"]


def test_a_finding_about_one_process_offers_no_other_process() -> None:
    assert [one.text for one in offer.offer(world.LEAK, diagnose(world.LEAK)).options] == [LEAKY]


def test_abstaining_is_a_plan_without_steps() -> None:
    plan = reason(FINDING, "i", Scripted(said(ABSTAIN)))
    assert (plan.origin, plan.culprit, plan.steps) == ("model", None, ())
    assert plan.confidence_percent == 0
    assert plan.candidates
    assert "leaky (pid 4711)" in plan.diagnosis


def test_disagreement_and_missing_citations_lower_the_confidence() -> None:
    agreed = reason(FINDING, "i", Scripted(said(LEAKY, "1 terminate by kill")))
    uncited = reason(FINDING, "i", Scripted(said(LEAKY, "1 terminate by kill", ["e9"])))
    assert uncited.confidence_percent < agreed.confidence_percent


def test_a_plan_that_only_looks_is_not_offered_while_one_that_acts_fits() -> None:
    looking = said(LEAKY, "2 look by ps")
    plan = reason(FINDING, "i", Scripted(looking, looking))
    assert plan.origin == "catalogue"
    assert [step.command for step in plan.steps] == ["kill -TERM 4711"]


@pytest.mark.parametrize("answer", ["", "rm -rf /", said("A e1 sshd (pid 1)", "1 kill by kill")])
def test_an_answer_that_is_no_choice_is_tried_once_more_and_then_left(answer: str) -> None:
    model = Scripted(answer, answer, AssertionError("asked a third time"))
    plan = reason(FINDING, "i", model, seed=7)
    assert model.seeds == [7, 8]
    assert plan.origin == "catalogue"
    assert plan.model_error
    assert [step.command for step in plan.steps] == ["kill -TERM 4711"]


def test_the_second_try_counts() -> None:
    plan = reason(FINDING, "i", Scripted("", said(LEAKY, "1 terminate by kill")))
    assert plan.origin == "model"
    assert plan.model
    assert plan.model.seed == 2


def test_a_crash_is_not_tried_again_with_the_same_incident() -> None:
    model = Scripted(ModelError("model x.gguf: its process crashed with SIGSEGV"))
    plan = reason(FINDING, "i", model)
    assert plan.model_error == "model x.gguf: its process crashed with SIGSEGV"
    assert model.seeds == [1]


def test_without_a_model_the_plan_says_so_and_is_less_sure() -> None:
    plan = reason(FINDING, "i", None)
    assert (plan.origin, plan.model) == ("catalogue", None)
    assert plan.model_error == "no model is configured"
    with_model = reason(FINDING, "i", Scripted(said(LEAKY, "1 terminate by kill")))
    assert plan.confidence_percent < with_model.confidence_percent


def test_nothing_in_evidence_is_a_plan_without_steps_and_no_question() -> None:
    model = Scripted()
    plan = reason(world.finding(FINDING.condition, "host"), "i", model)
    assert (plan.steps, plan.culprit, plan.candidates, model.seeds) == ((), None, (), [])


def test_when_nobody_waits_there_is_no_plan() -> None:
    with pytest.raises(CancelledError):
        reason(FINDING, "i", Scripted(CancelledError("given up")))


def test_where_no_command_can_help_the_catalogue_advises_the_person() -> None:
    case = next(one for one in world.CASES if one.cause == "unit-port-taken")
    assert "A person decides" in reason(case.finding, "i", None).diagnosis
