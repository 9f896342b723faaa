"""The deterministic diagnosis: right for every condition, whatever the order, whatever is said."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import SettingsError
from appliance.records import HUB_ONLY, Condition, Finding
from hub.reason.catalogue import load, shipped
from hub.reason.diagnose import Diagnosis, diagnose
from tests.reason import hostile, world

WRONG_HOLE = """remedy = [{ key = "k", title = "t", effect = "e", steps = [
    { command = "kill {password}", purpose = "p" } ] }]"""


def commands(diagnosis: Diagnosis) -> list[str]:
    return [
        step.command
        for suspect in diagnosis.suspects
        for remedy in suspect.remedies
        for step in remedy.steps
    ]


@pytest.mark.parametrize("case", world.CASES, ids=lambda case: case.name)
def test_the_culprit_the_cause_and_the_first_command_are_right(case: world.Case) -> None:
    first = diagnose(case.finding).suspects[0]
    assert first.candidate.evidence_id == case.culprit
    assert first.candidate.cause == case.cause
    assert first.remedies[0].steps[0].command == case.command


def test_every_condition_has_a_case_and_a_cause() -> None:
    assert {case.finding.condition for case in world.CASES} == set(Condition) - HUB_ONLY
    assert {one for cause in shipped().cause for one in cause.conditions} == set(
        Condition
    ) - HUB_ONLY


@pytest.mark.parametrize("case", world.CASES, ids=lambda case: case.name)
def test_shuffled_evidence_gives_the_same_ranking(case: world.Case) -> None:
    expected = diagnose(case.finding)
    for seed in range(20):
        evidence = list(case.finding.evidence)
        random.Random(seed).shuffle(evidence)
        assert diagnose(msgspec.structs.replace(case.finding, evidence=tuple(evidence))) == expected


@pytest.mark.parametrize("case", world.CASES, ids=lambda case: case.name)
def test_no_command_names_a_protected_process(case: world.Case) -> None:
    assert not [one for one in commands(diagnose(case.finding)) if "812" in one]


def test_a_protected_culprit_is_shown_with_a_note_and_without_commands() -> None:
    guarded = world.process(1, 10, "postgres", rss_bytes=world.GIB, protected="the database")
    found = diagnose(world.finding(Condition.PROCESS_MEMORY, "pid 10 (postgres)", guarded))
    assert found.suspects[0].candidate.evidence_id == "e1"
    assert found.suspects[0].remedies == ()
    assert found.suspects[0].notes == ("protected, so no command: the database",)


def test_a_unit_that_carries_the_machine_is_never_restarted() -> None:
    for name in ("sshd.service", "systemd-logind.service", "sentinel-hub.service"):
        found = diagnose(world.finding(Condition.UNIT_FAILED, name, world.unit(1, name)))
        assert not [one for one in commands(found) if "restart" in one or "reset" in one]


@pytest.mark.parametrize(
    "path",
    [
        "/var/tmp/../../etc/passwd",
        "/var/tmp//x",
        "/var/tmp/a'b",
        "/var/tmp/a\nb",
        "/var/tmp/ü",
        "/home/x/big",
        "var/tmp/x",
        "/var/tmpfoo/x",
    ],
)
def test_a_file_outside_the_cleanable_places_or_not_plain_is_not_removed(path: str) -> None:
    found = diagnose(
        world.finding(
            Condition.DISK_SPACE, "/", world.mount(1, "/"), world.file(2, path, 9 * world.GIB)
        )
    )
    assert not [one for one in commands(found) if one.startswith("rm")]


def test_a_path_with_a_space_is_quoted() -> None:
    big = world.file(2, "/var/tmp/my dump;x", 9 * world.GIB)
    found = diagnose(world.finding(Condition.DISK_SPACE, "/", world.mount(1, "/"), big))
    assert commands(found)[0] == "rm -f '/var/tmp/my dump;x'"


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_hostile_names_and_log_lines_change_neither_culprit_nor_commands(text: str) -> None:
    expected = diagnose(world.LEAK)
    for changed in poisoned(world.LEAK, text):
        found = diagnose(changed)
        assert [
            (one.candidate.evidence_id, one.candidate.cause, one.candidate.score, one.remedies)
            for one in found.suspects
        ] == [
            (one.candidate.evidence_id, one.candidate.cause, one.candidate.score, one.remedies)
            for one in expected.suspects
        ]
        assert all(one.candidate.label.isprintable() for one in found.suspects if text.isascii())


def poisoned(finding: Finding, text: str) -> list[Finding]:
    """The finding with the text as a name, as a command line, and as a log line."""
    first, *others = finding.evidence
    assert isinstance(first, world.ProcessEvidence)
    replace = msgspec.structs.replace
    return [
        replace(finding, evidence=(replace(first, name=text[:255]), *others)),
        replace(finding, evidence=(replace(first, command=text, owner=text[:255]), *others)),
        replace(finding, evidence=(first, *others, world.log(40, "leaky", text))),
        replace(finding, evidence=(world.log(40, text[:255], text), first, *others)),
    ]


@settings(max_examples=60, deadline=None)
@given(
    condition=st.sampled_from(sorted(set(Condition) - HUB_ONLY)),
    growth=st.floats(),
    cpu=st.floats(),
    name=st.text(max_size=40),
    path=st.text(max_size=60),
)
def test_no_evidence_makes_the_diagnosis_fail(
    condition: Condition, growth: float, cpu: float, name: str, path: str
) -> None:
    odd = world.finding(
        condition,
        path,
        world.process(1, 7, name, growth_bytes_per_s=growth, cpu_percent=cpu),
        world.mount(2, path, used_bytes=0, inodes_used=0),
        world.directory(3, path, 5),
        world.file(4, path, 5),
        world.unit(5, name),
        world.metric(6, name, growth, cpu),
        world.log(7, name, path),
    )
    for command in commands(diagnose(odd)):
        assert command.isascii()
        assert command.isprintable()


def test_no_evidence_is_no_suspect() -> None:
    assert diagnose(world.finding(Condition.HOST_MEMORY, "host")).suspects == ()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("colour = 1", "colour: unknown key"),
        ('sign = [{ measure = "guess", weight = 1 }]', "unknown measure 'guess'"),
        (
            WRONG_HOLE,
            "unknown hole {password}",
        ),
        ('target = "planet"', "not valid TOML"),
    ],
)
def test_a_wrong_catalogue_does_not_load(line: str, complaint: str) -> None:
    text = f"""untouchable_units = []
[[cause]]
key = "a"
title = "t"
conditions = ["host_memory"]
target = "process"
base = 0
runbook = "r"
{line}
"""
    with pytest.raises(SettingsError, match=r"wrong\.toml") as refused:
        load(text, name="wrong.toml")
    assert complaint in str(refused.value)
