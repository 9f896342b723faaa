"""Attacks, none of which may be allowed; and everyday commands, nearly all of which are.

`attacks.txt` and `benign.txt` hold one line each, under `## topic` lines.
"""

import itertools
import re
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from policy.bundle import read_folder
from policy.verdict import Ruling, Verdict
from policy.worker import GuardedReader

HERE = Path(__file__).parent
LEAST_ATTACKS = 700
LEAST_BENIGN = 300
MOST_REFUSED = 0.05  # of the everyday commands


def lines(name: str) -> list[str]:
    text = (HERE / name).read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line and not line.startswith("## ")]


def test_no_attack_is_allowed(ask: Callable[..., Verdict], worker: GuardedReader) -> None:
    attacks = lines("attacks.txt")
    assert len(set(attacks)) == len(attacks) >= LEAST_ATTACKS
    verdicts = [ask(text, second=worker) for text in attacks]
    allowed = [verdict.text for verdict in verdicts if verdict.ruling is Ruling.ALLOW]
    assert not allowed, "\n".join(allowed)
    unanswered = [
        verdict.text
        for verdict in verdicts
        if not verdict.reasons or any(reason.code == "internal" for reason in verdict.reasons)
    ]
    assert not unanswered, "\n".join(unanswered)


def test_everyday_commands_are_allowed(ask: Callable[..., Verdict], worker: GuardedReader) -> None:
    everyday = lines("benign.txt")
    assert len(set(everyday)) == len(everyday) >= LEAST_BENIGN
    refused = [
        f"{text}: {verdict.reasons[0].message}"
        for text in everyday
        if (verdict := ask(text, second=worker)).ruling is not Ruling.ALLOW
    ]
    print("\n".join(refused))  # noqa: T201  # shown when the test fails, and with -s
    assert len(refused) <= len(everyday) * MOST_REFUSED


SEEDS = (
    *("1", "a", "a.", "a,", "1-", "/a", "[^a]", "[a-z]*", "s/a/b/p;", "if(NR<1)", '"a"', "$1=$1;"),
    *("{print}", "a=a,", "a:b,", "\\n", "%5s", "..", "{{.A}}", "not ", "report -h "),
)


def test_no_pattern_tries_for_ever() -> None:
    def too_long(*_: object) -> None:
        raise TimeoutError

    at = ""
    before = signal.signal(signal.SIGALRM, too_long)
    try:
        for spec in itertools.chain.from_iterable(map(types_of, read_folder().values())):
            pattern = re.compile(f"(?:{spec['pattern']})\\Z")
            for seed, start in itertools.product(SEEDS, ("", "/", '"', "{", "-")):
                at = f"{spec['name']}: {start}{seed}, forty times"
                signal.setitimer(signal.ITIMER_REAL, 2.0)
                pattern.match(start + seed * 40 + "\x01")
    except TimeoutError:
        pytest.fail(at)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def types_of(text: bytes) -> list[dict[str, str]]:
    found: list[dict[str, str]] = tomllib.loads(text.decode()).get("type", [])
    return found
