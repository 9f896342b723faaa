"""Speed of the gate: reading, judging, the second reader, many lines at once, memory, loading."""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bashlex

from appliance.envelope import load_key, make_key
from policy.bundle import SHIPPED_RULES, check_examples, parse_bundle, read_folder
from policy.errors import CouldNotTellError
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.reader import read
from policy.rules import Bundle
from policy.signed import sign
from policy.source import Source, demand
from policy.worker import GuardedReader
from tests.bench.figures import Figure

HERE = Path(__file__).parents[1] / "policy"
ROUNDS = 10
STREAM = 20_000  # lines through `check --jsonl`


def measure() -> list[Figure]:
    """Every figure of the gate, over real command lines and commands that beat other gates."""
    bundle = parse_bundle(read_folder(SHIPPED_RULES))
    lines = real_lines()
    found = [*_one_line(bundle, lines), *_streams(lines), _memory(lines), _linear(bundle)]
    return [*found, *_load()]


def real_lines() -> list[str]:
    """Lines that bashlex answers within its time, so that all see the same."""
    texts = [
        line
        for file in ("commands.txt", "probes.txt")
        for line in (HERE / file).read_text().splitlines()
        if line and not line.startswith("## ")
    ]
    texts += [
        text
        for rule in parse_bundle(read_folder(SHIPPED_RULES)).commands.values()
        for text in rule.allow
    ]
    with GuardedReader() as worker:
        return [text for text in texts if _answered(worker, text)]


def _answered(worker: GuardedReader, text: str) -> bool:
    try:
        worker.argvs(text)
    except CouldNotTellError as error:
        return "time" not in str(error)
    return True


def _one_line(bundle: Bundle, lines: list[str]) -> list[Figure]:
    bare, bare_slow = _times(bashlex.parse, lines)
    strict, strict_slow = _times(read, lines)
    alone, alone_slow = _times(_judged(bundle, EchoReader()), lines)
    with GuardedReader() as worker:
        full, full_slow = _times(_judged(bundle, worker), lines)
    shfmt = _shfmt(lines[:40])
    peer: dict[str, Any] = {"peer": "bashlex.parse alone", "peer_value": bare}
    slow: dict[str, Any] = {"peer": "bashlex.parse alone", "peer_value": bare_slow}
    return [
        Figure(what="strict read, median", value=strict, unit="µs", **peer),
        Figure(what="strict read, p99", value=strict_slow, unit="µs", **slow),
        Figure(what="judge one line, median", value=alone, unit="µs", target="≤ 50", **peer),
        Figure(what="judge one line, p99", value=alone_slow, unit="µs", target="≤ 1000", **slow),
        Figure(what="judge with the second reader, median", value=full, unit="µs",
               target="≤ 500", **peer),
        Figure(what="judge with the second reader, p99", value=full_slow, unit="µs", **slow),
        Figure(what="judge with the second reader, median, beside a spawned parser", value=full,
               unit="µs", peer="shfmt --to-json, one process a line", peer_value=shfmt),
    ]  # fmt: skip


def _judged(bundle: Bundle, second: Any) -> Callable[[str], Any]:
    return lambda line: judge(line, bundle=bundle, facts=EXAMPLE_FACTS, second=second)


def _times(call: Callable[[str], Any], lines: list[str]) -> tuple[float, float]:
    """Median and 99th percentile, in microseconds; a refusal is an answer, too."""
    times = []
    for line in lines * ROUNDS:
        began = time.perf_counter()
        try:
            call(line)
        except Exception as error:  # noqa: BLE001  # bashlex raises nearly everything
            _ = error
        times.append(1e6 * (time.perf_counter() - began))
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def _shfmt(lines: list[str]) -> float | None:
    program = shutil.which("shfmt", path=str(Path(sys.executable).parent))
    if program is None:
        return None
    times = []
    for line in lines:
        began = time.perf_counter()
        subprocess.run(
            [program, "--to-json"], input=line.encode(), capture_output=True, check=False
        )
        times.append(1e6 * (time.perf_counter() - began))
    return statistics.median(times)


