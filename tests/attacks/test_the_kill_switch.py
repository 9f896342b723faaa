"""The kill switch: anybody may stop a node; to let it go on takes root there, or an administrator.

The adversary is a hub that was taken over, an agent's account, and a disk that was written to.
"""

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.errors import OrderRefusedError
from agent.halts import MOST_IN_FORCE, Halts
from appliance.envelope import key_id
from appliance.halt import Halt, Resumption, to_be_signed
from appliance.ids import uuid7
from appliance.people import KeyCredential, People, Person, statement
from appliance.records import KeySignature, Outcome, digest_of, to_json
from tests.attacks.forge import Forge, changed, wait_for
from tests.attacks.test_a_rollback import SLEEP, _with, nice, slower
from tests.executor.test_executor_process import ExecutorProcess

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HALT = Halt(halt_id="h1", reason="a hub that acts strangely")
ADMIN, OPERATOR, OTHER = (Ed25519PrivateKey.generate() for _ in range(3))


def credential(key: Ed25519PrivateKey) -> KeyCredential:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return KeyCredential(
        credential_id=key_id(key.public_key()), public_key=base64.b64encode(raw).decode()
    )


PEOPLE = People(
    persons=(
        Person(name="ada", role="admin", credentials=(credential(ADMIN),)),
        Person(name="otto", role="operator", credentials=(credential(OPERATOR),)),
    )
)


def signed(
    halt: Halt = HALT, *, by: str = "ada", key: Ed25519PrivateKey = ADMIN, **changes: object
) -> bytes:
    """A resumption as an administrator makes it on a terminal, or nearly so."""
    signature = base64.b64encode(key.sign(to_be_signed(halt, by))).decode()
    made = Resumption(
        halt_id=halt.halt_id,
        operator=by,
        signature=KeySignature(credential_id=key_id(key.public_key()), signature=signature),
    )
    return to_json(changed(made, **changes))


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    (tmp_path / "hub").mkdir()
    one = Forge(tmp_path / "hub")
    known = one.trust.people.persons if one.trust.people else ()
    one.trust.people = changed(PEOPLE, persons=(*known, *PEOPLE.persons))
    yield one
    one.log.close()


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def halted(forge: Forge, *halts: Halt) -> bytes:
    """The node is halted by the hub; what its file says."""
    for one in halts or (HALT,):
        forge.executor.halt(one, by_root=False)
    assert forge.executor.state().halted
    return (forge.folder / "state" / "halted.json").read_bytes()


def still_halted(forge: Forge, before: bytes, data: bytes, step: str) -> None:
    """The resumption is refused at this step, and nothing changed."""
    with pytest.raises(OrderRefusedError) as error:
        forge.executor.resume(data)
    assert error.value.step == step, error.value
    assert forge.executor.state().halted
    assert (forge.folder / "state" / "halted.json").read_bytes() == before


