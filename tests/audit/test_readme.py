"""The page is true: its bytes verify, its recipe runs, its help is the real one."""

import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import get_args

import pytest

from audit import proof
from audit.__main__ import main
from audit.exported import Kind
from tests.audit import example

README = (Path(__file__).parents[2] / "audit" / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
TEXTS = [text for kind, text in BLOCKS if kind == "text"]
(SEGMENT,) = (text for kind, text in BLOCKS if kind == "jsonl")
(RECIPE,) = (text for kind, text in BLOCKS if kind == "bash")
NOTE, VKEY, PROOF, HELP = TEXTS
TOOLS = ("bash", "basenc", "sha256sum", "openssl", "jq")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder as a reader would type it from the page."""
    (tmp_path / "seg").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "seg/000000000000.jsonl").write_text(SEGMENT)
    (tmp_path / "checkpoints/000000000000.notes").write_text(f"{NOTE}\n")
    (tmp_path / "checkpoint").write_text(NOTE)
    (tmp_path / "log.vkey").write_text(VKEY)
    return tmp_path


def by_hand(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", RECIPE],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"},
    )


def test_the_example_is_byte_for_byte_what_the_code_writes() -> None:
    assert SEGMENT.encode() == example.SEGMENT
    assert NOTE == example.NOTE
    assert VKEY.strip() == example.VKEY


def test_the_example_verifies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder), "--vkey", example.VKEY]) == 0
    assert main(["prove", str(folder), "2"]) == 0
    assert capsys.readouterr().out.endswith(PROOF)
    assert proof.verify_inclusion(PROOF, example.LINES[2], example.VKEY).actor.id == "maria"


@pytest.mark.skipif(not all(map(which, TOOLS)), reason=f"needs {TOOLS}")
def test_the_recipe_for_the_shell_says_yes_and_to_every_change_no(folder: Path) -> None:
    done = by_hand(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("4 entries, all there and as signed\n")
    segment, checkpoint = folder / "seg/000000000000.jsonl", folder / "checkpoint"
    lines = SEGMENT.splitlines(keepends=True)
    for changed in (
        SEGMENT.replace("maria", "mario"),
        SEGMENT.replace('"resolved"', '"\\u0072esolved"', 1),
        "".join(lines[:3]),
        "".join([lines[0], lines[2], lines[1], lines[3]]),
    ):
        segment.write_text(changed)
        assert by_hand(folder).returncode != 0
    segment.write_text(SEGMENT)
    checkpoint.write_text(NOTE.replace("\n4\n", "\n3\n"))
    assert by_hand(folder).returncode != 0
    flipped = NOTE[:-10] + ("A" if NOTE[-10] != "A" else "B") + NOTE[-9:]
    checkpoint.write_text(flipped)
    assert by_hand(folder).returncode != 0


def test_the_help_in_the_text_is_the_real_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "audit", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.stdout == HELP


def test_every_kept_file_says_what_if_it_is_lost_or_altered() -> None:
    table = README.split("| file | if lost | if altered |")[1].split("\n\n")[0]
    for name in ("seg/N.jsonl", "seg/N.root", "checkpoint", "checkpoints/N.notes", "torn/ID.bin"):
        assert f"| `{name}` |" in table
    assert "| `log.vkey` |" in table
    assert "| `lock` |" in table


@pytest.mark.parametrize("command", ["export", "report"])
def test_every_option_of_an_export_in_the_text_is_a_real_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = README.split("## Exports")[1].split("| kind |")[0]
    part = usage.split("sentinel-audit ")[1 if command == "export" else 2]
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = capsys.readouterr().out
    assert re.findall(r"--[a-z-]+", part)
    for option in re.findall(r"--[a-z-]+", part):
        assert f"{option} " in said, option


def test_every_kind_of_export_is_in_the_text() -> None:
    for name in get_args(Kind):
        assert re.search(rf"^\| {name} \(", README, re.MULTILINE), name
    assert proof.HEADER in README
