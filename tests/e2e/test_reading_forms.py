"""Every reading form whose program the host has ends in its sandbox as it does outside of it."""

import json
from pathlib import Path

import pytest

from agent.command_limits import CommandLimits
from agent.sandbox import sandbox
from agent.units import properties
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.rules import Bundle
from policy.verdict import Effect
from tests.e2e.host import Host
from tests.e2e.orders import Orders

# `pgrep -f` sees the whole command line of systemd-run, which waits for it, and the word in it.
OTHERWISE = ("pgrep ",)
MOST_OF_A_FORM = 2


def examples(bundle: Bundle) -> list[dict[str, object]]:
    """A few examples of each reading form, with what their unit would have."""
    found: list[dict[str, object]] = []
    count: dict[str, int] = {}
    for text in [text for command in bundle.commands.values() for text in command.allow]:
        verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
        command = verdict.commands[0]
        count[command.rule] = count.get(command.rule, 0) + 1
        if (
            len(verdict.commands) > 1
            or verdict.effect != Effect.READ.word
            or count[command.rule] > MOST_OF_A_FORM
            or text.startswith(OTHERWISE)
        ):
            continue
        granted = sandbox(command.needs, command.writes)
        found.append({
            "text": text,
            "argv": command.argv,
            "paths": command.paths,
            "properties": properties(granted, CommandLimits(), version=252),
        })  # fmt: skip
    return found


@pytest.mark.timeout(900)
def test_no_sandbox_breaks_what_only_reads(host: Host, orders: Orders) -> None:
    host.write("/root/compare.py", Path(__file__).with_name("compare.py").read_text())
    lines = "".join(json.dumps(one) + "\n" for one in examples(orders.bundle))
    host.write("/root/examples.jsonl", lines)
    said = host.sh("python3.11 /root/compare.py < /root/examples.jsonl").splitlines()
    differ, tried = [json.loads(line) for line in said[:-1]], json.loads(said[-1])
    assert tried > 250
    assert differ == []
