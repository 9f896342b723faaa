"""Attacks, none of which may be allowed; and everyday commands, nearly all of which are.

`attacks.txt` and `benign.txt` hold one line each, under `## topic` lines.
"""

from collections.abc import Callable
from pathlib import Path

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
