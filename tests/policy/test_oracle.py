"""The strict reader against bash itself, which logs argument vectors and executes nothing.

bash gets a PATH without programs and no builtins that a line could reach; its hook for unknown
commands writes the words to a log. The strings use letters that name no file on any host. Every
line that the reader accepts must give the same words, in the same connectors. `make prove` asks
about a million strings (SENTINEL_ORACLE_STRINGS); an ordinary run about a few thousand.
"""

import math
import os
import random
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.errors import SyntaxRefusedError
from policy.reader import Program, read

STRINGS = int(os.environ.get("SENTINEL_ORACLE_STRINGS", "2500"))
BATCH = 250
PARTS = 8  # so that the processors share the work

PRELUDE = """\
exec 9>>"$1"
command_not_found_handle() {{ enable printf; printf '%s\\0' "$I" "$#" "$@" >&9; return $S; }}
enable -n echo printf test [ kill pwd true false
PATH=/nonexistent
"""

PLAIN = [
    *"qxz021,@%+^}_/",
    "-q",
    "--zx=q",
    "q.z",
    "/q",
    "q/x",
    "q=z",
    "q:z",
    "q~",
    "q#z",
    "q-",
]
QUOTED = ["''", '""', "'q x'", '"q x"', "'\\'", '"\\\\"', '"\\q"', '"\\$"', "'$q'", "'#'", '"~"']
ESCAPED = [
    "\\ ",
    "\\q",
    "\\\\",
    "\\'",
    '\\"',
    "\\$",
    "\\#",
    "\\~",
    "\\{",
    "\\*",
    "\\;",
    "\\!",
    "\\=",
]
JOINS = [" | ", " && ", " || ", "; ", "|", "&&", "||", ";", " ;"]
NULLS = [" 2>&1", " >/dev/null", " 2>/dev/null", " </dev/null", " &>/dev/null", " > /dev/null"]
ODD = [*"~#=}{$`*?[]!()<>&'\"\\;|^%", "q=", "~/", ":~", "=~", "'#", "2>", "{q,x}", "$'", "(("]


def random_line(dice: random.Random) -> str:
    """Mostly words and connectors of the language, now and then a piece that does not belong."""
    pieces = []
    for _ in range(dice.randint(1, 9)):
        roll = dice.random()
        if roll < 0.50:
            pieces.append(dice.choice(PLAIN))
        elif roll < 0.64:
            pieces.append(dice.choice(QUOTED))
        elif roll < 0.74:
            pieces.append(dice.choice(ESCAPED))
        elif roll < 0.82:
            pieces.append(dice.choice(JOINS))
        elif roll < 0.86:
            pieces.append(dice.choice(NULLS))
        elif roll < 0.92:
            pieces.append(dice.choice(ODD))
        if dice.random() < 0.55:
            pieces.append(" ")
    return "".join(pieces)


def accepted(lines: list[str]) -> list[tuple[str, Program]]:
    """Lines the reader accepts, without those that name a program by a path (bash would run it)."""
    found = []
    for line in lines:
        try:
            program = read(line)
        except SyntaxRefusedError:
            continue
        if not any("/" in argv[0] for argv in program.argvs):
            found.append((line, program))
    return found


def expected(program: Program, status: int) -> Counter[tuple[str, ...]]:
    """The commands that run when each of them leaves with this status."""
    found: Counter[tuple[str, ...]] = Counter()
    last = 0
    for line in program.pipelines:
        if (line.join == "&&" and last) or (line.join == "||" and not last):
            continue
        found.update(command.argv for command in line.commands)
        last = status
    return found


def run_by_bash(lines: list[str], folder: Path) -> dict[int, Counter[tuple[str, ...]]]:
    """What bash would run for each line, first with every command succeeding, then failing."""
    log, script = folder / "log", folder / "script"
    log.write_bytes(b"")
    body = [PRELUDE.format()]
    for number, line in enumerate(lines):
        body += [f"S=0 I={2 * number}", line, f"S=1 I={2 * number + 1}", line]
    script.write_text("\n".join(body) + "\n")
    subprocess.run(
        ["/bin/bash", "--norc", "--noprofile", str(script), str(log)],
        cwd=folder,
        env={"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    return parse_log(log.read_bytes())


def parse_log(data: bytes) -> dict[int, Counter[tuple[str, ...]]]:
    fields = [field.decode() for field in data.split(b"\0")]
    seen: dict[int, Counter[tuple[str, ...]]] = {}
    at = 0
    while at + 1 < len(fields):
        number, count = int(fields[at]), int(fields[at + 1])
        seen.setdefault(number, Counter())[tuple(fields[at + 2 : at + 2 + count])] += 1
        at += 2 + count
    return seen


def mismatches(lines: list[str], folder: Path) -> list[tuple[str, object, object]]:
    pairs = accepted(lines)
    seen = run_by_bash([line for line, _ in pairs], folder)
    wrong: list[tuple[str, object, object]] = []
    for number, (line, program) in enumerate(pairs):
        for status in (0, 1):
            want, got = expected(program, status), seen.get(2 * number + status, Counter())
            if want != got:
                wrong.append((line, want, got))
    return wrong


@settings(
    max_examples=max(1, math.ceil(STRINGS / BATCH / PARTS)),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS))
@given(seed=st.integers(min_value=0, max_value=2**63))
def test_bash_and_the_reader_see_the_same_words(part: int, seed: int) -> None:
    dice = random.Random(seed * PARTS + part)
    lines = [random_line(dice) for _ in range(BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        assert mismatches(lines, Path(folder)) == []


def test_the_oracle_notices_a_wrong_reading(tmp_path: Path) -> None:
    seen = run_by_bash(["x a{b,c}", "x 'a b' && y", "x || y | z"], tmp_path)
    assert seen[0] == Counter({("x", "ab", "ac"): 1})
    assert seen[2] == Counter({("x", "a b"): 1, ("y",): 1})
    assert seen[3] == Counter({("x", "a b"): 1})
    assert seen[5] == Counter({("x",): 1, ("y",): 1, ("z",): 1})


def test_the_oracle_compares_enough_lines() -> None:
    dice = random.Random(7)
    lines = [random_line(dice) for _ in range(1000)]
    assert len(accepted(lines)) > 250


def test_real_command_lines_are_read_as_bash_reads_them(tmp_path: Path) -> None:
    lines = (Path(__file__).parent / "commands.txt").read_text().splitlines()
    assert len(accepted(lines)) > 40
    assert mismatches(lines, tmp_path) == []
