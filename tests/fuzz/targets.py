"""What is fuzzed: each target takes any bytes and raises when a promise does not hold.

Imported under atheris' instrumentation. A target that returns has kept its promise; the fuzzer
itself watches for crashes, hangs (`-timeout`) and memory (`-rss_limit_mb`).
"""

import shlex
import time

from policy.bundle import bundle_or_refusal, parse_bundle, read_folder
from policy.cli.judging import _decode_line
from policy.errors import CouldNotTellError, PolicyError, SyntaxRefusedError
from policy.evaluate import EchoReader, judge
from policy.explain import explain
from policy.facts import EXAMPLE_FACTS
from policy.overlay import tightened
from policy.reader import Command, Program, read
from policy.verdict import Ruling
from policy.worker import LINE_SECONDS, GuardedReader

BUNDLE = parse_bundle(read_folder())
FIRST_RULE = next(iter(sorted(read_folder().items())))[1]
_WORKER = GuardedReader()


def reader(data: bytes) -> None:
    """Any text is a program or is refused; a program written plainly is the same program."""
    try:
        program = read(data.decode("utf-8", "surrogateescape"))
    except SyntaxRefusedError as refused:
        assert refused.span[0] <= refused.span[1]
        assert refused.hint
        return
    assert read(plainly(program)).canonical() == program.canonical()


def plainly(program: Program) -> str:
    """The program with every word quoted in the one way of the standard library."""
    lines = []
    for pipeline in program.pipelines:
        commands = " | ".join(_plain_command(command) for command in pipeline.commands)
        lines.append(f"{pipeline.join} {commands}" if pipeline.join else commands)
    return " ".join(lines)


def _plain_command(command: Command) -> str:
    streams = [" </dev/null"] if command.stdin == "null" else []
    if command.stderr == "out":
        streams.append(" 2>&1")
    if command.stdout == "null":
        streams.append(" >/dev/null")
    if command.stderr == "null":
        streams.append(" 2>/dev/null")
    return shlex.join(command.argv) + "".join(streams)


def verdict(data: bytes) -> None:
    """Any text gets a verdict with a reason, and an explanation that a terminal can show."""
    text = data.decode("utf-8", "surrogateescape")
    found = judge(text, bundle=BUNDLE, facts=EXAMPLE_FACTS, second=EchoReader())
    assert found.reasons
    assert all(reason.code != "internal" for reason in found.reasons)
    assert found.ruling is max(reason.ruling for reason in found.reasons)
    if found.ruling is Ruling.ALLOW:
        assert all(reason.code == "allowed" for reason in found.reasons)
    assert explain(found).replace("\n", "").isprintable()


def guarded(data: bytes) -> None:
    """bashlex may hang, crash or eat memory on any bytes; the answer comes in time anyway."""
    began = time.monotonic()
    try:
        _WORKER.argvs(data.decode("utf-8", "surrogateescape"))
    except CouldNotTellError:
        pass
    assert time.monotonic() - began < LINE_SECONDS + 2  # a new worker starts in between


def rules(data: bytes) -> None:
    """Any rule file beside the shipped ones is a policy or refuses everything with a line."""
    bundle = bundle_or_refusal({"10-any.toml": data})
    assert bundle.refusal or bundle.digest


def overlay(data: bytes) -> None:
    """Any overlay is refused with a line, or leaves a verdict at least as bad."""
    try:
        tight = tightened(BUNDLE, "overlay.toml", data)
    except PolicyError as error:
        assert error.line >= 0
        return
    for text in ("uptime", "rm -rf /", "kill -TERM 4242"):
        found = judge(text, bundle=tight, facts=EXAMPLE_FACTS, second=EchoReader())
        plain = judge(text, bundle=BUNDLE, facts=EXAMPLE_FACTS, second=EchoReader())
        assert found.ruling >= plain.ruling


def lines(data: bytes) -> None:
    """Any line on standard input is a question or a problem in words."""
    _, text, problem = _decode_line(data)
    assert isinstance(text, str)
    assert isinstance(problem, str)


TARGETS = {one.__name__: one for one in (reader, verdict, guarded, rules, overlay, lines)}
