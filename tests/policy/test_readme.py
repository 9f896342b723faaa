"""policy/README.md is run: its commands, its examples, its rule file, its table of types."""

import re
import shlex
import tomllib
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from policy import constructs
from policy.__main__ import main
from policy.bundle import parse_bundle
from policy.errors import SyntaxRefusedError
from policy.facts import decode_facts
from policy.overlay import tightened
from policy.reader import read
from policy.rule_format import CommandSpec, FormSpec
from policy.rules import Bundle
from policy.verdict import Ruling, Verdict

TEXT = (Path(__file__).parents[2] / "policy" / "README.md").read_text()
FENCES = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
STATUS = {"ps aux": 0, "frobnicate": 3, "rm -rf": 4, "kill -9 1": 4}


def fenced(kind: str) -> list[str]:
    return [body for name, body in FENCES if name == kind]


def lines(kind: str) -> list[str]:
    return [line for body in fenced(kind) for line in body.splitlines() if line]


@pytest.mark.parametrize("line", lines("console"))
def test_a_command_of_the_readme_does_what_it_says(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, _, command = (
        line.removeprefix("$ ").rpartition(" | ") if "echo" in line else ("", "", line)
    )
    words = shlex.split(command.removeprefix("$ "))
    assert words[0] == "sentinel-policy"
    if given:
        data = shlex.split(given)[1].encode() + b"\n"
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(data)))
    expected = next((status for start, status in STATUS.items() if start in line), 0)
    assert main(words[1:]) == expected
    assert capsys.readouterr().out


def test_the_explanation_of_the_readme_is_the_real_one(capsys: pytest.CaptureFixture[str]) -> None:
    (drawn,) = fenced("text")
    command, _, text = drawn.partition("\n")
    main(shlex.split(command)[2:])
    assert without_numbers(text) == without_numbers(capsys.readouterr().out)


def without_numbers(text: str) -> str:
    """Lines of rule files and the policy's digest change with every rule."""
    return re.sub(r":[0-9]+$|policy [0-9a-f]{16}", "", text, flags=re.MULTILINE).strip()


def test_every_construct_is_shown_and_refused_by_its_name() -> None:
    shown = [line.split(maxsplit=1) for line in lines("refused")]
    for construct, example in shown:
        text = example.translate({ord("␤"): "\n", ord("␉"): "\t", ord("␠"): " "})
        with pytest.raises(SyntaxRefusedError) as refused:
            read(text)
        assert refused.value.construct == construct, example
    limits = {"too-long", "too-many-commands", "too-many-words"}
    assert {construct for construct, _ in shown} | limits == set(constructs.WORDS)


def test_what_to_write_instead_is_in_the_language(ask: Callable[..., Verdict]) -> None:
    for line in lines("rewrite"):
        before, after = (part.strip() for part in line.split("=>"))
        assert ask(before).reasons[0].code.startswith("syntax:"), before
        read(after)


def test_the_life_of_a_policy_is_as_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = fenced("toml")[0]
    for name, text in (("rules.d", rules), ("rules.new", rules.replace("1..5000", "1..50000"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "10-site.toml").write_text(text)
    overlay = fenced("overlay")[0]
    (tmp_path / "overlay.toml").write_text(overlay[overlay.index("[[narrow]]") :])
    (tmp_path / "commands.jsonl").write_text('{"cmd": "journalctl --no-pager -n 9000"}\n')
    monkeypatch.chdir(tmp_path)
    for line in lines("life"):
        command, _, status = line.partition("#")
        assert main(shlex.split(command)[2:]) == int(status or 0), line
    assert capsys.readouterr().out


def test_the_overlay_of_the_readme_fits_the_shipped_rules(bundle: Bundle) -> None:
    assert tightened(bundle, "overlay.toml", fenced("overlay")[0].encode()).overlay


@pytest.mark.parametrize("ruling", list(Ruling))
def test_the_examples_get_the_verdict_they_stand_under(
    ruling: Ruling, ask: Callable[..., Verdict]
) -> None:
    facts = decode_facts(fenced("json")[0].encode())
    for line in lines(ruling.word):
        assert ask(line, facts=facts).ruling is ruling, line


def test_the_rule_file_of_the_readme_is_a_working_policy() -> None:
    text = fenced("toml")[0]
    bundle = parse_bundle({"10-readme.toml": text.encode()})
    assert list(bundle.commands) == [tomllib.loads(text)["command"][0]["name"]]


def test_every_key_of_a_rule_is_explained() -> None:
    keys = {*FormSpec.__struct_fields__, *CommandSpec.__struct_fields__} - {"form"}
    for key in keys:
        assert f"`{key}`" in TEXT or f"\n{key} = " in TEXT, key


def test_every_type_the_readme_shows_exists(bundle: Bundle) -> None:
    part = TEXT.split("\nTypes: ")[1].split("\n\n")[0]
    for source in re.findall(r"`([a-z][^`]*)`", part):
        if source not in {"values.py", "rules.d/01-types.toml"}:
            assert bundle.types.compiled(source).expected