def test_a_halted_node_runs_nothing_and_what_it_refused_does_not_run_later(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    halted(forge)
    order = forge.order(forge.finding(victim.pid), slower(victim))
    report = forge.give(order)
    assert (report.outcome, report.refused_step) == (Outcome.REFUSED, "0 halted")
    assert HALT.reason in report.reason
    forge.executor.resume(signed())
    assert not forge.executor.state().halted
    assert forge.work(lambda: forge.executor.submit(forge.seal(order))) == []
    assert nice(victim) == 0
    again = forge.order(forge.finding(victim.pid), slower(victim))
    assert forge.give(again).outcome is Outcome.SUCCEEDED


def test_a_halt_kills_the_command_that_runs_and_no_other_is_started(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    forge.trust.bundle = _with(forge.folder, "99-test.toml", SLEEP)
    order = forge.order(forge.finding(victim.pid), "sleep 60", slower(victim))
    thread = threading.Thread(target=lambda: told.append(forge.give(order)))
    told: list = []
    thread.start()
    book = forge.folder / "state" / "journal.jsonl"
    wait_for(lambda: '"started"' in book.read_text())
    forge.executor.halt(HALT, by_root=False)
    thread.join(60)
    (report,) = told
    assert report.outcome is Outcome.FAILED
    assert "killed" in report.reason
    assert HALT.reason in report.reason
    assert report.steps[0].exit_status is None
    assert nice(victim) == 0


def test_an_administrators_signature_lifts_exactly_the_halt_it_is_over(forge: Forge) -> None:
    second = Halt(halt_id="h2", reason=HALT.reason)
    halted(forge, HALT, second)
    forge.executor.resume(signed())
    assert forge.executor.state().halted
    forge.executor.resume(signed(second))
    assert not forge.executor.state().halted


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[]", b"x" * 9000, signed() + b"x"])
def test_a_resumption_that_is_none_lifts_nothing(forge: Forge, data: bytes) -> None:
    still_halted(forge, halted(forge), data, "resume 1 form")


def test_the_hub_alone_lifts_nothing(forge: Forge) -> None:
    """It has the order key, the TLS key and the database; it does not have Ada's key."""
    before = halted(forge)
    for data, step in {
        signed(key=forge.order_key): "resume 4 key",
        signed(key=OTHER): "resume 4 key",
        signed(by="mallory", key=OTHER): "resume 3 person",
        signed(by="otto", key=OPERATOR): "resume 3 person",  # an operator, not an administrator
        signed(by="ada", key=OPERATOR): "resume 4 key",
        signed(operator="otto"): "resume 3 person",
        signed(Halt(halt_id="h1", reason="another reason")): "resume 5 signature",
        signed(Halt(halt_id="h2", reason=HALT.reason), halt_id="h1"): "resume 5 signature",
        signed(Halt(halt_id="h3", reason=HALT.reason)): "resume 2 halt",
    }.items():
        still_halted(forge, before, data, step)


def test_adas_yes_to_a_plan_does_not_lift_a_halt(forge: Forge) -> None:
    yes = ADMIN.sign(statement("approve", operator="ada", digest=digest_of(HALT)))
    signature = KeySignature(
        credential_id=key_id(ADMIN.public_key()), signature=base64.b64encode(yes).decode()
    )
    still_halted(forge, halted(forge), signed(signature=signature), "resume 5 signature")


def test_an_old_resumption_is_not_good_for_a_halt_that_has_its_id_again(forge: Forge) -> None:
    halted(forge)
    forge.executor.resume(signed())
    forge.executor.halt(HALT, by_root=False)  # a hub that says the old halt again stops nothing
    assert not forge.executor.state().halted
    fresh = Halt(halt_id="h2", reason=HALT.reason)
    before = halted(forge, fresh)
    still_halted(forge, before, signed(), "resume 2 halt")


def test_a_node_that_knows_no_people_is_resumed_by_root_only(forge: Forge) -> None:
    forge.trust.people = None
    still_halted(forge, halted(forge), signed(), "resume 3 person")
    forge.executor.resume_here()
    assert not forge.executor.state().halted


def test_a_halt_made_on_the_node_is_not_lifted_from_outside(forge: Forge) -> None:
    forge.executor.halt(HALT, by_root=True)
    before = (forge.folder / "state" / "halted.json").read_bytes()
    still_halted(forge, before, signed(), "resume 2 halt")


def test_a_halt_outlives_every_restart(forge: Forge, victim: "subprocess.Popen[bytes]") -> None:
    halted(forge)
    forge.halts = Halts(forge.folder / "state" / "halted.json")
    forge.restart()
    report = forge.give(forge.order(forge.finding(victim.pid), slower(victim)))
    assert report.refused_step == "0 halted"
    assert nice(victim) == 0


@pytest.mark.parametrize("data", [b"", b"{}x", b"\0" * 30, b'{"in_force":[{}]}'])
def test_a_file_of_halts_that_cannot_be_read_is_a_halt(
    forge: Forge, victim: "subprocess.Popen[bytes]", data: bytes
) -> None:
    (forge.folder / "state" / "halted.json").write_bytes(data)
    report = forge.give(forge.order(forge.finding(victim.pid), slower(victim)))
    assert report.refused_step == "0 halted"
    assert nice(victim) == 0
    forge.executor.resume_here()
    assert not forge.executor.state().halted


def test_a_hub_that_halts_without_end_fills_no_disk(forge: Forge) -> None:
    for _ in range(MOST_IN_FORCE + 20):
        forge.executor.halt(Halt(halt_id=uuid7(), reason="x" * 500), by_root=False)
    assert len(forge.halts.in_force) == MOST_IN_FORCE


def test_an_order_whose_id_may_have_been_forgotten_does_not_run_when_the_clock_is_set_back(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    order = forge.order(forge.finding(victim.pid), slower(victim))
    forge.journal.forgot_until = order.shown.not_after + timedelta(seconds=1)
    report = forge.give(order)
    assert report.refused_step == "5 once"
    assert nice(victim) == 0


# The real process and its command ----------------------------------------------------------------


@pytest.fixture
def executor(tmp_path: Path, forge: Forge) -> Iterator[ExecutorProcess]:
    one = ExecutorProcess(tmp_path, forge)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.kill()


def command(executor: ExecutorProcess, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "agent.executor_process", "--config", str(executor.config), *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_root_halts_and_resumes_a_running_executor(
    executor: ExecutorProcess, forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    executor.start()
    assert command(executor, "status").returncode == 0
    assert command(executor, "halt", "--reason", "maintenance").returncode == 0
    told = command(executor, "status")
    assert told.returncode == 1
    assert "maintenance" in told.stdout
    order = forge.order(forge.finding(victim.pid), slower(victim))
    executor.client.submit(forge.seal(order))
    assert executor.report_on(order).refused_step == "0 halted"
    assert command(executor, "resume").returncode == 0
    assert command(executor, "status").returncode == 0
    assert nice(victim) == 0


def test_root_halts_an_executor_that_does_not_run_and_it_starts_halted(
    executor: ExecutorProcess, forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    assert command(executor, "status").returncode == 2
    assert command(executor, "halt", "--reason", "no trust").returncode == 0
    assert command(executor, "status").returncode == 1
    executor.start()
    assert executor.client.news().halt_reason == "no trust"
    order = forge.order(forge.finding(victim.pid), slower(victim))
    executor.client.submit(forge.seal(order))
    assert executor.report_on(order).refused_step == "0 halted"
    assert nice(victim) == 0


def test_a_halt_through_the_socket_is_on_disk_before_it_is_answered(
    executor: ExecutorProcess, forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    executor.start()
    executor.client.halt(HALT)
    executor.kill()
    executor.start()
    assert executor.client.news().halted
    otto = signed(by="otto", key=OPERATOR)
    assert "resume 3 person" in executor.client.halt(HALT, resume=otto).refused
    assert executor.client.news().halted


def test_the_agents_account_may_halt_and_may_not_resume(
    executor: ExecutorProcess, tmp_path: Path
) -> None:
    if os.geteuid() != 0 or not Path("/usr/bin/python3").exists():
        pytest.skip("needs root, to be somebody else, and a Python that somebody else can run")
    executor.config.write_text(executor.config.read_text() + 'agent_user = "nobody"\n')
    executor.start()
    executor.client.halt_here(HALT)
    executor.socket.chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    code = (
        "import socket,sys,struct;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
        "d=sys.argv[2].encode();s.sendall(struct.pack('>I',len(d))+d);print(s.recv(4096))"
    )
    for act in ("resume", "halt", "state"):
        question = f'{{"ask":"here","act":"{act}"}}'
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", code,
             str(executor.socket), question],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert "only root on this node" in done.stdout, done.stderr
    assert executor.client.news().halted


def test_the_nodes_keys_are_shown_and_stay_the_same(executor: ExecutorProcess) -> None:
    first, second = (command(executor, "--show-keys").stdout for _ in range(2))
    assert first == second
    assert "result  " in first
    executor.start()
    assert executor.client.news().result_key in first
