"""What people see of a command while it runs: finished lines, redacted, bounded; a glimpse."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import live_output
from agent.execute import run_step
from agent.executor_socket import Client, Server
from agent.handover import Handover
from agent.live import MOST_SHOWN, Live
from agent.live_output import LiveOutput, finished_lines
from agent.plain import Plain
from agent.run_program import Output
from agent.spool import Spool
from agent.watch import Watch
from appliance.halt import Halt
from appliance.records import Outcome, Report
from tests.attacks.forge import Forge, wait_for
from tests.attacks.test_a_rollback import SLEEP, _with
from tests.executor.running import runnable

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n"


def printed(*parts: bytes) -> Output:
    output = Output()
    for one in parts:
        output.add(one)
    return output


def test_half_a_line_is_not_shown_for_it_may_be_half_a_secret() -> None:
    output = printed(b"begin\ntoken=gh")
    assert finished_lines(output) == "begin"
    output.add(b"p_0123456789012345678901234567890123456789\nend\n")
    assert finished_lines(output) == "begin\ntoken=[redacted]\nend"


def test_a_key_of_many_lines_is_not_shown_before_its_end_is_there() -> None:
    output = printed(b"here it comes\n", KEY.encode())
    assert "MIIEvQ" not in finished_lines(output)
    assert "kqhkiG" not in finished_lines(output)
    output.add(b"-----END PRIVATE KEY-----\nbye\n")
    assert finished_lines(output) == "here it comes\n[redacted]\nbye"


def test_what_is_cut_off_was_redacted_before() -> None:
    output = printed(KEY.encode(), b"A" * 60 + b"\n", b"x" * 63 + b"\n", *[b"MII\n"] * 2000)
    shown = finished_lines(output)
    assert len(shown) <= MOST_SHOWN
    assert "MII" not in shown


def test_control_characters_are_shown_not_kept() -> None:
    assert finished_lines(printed(b"\x1b[31mred\x07\n")) == "\\x1b[31mred\\x07"


def test_a_command_that_prints_without_end_is_looked_at_seldom_and_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_output, "LEAST_S", 0.25)
    told: list[Live | None] = []
    live = LiveOutput()
    live.tell = lambda: told.append(live.newest)
    ran = run_step(
        runnable("yes 0123456789"),
        timeout_s=1,
        place=Plain(),
        live=live.of("o1", 0, undoing=False),
    )
    assert ran.outcome is Outcome.TIMED_OUT
    assert 1 <= len(told) <= 4
    assert all(one and len(one.text) <= MOST_SHOWN and one.total for one in told)
    live.end()
    assert live.newest is None


def test_a_command_that_says_nothing_new_is_not_told_again(tmp_path: Path) -> None:
    told = []
    look = LiveOutput(lambda: told.append(1)).of("o1", 0, undoing=False)
    output = printed(b"one\n")
    deadline = live_output.time.monotonic() + 3 * live_output.LEAST_S
    while live_output.time.monotonic() < deadline:
        look(output)
    assert told == [1]


# From the executor's command to the agent ---------------------------------------------------------


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    one.trust.bundle = _with(tmp_path, "99-test.toml", SLEEP)
    yield one
    one.log.close()


@pytest.fixture
def client(forge: Forge, tmp_path: Path) -> Iterator[Client]:
    server = Server(tmp_path / "socket", forge.executor, agent_user=None)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield Client(tmp_path / "socket")
    server.stop()
    thread.join()


def test_the_agent_hears_what_runs_now_while_it_runs_and_the_report_is_as_ever(
    forge: Forge, client: Client, tmp_path: Path
) -> None:
    command = "echo password=hunter2 working; sleep 600"
    order = forge.order(forge.finding(os.getpid()), command)
    glimpses: list[Live] = []
    spool = Spool(tmp_path / "spool.db", limit_bytes=10**7)
    handover = Handover(client, spool, Watch(), taken=lambda _: None, live=glimpses.append)
    handover.start()
    reports: list[Report] = []
    running = threading.Thread(target=lambda: reports.append(forge.give(order)))
    running.start()
    wait_for(lambda: bool(glimpses), within_s=60)
    assert not reports  # it runs
    (first, *_) = glimpses
    assert (first.order_id, first.index, first.undoing) == (order.order_id, 0, False)
    assert first.text == "password=[redacted] working"
    book = (tmp_path / "state" / "journal.jsonl").read_text()
    assert "working" not in book  # no glimpse is a fact
    forge.executor.halt(Halt(halt_id="h", reason="enough"), by_root=True)
    running.join(60)
    (report,) = reports
    assert report.steps[0].output == "password=[redacted] working\n"
    assert report.signature
    assert forge.executor.state().live is None
    handover.stop()
    for thread in threading.enumerate():  # they use the spool, which is closed after this
        if thread.name in ("hand_over", "pass_on", "fetch"):
            thread.join(60)
    spool.close()