def _streams(lines: list[str]) -> list[Figure]:
    asked = [{"id": number, "cmd": lines[number % len(lines)]} for number in range(STREAM)]
    data = "".join(json.dumps(line) + "\n" for line in asked).encode()
    began = time.perf_counter()
    for line in data.splitlines():
        json.dumps({**json.loads(line), "verdict": "allow"})
    limit = STREAM / (time.perf_counter() - began)
    peer: dict[str, Any] = {"peer": "reading and writing the same JSON", "peer_value": limit}
    return [
        Figure(what="check --jsonl with the worker", value=_stream(data), unit="lines/s",
               target="≥ 2,000", **peer),
        Figure(what="check --jsonl without it", value=_stream(data, "--no-worker"), unit="lines/s",
               target="≥ 10,000", **peer),
    ]  # fmt: skip


def _stream(data: bytes, *options: str) -> float:
    """Lines per second of one process, without its start."""
    command = [sys.executable, "-m", "policy", "check", "--jsonl", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b'{"id":0,"cmd":"uptime"}\n')
        process.stdin.flush()
        process.stdout.readline()
        began = time.perf_counter()
        process.communicate(data)
        return STREAM / (time.perf_counter() - began)


def _memory(lines: list[str]) -> Figure:
    """The peak of a process that loaded the rules and judged everything once."""
    code = (
        "import sys\n"
        "from policy.bundle import parse_bundle, read_folder\n"
        "from policy.evaluate import EchoReader, judge\n"
        "from policy.facts import EXAMPLE_FACTS\n"
        "bundle = parse_bundle(read_folder())\n"
        "for line in sys.stdin.read().splitlines():\n"
        "    judge(line, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())\n"
    )
    return Figure(
        what="memory of the gate, peak", value=_peak(code, "\n".join(lines)), unit="MB",
        peer="an interpreter that does nothing", peer_value=_peak("", ""), target="≤ 30",
    )  # fmt: skip


def _peak(code: str, text: str) -> float:
    code += "\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def _linear(bundle: Bundle) -> Figure:
    """Four times the length should take four times as long."""
    word = "a" * 60
    short = "grep -e x " + " ".join(["/var/log/" + word] * 14)
    long = " | ".join([short] * 4)[:4096]
    call = _judged(bundle, EchoReader())
    quick, _ = _times(call, [short] * 20)
    slow, _ = _times(call, [long] * 20)
    return Figure(
        what=f"judge a line of {len(long)} characters", value=slow, unit="µs",
        peer=f"{len(long) / len(short):.1f} times one of {len(short)}",
        peer_value=quick * len(long) / len(short), target="ratio about 1",
    )  # fmt: skip


def _load() -> list[Figure]:
    files = read_folder(SHIPPED_RULES)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        parse_bundle(files)
        times.append(1e3 * (time.perf_counter() - began))
    began = time.perf_counter()
    for data in files.values():
        tomllib.loads(data.decode())
    toml = 1e3 * (time.perf_counter() - began)
    bundle = parse_bundle(files)
    count = check_examples(bundle)
    return [
        Figure(what=f"load {len(bundle.commands)} programs, {count} examples checked",
               value=statistics.median(times), unit="ms", peer="tomllib alone", peer_value=toml),
        Figure(what="load the same as a signed policy, signature and rules checked",
               value=_signed(files), unit="ms", peer="tomllib alone", peer_value=toml,
               target="≤ 100"),
    ]  # fmt: skip


def _signed(files: dict[str, bytes]) -> float:
    """A node's start: the signer's engine checked the examples, and it is the same engine."""
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as folder:
        make_key(Path(folder) / "policy.key")
        file, key = Path(folder) / "site.policy", Path(folder) / "policy.key"
        file.write_bytes(sign(files, sequence=1, key=load_key(key)))
        source = Source(policy=file, key=key.with_suffix(".pub"))
        times = []
        for _ in range(10):
            began = time.perf_counter()
            demand(source)
            times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)
