"""Recorded commands: what the hub judged can be judged again under another policy."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hub.persist.database import Database
from hub.pipeline import Pipeline
from policy.__main__ import main as sentinel_policy
from policy.bundle import SHIPPED_RULES
from tests.hub.builders import NOW, PID, proposed
from tests.hub.test_approve import gate, pipeline

__all__ = ["gate", "pipeline"]
pytestmark = pytest.mark.postgres


def test_what_was_judged_can_be_judged_again_and_what_got_looser_is_named(
    database: Database,
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("hub.recorded._PAGE", 1)
    for _ in range(3):
        proposed(database, f"kill -TERM {PID}", "frobnicate --all")
        pipeline.turn(NOW)
    done = subprocess.run(
        [sys.executable, "-m", "hub", "commands", "--dsn", database.dsn],
        capture_output=True,
        check=True,
        timeout=60,
    )
    recorded = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["cmd"] for one in recorded] == [f"kill -TERM {PID}", "frobnicate --all"] * 3
    assert recorded[0]["facts"]["processes"][0]["pid"] == PID
    record = tmp_path / "commands.jsonl"
    record.write_bytes(done.stdout)

    new = tmp_path / "rules"
    shutil.copytree(SHIPPED_RULES, new)
    (new / "95-site.toml").write_text(
        '[[command]]\nname = "frobnicate"\npaths = ["/usr/bin/frobnicate"]\n'
        'flags = ["--all"]\nwhy = "frobnicates"\n'
    )
    replay = ["--commands", str(record), "--no-worker"]
    assert sentinel_policy(["replay", str(SHIPPED_RULES), str(new), *replay]) == 1
    out = capsys.readouterr().out
    assert out.count("LOOSER  review -> allow  frobnicate --all") == 3
    assert "6 commands: 3 looser, 0 tighter" in out
    assert sentinel_policy(["replay", str(SHIPPED_RULES), str(SHIPPED_RULES), *replay]) == 0
