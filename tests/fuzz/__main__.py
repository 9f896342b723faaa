"""Fuzz the gate with coverage guidance (atheris, libFuzzer): no crash, no hang, bounded memory.

python -m tests.fuzz [--seconds N] [TARGET …]     each target alone for N seconds, two at a time
python -m tests.fuzz --one TARGET [libFuzzer options]     one target, in this process
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAMES = ("reader", "verdict", "guarded", "rules", "overlay", "lines")
HERE = Path(__file__).parents[2]
WORK = HERE / "build" / "fuzz"
HANG_S = 5  # of one input, wall clock on a busy machine; the reader needs microseconds
MEMORY_MB = 600  # the instrumented interpreter and libFuzzer's own corpus


def main(argv: list[str]) -> int:
    """0 when no target found anything."""
    if argv[:1] == ["--one"]:
        _fuzz(argv[1], argv[2:])
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each target (default: 20)")
    parser.add_argument("targets", nargs="*", choices=[*NAMES, []], metavar="TARGET")
    asked = parser.parse_args(argv)
    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(lambda name: _run(name, asked.seconds), asked.targets or NAMES))
    return max(statuses)


def _run(name: str, seconds: int) -> int:
    seeds = WORK / name / "corpus"
    seeds.mkdir(parents=True, exist_ok=True)
    _plant(name, seeds)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz", "--one", name),
            *(f"-max_total_time={seconds}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}"),
            *("-max_len=6000", "-print_final_stats=1", f"-artifact_prefix={WORK / name}/"),
            str(seeds),
        ],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    stats = [line for line in done.stderr.splitlines() if line.startswith("stat::")]
    print(
        f"{name:8} {'ok' if done.returncode == 0 else 'FOUND'}  {'  '.join(stats[:2])}", flush=True
    )
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
    return done.returncode


def _plant(name: str, folder: Path) -> None:
    """Seeds: the probes and real command lines, or whole rule files."""
    tests = HERE / "tests" / "policy"
    if name in {"rules", "overlay"}:
        texts = [file.read_bytes()[:6000] for file in (HERE / "policy" / "rules.d").glob("*.toml")]
    else:
        texts = [
            line.encode()
            for file in ("probes.txt", "commands.txt")
            for line in (tests / file).read_text().splitlines()
        ]
    for number, text in enumerate(texts):
        (folder / f"seed-{number}").write_bytes(text)


def _fuzz(name: str, options: list[str]) -> None:
    import atheris  # only the fuzzing process needs it

    with atheris.instrument_imports(include=["policy"]):
        from tests.fuzz.targets import TARGETS  # instrumented on import

    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
