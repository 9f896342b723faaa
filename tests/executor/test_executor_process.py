"""The executor as a process: its socket, its journal, and SIGKILL at any moment."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.errors import JournalError, SocketError
from agent.execution_journal import ExecutionJournal
from agent.executor_socket import Client, send
from agent.log_proof import LogProof
from appliance import records
from appliance.records import Finding, Order, Outcome, Report, Shown
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader, judge
from policy.facts import Facts
from tests.attacks.forge import NODE, Forge, changed, wait_for


class ExecutorProcess:
    """`sentinel-executor` with the forge's public keys."""

    def __init__(self, folder: Path, forge: Forge, *, mode: str = "live", policy: str = "") -> None:
        self.state = folder / "executor"
        self.state.mkdir()
        self.socket = folder / "socket"
        self.config = folder / "executor.toml"
        public = forge.order_key.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        (folder / "order.pub").write_bytes(public)
        (folder / "log.vkey").write_text(forge.signer.vkey)
        (folder / "people.json").write_bytes(records.to_json(forge.trust.people))
        self.config.write_text(
            f'node = "{NODE}"\nsocket = "{self.socket}"\nstate_dir = "{self.state}"\n'
            f'order_key = "{folder}/order.pub"\naudit_vkey = "{folder}/log.vkey"\n'
            f'people = "{folder}/people.json"\nmode = "{mode}"\n{policy}'
        )
        self.log = folder / "executor.log"
        self.client = Client(self.socket)
        self.environment: dict[str, str] | None = None  # none: that of the test
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent.executor_process", "--config", str(self.config)],
                stdout=output,
                stderr=output,
                env=self.environment,
            )
        wait_for(self._answers, within_s=20)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def give(self, forge: Forge, order: Order) -> None:
        """Hand an order over with the proof from where this executor stands."""
        self.client.submit(forge.seal(order), self.proof(forge, order))

    def proof(self, forge: Forge, order: Order) -> LogProof:
        """The proof that an order needs from where this executor stands."""
        standing = self.client.witness().standing
        assert standing is not None
        return forge.proof(order, seen_size=standing.size)

    def report_on(self, order: Order) -> Report:
        found: list[Report] = []

        def told() -> bool:
            reports = self.client.reports(wait_s=1)
            found[:] = [one for one in reports if one.order_id == order.order_id]
            return bool(found)

        wait_for(told, within_s=20)
        return found[0]

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            self.client.reports()
        except SocketError:
            return False
        return True


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    (tmp_path / "hub").mkdir()
    one = Forge(tmp_path / "hub")
    yield one
    one.log.close()


