"""Risk and needs: what a rule says about them, what the words of a command add, what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.sandbox import sandbox
from policy.__main__ import main
from policy.bundle import SHIPPED_RULES, parse_bundle
from policy.errors import PolicyError
from policy.evaluate import EchoReader, judge
from policy.explain import explain
from policy.facts import EXAMPLE_FACTS
from policy.lint import advice
from policy.needs import WORDS
from policy.rules import Bundle
from policy.verdict import Effect, Risk, Verdict

RULES = """
[places]
secret = ["/root"]

[[command]]
name = "wipe"
paths = ["/usr/bin/wipe"]
NEEDS
why = "wipes"
operands = ["path-stat*"]
"""


def rules(needs: str) -> dict[str, bytes]:
    return {"rules.toml": RULES.replace("NEEDS", needs).encode()}


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ('needs = ["everything"]', "'everything' is none of tree, mounts"),
        ('needs = ["write:"]', "write a normal absolute path"),
        ('needs = ["write:/"]', "write a normal absolute path"),
        ('needs = ["write:tmp"]', "write a normal absolute path"),
        ('needs = ["write:/var/../etc"]', "write a normal absolute path"),
        ('needs = ["write:/var/log/*"]', "write a normal absolute path"),
        ('risk = "none"', "Invalid enum value 'none'"),
        ('needs = "tree"', "Expected `array`"),
    ],
)
def test_a_word_that_nobody_knows_is_refused_with_its_line(needs: str, words: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_bundle(rules(needs))
    assert words in str(refused.value)
    assert refused.value.line == 5


@pytest.mark.parametrize("word", [*WORDS, "write:/var/log/journal"])
def test_every_word_is_known_to_the_sandbox_and_grants_something(word: str) -> None:
    bundle = parse_bundle(rules(f'needs = ["{word}"]'))
    verdict = judge("wipe /a/b", bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
    (command,) = verdict.commands
    granted, closed = sandbox(command.needs, command.writes), sandbox((), ())
    assert granted != closed
    told = explain(verdict)
    assert WORDS.get(word, "writes in /var/log/journal") in told


@pytest.mark.parametrize(
    ("text", "risk", "needs", "writes"),
    [
        ("uptime", "low", (), ()),
        ("kill -TERM 4242", "low", ("signals",), ()),
        ("kill -9 4242", "high", ("signals",), ()),
        ("kill -s SIGKILL 4242", "high", ("signals",), ()),
        ("systemctl restart nginx", "low", ("services",), ()),
        ("rm -f /var/tmp/export.csv", "high", ("folders", "tree"), ("/var/tmp",)),
        ("ping -c 3 db1", "low", ("network",), ()),
        ("cat /proc/mounts", "low", ("mounts",), ()),
        ("cat /etc/mtab", "low", ("mounts",), ()),
        ("cat proc/mounts", "low", ("mounts",), ()),
        ("cat /proc/4242/status", "low", ("processes",), ()),
        ("wc -c /tmp/x", "low", ("tree",), ()),
        ("wc -c tmp/x", "low", ("tree",), ()),
        ("stat /", "low", ("names", "tree"), ()),
        ("ls -l /dev", "low", ("names", "tree"), ()),
        ("cat /etc/hosts", "low", (), ()),
        ("frobnicate", "high", (), ()),
    ],
)
def test_a_command_needs_what_its_rule_says_and_its_words_name(
    ask: Callable[..., Verdict],
    text: str,
    risk: str,
    needs: tuple[str, ...],
    writes: tuple[str, ...],
) -> None:
    verdict = ask(text)
    (command,) = verdict.commands
    assert (verdict.risk, command.needs, command.writes) == (risk, needs, writes)


def test_the_risk_of_a_line_is_that_of_its_worst_command(ask: Callable[..., Verdict]) -> None:
    assert ask("uptime | sort").risk == "low"
    assert ask("uptime && kill -9 4242 ; df").risk == "high"
    assert ask("echo $(x").risk == "high"


def test_every_acting_form_that_needs_nothing_only_syncs(bundle: Bundle) -> None:
    closed = {
        command.name
        for command in bundle.commands.values()
        for form in command.forms
        if form.effect > Effect.READ and not form.needs
    }
    assert closed == {"sync"}


def test_what_destroys_says_its_risk_or_lint_asks_for_it(bundle: Bundle) -> None:
    assert not [line for line in advice(bundle) if "risk" in line]
    quiet = RULES.replace("NEEDS", 'effect = "destroy"\nundo = "none"\nhint = "x"')
    found = advice(parse_bundle({"rules.toml": quiet.encode()}))
    assert "rules.toml:5: wipe: destroys, and says nothing about risk" in found


def test_reading_is_never_of_high_risk(bundle: Bundle) -> None:
    for command in bundle.commands.values():
        for form in command.forms:
            assert form.risk is Risk.LOW or form.effect > Effect.READ, form.rule


def test_replay_lists_what_needs_fewer_people_or_is_granted_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        for file in SHIPPED_RULES.glob("*.toml"):
            (folder / file.name).write_bytes(file.read_bytes())
    process, text = new / "20-process.toml", (new / "20-process.toml").read_text()
    assert text.count('risk = "high"') == 1
    process.write_text(text.replace('risk = "high"\n', ""))
    sort = new / "35-text.toml"
    text = sort.read_text()
    assert '\nname = "sort"\n' in text
    sort.write_text(text.replace('\nname = "sort"\n', '\nname = "sort"\nneeds = ["whole-host"]\n'))
    record = tmp_path / "commands.jsonl"
    facts = '"facts": {"processes": [{"pid": 42, "started_ticks": 1}]}'
    record.write_text(
        "\n".join(f'{{"cmd": "{cmd}", {facts}}}' for cmd in ("kill -9 42", "ps | sort", "df"))
        + "\n"
    )
    assert main(["replay", str(old), str(new), "--commands", str(record)]) == 1
    told = capsys.readouterr().out
    assert "LOOSER  risk high -> low kill -9 42" in told
    assert "LOOSER  +whole-host      ps | sort" in told
    assert "df" not in told
    assert main(["replay", str(new), str(old), "--commands", str(record)]) == 0
    assert "tighter -whole-host" in capsys.readouterr().out


def test_the_readme_says_what_each_word_grants() -> None:
    text = (Path(__file__).parents[2] / "policy" / "README.md").read_text()
    for word, grants in WORDS.items():
        assert f"| `{word}` | {grants} |" in text
