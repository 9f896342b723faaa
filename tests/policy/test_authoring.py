"""What policy authors are told: coverage by examples, lines nobody would miss, what got looser."""

import io
import json
from pathlib import Path

import msgspec
import pytest

from appliance import envelope
from policy.__main__ import main
from policy.bundle import SHIPPED_RULES, parse_bundle
from policy.coverage import coverage
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.mutate import mutants
from policy.suggest import suggestion

PLACES = '[places]\nsecret = ["/root"]\n'
COMMAND = """
[[command]]
name = "x"
paths = ["/usr/bin/x"]
flags = ["-a", "-b"]
options = { "-n" = "int(1..5)" }
require = ["-n"]
doors = { "-o" = "writes a file" }
why = "tries"
hint = "none"
"""
ALLOW = 'allow = ["x -n 3 -a"]\n'
GUARDED = (
    'deny = [["x -n 9", "bad-value"], ["x -a", "missing:-n"], ["x -n 3 -c", "unknown-option"],'
    ' ["x -n 3 y", "operand"], ["x -n 3 -o f", "door"]]\n'
)


def policy(tail: str) -> dict[str, bytes]:
    return {"10-x.toml": (PLACES + COMMAND + ALLOW + tail).encode()}


def folder(path: Path, text: str) -> Path:
    path.mkdir(exist_ok=True)
    (path / "10-x.toml").write_text(text)
    return path


def test_coverage_says_which_words_no_example_uses() -> None:
    (found,) = coverage(parse_bundle(policy("")))
    assert (found.used, found.unused) == ({"-a", "-n"}, ["-b"])
    assert 66 < found.percent < 67


def test_coverage_of_the_shipped_rules_can_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "--all"]) == 0
    assert "flags, options and subcommands are in an example" in capsys.readouterr().out


def test_a_line_that_can_be_loosened_unnoticed_is_named() -> None:
    assert {mutant.loosened for mutant in mutants(parse_bundle(policy("")))} == {
        "doors", "flags", "options", "operands", "require",
    }  # fmt: skip
    assert not any(mutant.noticed for mutant in mutants(parse_bundle(policy(""))))
    assert all(mutant.noticed for mutant in mutants(parse_bundle(policy(GUARDED))))


def test_a_suggested_example_makes_the_line_noticed() -> None:
    bundle = parse_bundle(policy(""))
    found = [suggestion(bundle, mutant) for mutant in mutants(bundle)]
    assert all(found)
    deny = f"deny = {json.dumps(found)}\n"
    assert all(mutant.noticed for mutant in mutants(parse_bundle(policy(deny))))


@pytest.mark.parametrize(
    ("lines", "allow", "loosened"),
    [
        ('style = "dd"\noptions = { "if" = "path-read" }', "x if=/etc/hosts", {"options"}),
        ('flags = ["-r", "-n"]\nrequire = ["-r"]', "x -rn", {"flags", "operands", "require"}),
        ('options = { "-f" = "go-template" }', "x -f '{{.Names}}'", {"options", "operands"}),
    ],
    ids=["dd-reads-no-operands", "letters-stand-together", "a-template-is-no-placeholder"],
)
def test_what_an_allow_example_shows_notices_no_loosening(
    lines: str, allow: str, loosened: set[str]
) -> None:
    rule = f'[[command]]\nname = "x"\npaths = ["/usr/bin/x"]\nwhy = "tries"\n{lines}\n'
    bundle = parse_bundle({"10-x.toml": f"{PLACES}{rule}allow = [{json.dumps(allow)}]".encode()})
    found = list(mutants(bundle))
    assert {mutant.loosened for mutant in found} == loosened
    assert not any(mutant.noticed for mutant in found)
    for mutant in found:  # what was allowed stays allowed
        loose = msgspec.structs.replace(bundle, commands={"x": mutant.loose})
        assert judge(allow, bundle=loose, facts=EXAMPLE_FACTS, second=EchoReader()).ruling == 0


def test_a_call_kept_for_a_window_suggests_the_denials_of_its_form() -> None:
    denied = 'deny = [["x -n 3", "change-window"], ["x $A", "syntax:expansion"]]\n'
    text = COMMAND + "change_window = true\n" + denied
    bundle = parse_bundle({"10-x.toml": (PLACES + text).encode()})
    found = {mutant.loosened: suggestion(bundle, mutant) for mutant in mutants(bundle)}
    assert found["flags"] == ("x -n 3 --nosuch", "unknown-option")