@pytest.fixture
def executor(tmp_path: Path, forge: Forge) -> Iterator[ExecutorProcess]:
    one = ExecutorProcess(tmp_path, forge)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.kill()


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_an_order_goes_through_the_socket_and_its_report_stays_until_it_is_confirmed(
    executor: ExecutorProcess, forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    executor.start()
    order = forge.order(forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    assert executor.client.submit(forge.seal(order)).order_id == order.order_id
    report = executor.report_on(order)
    assert report.outcome is Outcome.SUCCEEDED
    assert victim.wait(5) == -15
    executor.kill()
    executor.start()
    assert executor.report_on(order) == report
    executor.client.told(report.report_id)
    assert executor.client.reports() == ()


def test_killed_while_a_command_runs_the_outcome_is_unknown_and_it_never_runs_again(
    tmp_path: Path, forge: Forge
) -> None:
    rules = _policy_that_allows_sleeping(tmp_path)
    forge.trust.bundle = rules.bundle
    executor = ExecutorProcess(tmp_path, forge, policy=f'policy = "{rules.folder}"\n')
    executor.start()
    finding = forge.finding()
    sleeps = "sleep 517"  # nobody else's: it is found by its words below
    shown = rules.shown(forge, finding, sleeps)
    order = forge.order(finding, shown=shown, timeout_s=60.0)
    executor.client.submit(forge.seal(order))
    book = executor.state / "journal.jsonl"
    wait_for(lambda: '"started"' in book.read_text())
    executor.kill()
    executor.start()
    report = executor.report_on(order)
    assert report.outcome is Outcome.UNKNOWN
    executor.client.submit(forge.seal(order))
    assert [one.order_id for one in executor.client.reports()] == [order.order_id]
    lines = [json.loads(line)["what"] for line in book.read_text().splitlines()]
    assert lines.count("started") == 1
    executor.kill()
    subprocess.run(["pkill", "-x", "-f", sleeps], check=False)


def test_killed_after_the_claim_and_before_the_first_command_nothing_has_run(
    executor: ExecutorProcess, forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    order = forge.order(forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    book = ExecutionJournal(executor.state / "journal.jsonl")
    forge.executor.journal = book
    forge.executor.submit(forge.seal(order))  # claimed; the worker never came
    book.close()
    executor.start()
    report = executor.report_on(order)
    assert report.outcome is Outcome.REFUSED
    assert "nothing was run" in report.reason
    executor.client.submit(forge.seal(order))
    assert victim.poll() is None


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    ExecutionJournal(path).close()
    path.write_bytes(b'{"at":"2026-01-01T00:00:00Z","what":"claimed","ord')
    book = ExecutionJournal(path)
    assert book.orders == set()
    assert path.read_bytes() == b""


def test_a_journal_that_was_altered_keeps_the_executor_from_starting(
    executor: ExecutorProcess,
) -> None:
    (executor.state / "journal.jsonl").write_text("nonsense\n")
    with pytest.raises(JournalError, match=r"journal\.jsonl:1"):
        ExecutionJournal(executor.state / "journal.jsonl")
    with pytest.raises(AssertionError, match="not a line of this journal"):
        executor.start()


def test_who_is_not_the_agent_is_refused_before_a_byte_is_read(
    executor: ExecutorProcess, tmp_path: Path
) -> None:
    if os.geteuid() != 0 or not Path("/usr/bin/python3").exists():
        pytest.skip("needs root, to be somebody else, and a Python that somebody else can run")
    executor.start()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    executor.socket.chmod(0o666)
    code = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
        "s.sendall(b'\\0\\0\\0\\2{}');sys.exit(0 if s.recv(1)==b'' else 1)"
    )
    path = str(executor.socket)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", code, path],
        check=False,
        capture_output=True,
    )
    assert done.returncode in (0, 1), done.stderr
    wait_for(lambda: "is not the agent" in executor.log.read_text())


@pytest.mark.parametrize(
    "frame", [b"", b"{}", b"\xff" * 10, b'{"ask":"submit"}', b'{"ask":"submit","envelope":"!"}']
)
def test_nonsense_on_the_socket_changes_nothing(executor: ExecutorProcess, frame: bytes) -> None:
    executor.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(executor.socket))
        send(connection, frame)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        assert connection.recv(1) == b""
    assert executor.client.reports() == ()
    assert not (executor.state / "journal.jsonl").read_bytes()


def test_sigterm_ends_it_cleanly(executor: ExecutorProcess) -> None:
    executor.start()
    assert executor.process is not None
    executor.process.send_signal(signal.SIGTERM)
    assert executor.process.wait(10) == 0
    assert not executor.socket.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text + "surprise = 1\n", "surprise: unknown key"),
        (lambda text: text.replace('mode = "live"', 'mode = "perhaps"'), "mode"),
        (lambda text: text.replace("log.vkey", "absent.vkey"), "absent.vkey"),
        (lambda text: text.replace("order.pub", "absent.pub"), "absent.pub"),
    ],
)
def test_wrong_settings_are_one_clear_line(
    executor: ExecutorProcess, change: Callable[[str], str], words: str
) -> None:
    executor.config.write_text(change(executor.config.read_text()))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "agent.executor_process",
            "--config",
            str(executor.config),
            "--check-config",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_default_is_dry_run(
    executor: ExecutorProcess, forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    executor.config.write_text(executor.config.read_text().replace('mode = "live"\n', ""))
    executor.start()
    order = forge.order(forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    executor.client.submit(forge.seal(order))
    assert executor.report_on(order).outcome is Outcome.DRY_RUN
    assert victim.poll() is None


class _Rules:
    """A policy of its own, on both sides, that allows one harmless long command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = parse_bundle(read_folder(folder))

    def shown(self, forge: Forge, finding: Finding, command: str) -> Shown:
        verdict = judge(command, bundle=self.bundle, facts=Facts(), second=EchoReader())
        assert verdict.program is not None
        shown = forge.shown(finding, "uptime")
        program = verdict.program
        step = changed(
            shown.steps[0], command=command, program_digest=program.digest, argv=program.argvs
        )
        return changed(shown, steps=(step,))


def _policy_that_allows_sleeping(tmp_path: Path) -> _Rules:
    folder = tmp_path / "rules"
    shutil.copytree(SHIPPED_RULES, folder)
    (folder / "99-test.toml").write_text(
        '[[command]]\nname = "sleep"\npaths = ["/usr/bin/sleep"]\nstyle = "gnu"\n'
        'operands = ["int(0..600)"]\neffect = "read"\n'
        'why = "waits"\nallow = ["sleep 1", "sleep 2", "sleep 3"]\n'
        'deny = [["sleep x", "bad-value"], ["sleep", "missing-operand"], '
        '["sleep -x", "unknown-option"]]\n'
    )
    return _Rules(folder)
