"""Real command lines by the thousand: none may crash, stall, or be allowed by surprise."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from policy.facts import Facts
from policy.reader import read
from policy.verdict import Effect, Ruling, Verdict
from policy.worker import GuardedReader

HERE = Path(__file__).parent
CORPUS = HERE.parents[2] / "shared" / "corpora" / "tldr.jsonl"
EVERY = 20  # a sample keeps the folder's tests short


def lines() -> list[str]:
    """Our own file always; a sample of the larger corpus when it lies beside the checkout."""
    found = (HERE / "commands.txt").read_text().splitlines()
    if CORPUS.exists():
        texts = CORPUS.read_text().splitlines()
        found += [json.loads(text)["cmd"] for text in texts[::EVERY]]
    return found


def test_without_evidence_only_reading_is_allowed(
    ask: Callable[..., Verdict], worker: GuardedReader
) -> None:
    allowed = []
    for text in lines():
        verdict = ask(text, facts=Facts(), second=worker)
        assert verdict.reasons[0].code != "internal", text
        if verdict.ruling is Ruling.ALLOW:
            allowed.append(text)
            shrinks = "-delete" in text or "--vacuum" in text
            assert shrinks or verdict.effect == Effect.READ.word, text
    assert "df -h /var; df -i /var" in allowed
    assert "find /tmp -xdev -type f -mtime +7 -delete" in allowed


READ_ONLY = [
    tuple(line.split("\t", 1))
    for line in (HERE / "read_only.txt").read_text().splitlines()
    if not line.startswith("#")
]


def test_what_people_type_to_look_at_a_host_is_allowed_or_has_its_reason(
    ask: Callable[..., Verdict],
) -> None:
    for fate, text in READ_ONLY:
        allowed = ask(text).ruling is Ruling.ALLOW
        assert allowed is (fate == "-"), f"{fate}: {text}: {ask(text).reasons[0]}"


def test_most_of_what_only_reads_and_is_filled_in_is_allowed() -> None:
    """Left out: what changes something, is not filled in, needs a shell, or lacks --no-pager."""
    fates = Counter(fate for fate, _ in READ_ONLY)
    asked = fates.total() - sum(fates[fate] for fate in ("changes", "unfilled", "shell", "pager"))
    assert fates["-"] / asked >= 0.85
    assert fates["-"] / fates.total() >= 0.65


def test_a_review_of_them_names_one_word(ask: Callable[..., Verdict]) -> None:
    for _, text in READ_ONLY:
        reason = ask(text).reasons[0]
        if reason.ruling is Ruling.REVIEW:
            assert reason.token, text
            assert len(read(f"x {reason.token}").argvs[0]) == 2, text


def test_the_readers_disagree_on_almost_none(
    ask: Callable[..., Verdict], worker: GuardedReader
) -> None:
    texts = lines()
    unsure = [
        text
        for text in texts
        if any(reason.code == "second-reader" for reason in ask(text, second=worker).reasons)
    ]
    assert len(unsure) <= len(texts) // 200, unsure
