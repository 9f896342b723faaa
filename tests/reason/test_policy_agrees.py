"""Every command that the diagnosis offers is one that the shipped policy allows."""

import pytest

from hub.reason.catalogue import shipped
from hub.reason.diagnose import diagnose
from policy.bundle import parse_bundle, read_folder
from policy.evaluate import EchoReader, judge
from policy.evidence import facts_of
from policy.explain import explain
from policy.rules import Bundle
from policy.verdict import Ruling
from tests.reason import world


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return parse_bundle(read_folder())


@pytest.mark.parametrize("case", world.CASES, ids=lambda case: case.name)
def test_every_offered_command_is_allowed_with_the_findings_facts(
    case: world.Case, bundle: Bundle
) -> None:
    facts = facts_of(case.finding)
    for suspect in diagnose(case.finding).suspects:
        for remedy in suspect.remedies:
            for step in remedy.steps:
                verdict = judge(step.command, bundle=bundle, facts=facts, second=EchoReader())
                assert verdict.ruling is Ruling.ALLOW, explain(verdict)


def test_the_cases_use_most_templates() -> None:
    offered = {
        (suspect.candidate.cause, remedy.key)
        for case in world.CASES
        for suspect in diagnose(case.finding).suspects
        for remedy in suspect.remedies
    }
    missing = {
        (cause.key, template.key) for cause in shipped().cause for template in cause.remedy
    } - offered
    assert len(missing) <= 12, sorted(missing)