def test_the_commands_say_so_and_exit_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = folder(tmp_path / "rules", PLACES + COMMAND + ALLOW)
    assert main(["mutate", "--policy", str(rules)]) == 1
    assert "10-x.toml:4: x: no example notices that require got looser" in capsys.readouterr().out
    assert main(["mutate", "--policy", str(rules), "--suggest"]) == 1
    assert '    deny ["x -a", "missing:-n"]' in capsys.readouterr().out
    assert main(["coverage", "--policy", str(rules)]) == 0
    assert main(["coverage", "--policy", str(rules), "--min", "90"]) == 1
    assert "x                -b" in capsys.readouterr().out
    folder(rules, PLACES + COMMAND + ALLOW + GUARDED)
    assert main(["mutate", "--policy", str(rules)]) == 0
    assert "5 of 5 loosened lines are noticed" in capsys.readouterr().out


@pytest.fixture
def site(tmp_path: Path) -> Path:
    envelope.make_key(tmp_path / "policy.key")
    folder(tmp_path / "old", PLACES + COMMAND + ALLOW)
    folder(tmp_path / "new", PLACES + COMMAND.replace("1..5", "1..50") + ALLOW)
    lines = [{"cmd": "x -n 3"}, {"cmd": "x -n 30", "facts": {"role": "web"}}, {"cmd": "y"}]
    (tmp_path / "commands.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_replay_lists_each_command_that_got_looser(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, record = (str(site / name) for name in ("old", "new", "commands.jsonl"))
    assert main(["replay", old, new, "--commands", record]) == 1
    out = capsys.readouterr().out
    assert "LOOSER  review -> allow  x -n 30" in out
    assert "3 commands: 1 looser, 0 tighter" in out
    assert main(["replay", new, old, "--commands", record]) == 0
    assert "tighter allow -> review  x -n 30" in capsys.readouterr().out


def test_replay_reads_standard_input_and_names_a_broken_line(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = str(site / "old")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"cmd":"x -n 3"}\n')))
    assert main(["replay", old, old]) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"cmd":"x"}\n{"c":1}\n')))
    assert main(["replay", old, old]) == 2
    assert "line 2" in capsys.readouterr().err
    assert main(["replay", old, old, "--commands", str(site / "none")]) == 2


def test_a_policy_is_signed_verified_and_its_sequence_grows(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, public, out = (str(site / n) for n in ("policy.key", "policy.pub", "site.policy"))
    sign = ["sign", str(site / "old"), "--private-key", key, "--out", out]
    assert main(sign) == 0
    assert main(["verify", out, "--key", public]) == 0
    assert "sequence 1, 1 commands" in capsys.readouterr().out
    assert main(sign) == 0
    assert "sequence 2" in capsys.readouterr().out
    assert main([*sign, "--sequence", "2"]) == 2
    assert "is not above 2" in capsys.readouterr().err
    assert main(["check", "x -n 3", "--policy", out, "--key", public]) == 0
    assert main(["verify", str(site / "old" / "10-x.toml"), "--key", public]) == 1
    assert main(["check", "x -n 3", "--policy", out, "--key", key]) == 4


def test_what_got_looser_is_not_signed_without_saying_so(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = site / "site.policy"
    sign = ["sign", str(site / "new"), "--private-key", str(site / "policy.key"), "--out", str(out)]
    against = ["--against", str(site / "old"), "--commands", str(site / "commands.jsonl")]
    assert main([*sign, *against]) == 1
    assert not out.exists()
    assert "not signed: 1 got looser" in capsys.readouterr().out
    assert main([*sign, *against, "--accept-looser"]) == 0
    assert out.exists()
    assert main([*sign, "--against", str(site / "old")]) == 2


def test_a_broken_folder_is_not_signed_and_the_old_file_stays(site: Path) -> None:
    out = site / "site.policy"
    sign = ["--private-key", str(site / "policy.key"), "--out", str(out)]
    assert main(["sign", str(site / "old"), *sign]) == 0
    before = out.read_bytes()
    folder(site / "old", PLACES + "x =")
    assert main(["sign", str(site / "old"), *sign]) == 2
    assert out.read_bytes() == before
    assert sorted(path.name for path in site.glob("site.policy*")) == ["site.policy"]


def test_what_if_shows_how_a_verdict_depends_on_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text('{"processes": [{"pid": 7, "started_ticks": 1}]}')
    assert main(["what-if", "kill 7", "uptime", "--facts", str(facts), "--no-worker"]) == 4
    head, kill, uptime = capsys.readouterr().out.splitlines()[:3]
    assert head.split() == ["no", "evidence", "evidence", "window", "open", "command"]
    assert kill.split()[:3] == ["block", "allow", "allow"]
    assert uptime.split()[:3] == ["allow", "allow", "allow"]


def test_a_shipped_line_that_is_loosened_is_noticed_by_an_example() -> None:
    assert main(["mutate", "--policy", str(SHIPPED_RULES)]) == 0
