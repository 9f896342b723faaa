"""`sentinel-policy`: answers, exit statuses, and a stream that never stops early."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from policy.__main__ import main
from policy.facts import Facts
from policy.verdict import Verdict
from tests.policy.test_attacks import lines

FACTS = {"processes": [{"pid": 4242, "started_ticks": 1}], "units": ["nginx.service"]}


def stream(lines: list[str], *options: str) -> tuple[int, list[dict[str, object]]]:
    done = subprocess.run(
        [sys.executable, "-m", "policy", "check", "--jsonl", *options],
        input="\n".join(lines).encode("utf-8", "surrogatepass"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_installed_command_answers_wherever_it_is_called(tmp_path: Path) -> None:
    """As people call it: the script of the install, from a folder that is not the checkout."""
    done = subprocess.run(
        [Path(sys.executable).with_name("sentinel-policy"), "check", "df -h", "ls $x"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["allow", "block"]
    assert (done.returncode, done.stderr) == (4, "")


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        (["ps aux"], 0),
        (["frobnicate"], 3),
        (["rm -rf /"], 4),
        (["ps aux", "frobnicate"], 3),
        (["frobnicate", "rm -rf /", "ps aux"], 4),
        ([""], 4),
    ],
)
def test_the_exit_status_is_that_of_the_worst_command(
    commands: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *commands]) == status
    assert len(capsys.readouterr().out.splitlines()) == len(commands)


def test_facts_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(FACTS))
    assert main(["check", "systemctl restart nginx", "kill 4242", "--facts", str(path)]) == 0
    assert main(["check", "systemctl restart nginx"]) == 4
    path.write_text('{"pids": [1]}')
    assert main(["check", "uptime", "--facts", str(path)]) == 2
    assert main(["check", "uptime", "--facts", str(tmp_path / "none")]) == 2
    assert "pids" in capsys.readouterr().err


def test_asking_for_nothing_is_could_not_tell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert main(["check", "--jsonl", "ls"]) == 2
    assert "give commands" in capsys.readouterr().err


def test_explaining_draws_a_caret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "rm -rf /"]) == 4
    out = capsys.readouterr().out
    assert "^^^" in out
    assert "rm" in out
    assert "38-clean.toml:" in out


def test_the_stream_answers_every_line_in_order() -> None:
    lines = [
        json.dumps({"id": 1, "cmd": "ps aux | head -n 3"}),
        "no json",
        '{"id": 2}',
        "[]",
        '{"id": 3, "cmd": 5}',
        '{"id": "four", "cmd": "grep -F -e\'${\' /etc/fstab"}',
        '{"id": 5, "cmd": "\\ud800"}',
        '{"id": 6, "cmd": "ls\\nrm x"}',
        "[" * 100_000,
        json.dumps({"id": 7, "cmd": "x" * 2_000_000}),
        json.dumps({"id": [8], "cmd": "rm -rf /"}),
        '{"id": 9, "cmd": "uptime"}',
    ]
    started = time.monotonic()
    status, answers = stream(lines)
    assert time.monotonic() - started < 10
    assert status == 4
    assert [answer["verdict"] for answer in answers] == (
        ["allow", *["block"] * 4, "review", *["block"] * 5, "allow"]
    )
    assert [a["id"] for a in answers] == [1, None, 2, None, 3, "four", 5, 6, None, None, [8], 9]
    first = answers[0]
    assert {"id", "cmd", "verdict", "argv", "reasons"} <= first.keys()
    assert first["argv"] == [["ps", "aux"], ["head", "-n", "3"]]
    for answer in answers:
        assert answer["reasons"]
        assert all({"rule", "message", "span"} <= r.keys() for r in answer["reasons"])  # type: ignore[attr-defined]


def test_bytes_that_are_no_text_get_an_answer() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "policy", "check", "--jsonl"],
        input=b'\xff\xfe\n\x00\n{"id":1,"cmd":"uptime"}\n',
        capture_output=True,
        timeout=60,
        check=False,
    )
    verdicts = [json.loads(line)["verdict"] for line in done.stdout.splitlines()]
    assert (done.returncode, verdicts) == (4, ["block", "block", "allow"])


def test_an_empty_stream_is_allowed() -> None:
    assert stream([]) == (0, [])


def test_a_broken_policy_refuses_everything_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "10-bad.toml").write_text("# a comment\nx =\n")
    assert main(["check", "--policy", str(tmp_path), "uptime"]) == 4
    assert main(["test", "--policy", str(tmp_path)]) == 1
    assert main(["lint", "--policy", str(tmp_path)]) == 1
    assert "10-bad.toml:2" in capsys.readouterr().out


def test_a_folder_without_rules_refuses_everything(tmp_path: Path) -> None:
    assert main(["check", "--policy", str(tmp_path / "none"), "uptime"]) == 4


def test_the_shipped_rules_pass_their_own_tests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test"]) == 0
    assert main(["lint"]) == 0
    assert "examples hold" in capsys.readouterr().out


def test_help_answers_within_a_second() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "policy", "--help"], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - started < 1
    assert "examples:" in done.stdout


def test_another_process_gives_the_same_verdict_and_the_same_digest_of_the_program(
    ask: Callable[..., Verdict],
) -> None:
    """Hub and node are two processes: the canonical program and its digest are their contract."""
    texts = [*lines("benign.txt")[::3], "kill -TERM 4242", "rm -rf /"]
    _, answers = stream([json.dumps({"id": 0, "cmd": text}) for text in texts])
    for text, answer in zip(texts, answers, strict=True):
        here = ask(text, facts=Facts())
        assert answer["program"] == (here.program.digest if here.program else None), text
        assert (answer["verdict"], answer["policy"]) == (here.ruling.word, here.policy_digest), text
