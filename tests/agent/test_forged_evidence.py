"""A hub that was taken over signs an order whose evidence says that nothing protects a process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.records import Outcome
from tests.attacks.forge import Forge

NAMED = """
import sys, time
open("/proc/self/comm", "w").write(sys.argv[1])
print(flush=True)
time.sleep(600)
"""


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    yield one
    one.journal.close()
    one.log.close()


@pytest.mark.parametrize("name", ["sshd", "postgres", "dbus-daemon"])
def test_forged_evidence_does_not_unprotect_what_keeps_the_host_alive(
    forge: Forge, name: str
) -> None:
    with subprocess.Popen([sys.executable, "-c", NAMED, name], stdout=subprocess.PIPE) as victim:
        try:
            assert victim.stdout is not None
            victim.stdout.readline()
            finding = forge.finding(victim.pid)
            report = forge.give(forge.order(finding, f"kill -TERM {victim.pid}"))
            assert report.outcome is Outcome.REFUSED
            assert report.refused_step == "9 facts"
            assert "protected" in report.reason
            assert report.steps == ()
            assert victim.poll() is None
        finally:
            victim.kill()
