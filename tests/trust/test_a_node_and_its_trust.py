"""What a node does with what it believes, and without it: no trust, no action."""

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agent import belief as belief_module
from agent import believe
from agent.belief import FILE, Keeper
from agent.errors import JournalError, OrderRefusedError
from agent.latest import Latest
from agent.trust import load_trust
from appliance import trust_files
from appliance.errors import SettingsError
from appliance.records import Mode, Outcome
from appliance.trust_files import POLICY
from policy import signed
from policy.bundle import read_folder
from policy.evaluate import EchoReader
from tests.attacks.forge import Forge, shipped
from tests.policy.test_overlay import ask, corpus, overlays
from tests.trust.signers import Signers, packed, settings, state_of


@cache
def rules() -> bytes:
    return signed.payload(read_folder(), sequence=1)


class Node:
    """A forge's node that takes its trust from these signers; time stands where the test says."""

    def __init__(self, folder: Path, *, at: datetime | None = None) -> None:
        self.folder, self.forge = folder, Forge(folder)
        self.signers = Signers(
            at=at or datetime.now(UTC).replace(microsecond=0),
            order_key=self.forge.order_key,
            audit_key=self.forge.audit_key,
            operators=tuple(self.forge.operators),
        )
        self.settings = settings_for(folder, self.signers)
        self.executor = self.forge.executor
        self.restart()

    def restart(self) -> None:
        trust = load_trust(self.settings, EchoReader())
        self.forge.trust = self.executor.trust = trust

    def send(self, version: int, **changes: object) -> str:
        """The hub sends a version; why it was not taken, or nothing."""
        files = self.signers.targets(version, **{POLICY: rules()})
        offered = packed(self.signers.signed_set(version, files=files, **changes))
        return self.executor.believe(offered).refusal


def settings_for(folder: Path, signers: Signers, **changes: object) -> object:
    (folder / "state").mkdir(exist_ok=True)
    return settings(folder, signers.roots[1], **changes)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["/usr/bin/sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_node_that_believes_nothing_yet_refuses_every_order(
    node: Node, victim: "subprocess.Popen[bytes]"
) -> None:
    order = node.forge.order(node.forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    before = state_of(node.folder / "state")
    with pytest.raises(OrderRefusedError) as refused:
        node.executor.submit(node.forge.seal(order))
    assert refused.value.step == "0 trust"
    assert "no signed trust has come" in refused.value.because
    assert victim.poll() is None
    assert {name: data for name, data in state_of(node.folder / "state").items()
            if name != "latest.json"} == before  # fmt: skip


def test_what_is_believed_lets_an_honest_order_run(
    node: Node, victim: "subprocess.Popen[bytes]"
) -> None:
    assert node.send(1) == ""
    assert node.executor.trust.people is not None
    assert node.executor.trust.people.persons[0].name == "person-1"
    order = node.forge.order(node.forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    assert node.forge.give(order).outcome is Outcome.SUCCEEDED
    assert victim.wait(5) == -15


def test_a_refused_set_leaves_orders_running_under_the_old_one(
    node: Node, victim: "subprocess.Popen[bytes]"
) -> None:
    assert node.send(1) == ""
    digest = node.executor.trust.bundle.digest
    assert "signed by 1/2 keys" in node.send(2, by=("anna",))
    held = node.executor.believe({})
    assert (held.versions["targets"], held.trouble) == (1, "")
    assert node.executor.trust.bundle.digest == digest
    order = node.forge.order(node.forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    assert node.forge.give(order).outcome is Outcome.SUCCEEDED


def test_expired_trust_runs_nothing_live_and_the_node_says_so(
    tmp_path: Path, victim: "subprocess.Popen[bytes]"
) -> None:
    """The set was in time when it came, and nothing newer came since: a freeze."""
    node = Node(tmp_path, at=datetime.now(UTC).replace(microsecond=0) - timedelta(days=8))
    keeper = node.executor.trust.keeper
    assert keeper is not None
    files = node.signers.targets(1, **{POLICY: rules()})
    offered = packed(node.signers.signed_set(1, files=files))
    node.executor.trust.take(keeper.offer(offered, now=node.signers.at))
    assert "trust expired: snapshot ended" in node.executor.believe({}).trouble
    order = node.forge.order(node.forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    report = node.forge.give(order)
    assert (report.outcome, report.refused_step) == (Outcome.REFUSED, "0 trust")
    assert "trust expired" in report.reason
    assert victim.poll() is None
    finding = node.forge.finding(victim.pid)
    rehearsal = node.forge.shown(finding, f"kill -TERM {victim.pid}", mode=Mode.DRY_RUN)
    assert node.forge.give(node.forge.order(finding, shown=rehearsal)).outcome is Outcome.DRY_RUN
    assert victim.poll() is None
    assert node.send(2, online_at=datetime.now(UTC)) == ""  # what thaws it
    again = node.forge.order(node.forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    assert node.forge.give(again).outcome is Outcome.SUCCEEDED


def test_a_clock_that_is_set_back_makes_nothing_valid_again(tmp_path: Path) -> None:
    signers = Signers()
    now = signers.at
    (tmp_path / "state").mkdir()
    (tmp_path / "root.json").write_bytes(signers.roots[1])

    def keeper() -> Keeper:
        latest = Latest(tmp_path / "state" / "latest.json")
        return Keeper(tmp_path / "root.json", tmp_path / "state", overlay=None, latest=latest)

    first = keeper()
    believed = first.offer(packed(signers.signed_set(1)), now=now)
    assert not believed.belief.expired(first.now(now))
    assert believed.belief.expired(first.now(now + timedelta(days=8)))
    assert believed.belief.expired(first.now(now))  # set back, in the same run
    second = keeper()
    kept = second.load()
    assert kept is not None
    assert kept.belief.expired(second.now(now))  # and over a restart
    stale = packed(signers.signed_set(2))  # good by the clock that was set back
    with pytest.raises(Exception, match="expired"):
        second.offer(stale, now=now)


def test_after_a_restart_the_node_believes_what_it_believed(node: Node) -> None:
    assert node.send(1) == ""
    believed = node.executor.trust.believed
    node.restart()
    assert node.executor.trust.believed is not None
    assert believed is not None
    assert node.executor.trust.believed.belief == believed.belief
    assert node.executor.trust.bundle.digest == shipped().digest


def test_a_damaged_file_stops_the_start_and_another_root_believes_none_of_it(node: Node) -> None:
    assert node.send(1) == ""
    kept = node.folder / "state" / FILE
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    with pytest.raises(JournalError, match="kept trust cannot be read"):
        node.restart()
    kept.write_bytes(whole)
    (node.folder / "root.json").write_bytes(Signers().roots[1])
    node.restart()
    assert node.executor.trust.believed is None
    assert "what was kept is not believed" in node.executor.believe({}).trouble


def test_a_bit_of_what_is_kept_cannot_be_changed(node: Node) -> None:
    """The folder belongs to root; whoever changes it all the same has to sign like anybody."""
    assert node.send(1) == ""
    kept = node.folder / "state" / FILE
    record = belief_module._read(kept)
    assert record is not None
    people = trust_files.unpack("people.json", record.files["people.json"])
    forged = people.replace(b"person-1", b"person-X")
    assert forged != people
    files = {**record.files, "people.json": trust_files.pack(forged)}
    kept.write_bytes(msgspec.msgpack.encode(trust_files.Kept(at=record.at, files=files)))
    node.restart()
    assert node.executor.trust.people is None
    assert "not the file that signers named" in node.executor.believe({}).trouble


def test_a_full_disk_leaves_the_old_set_in_force(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node.send(1) == ""
    before = state_of(node.folder / "state")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left on device" in node.send(2)
    after = state_of(node.folder / "state")
    after.pop("trust.new")
    assert after == before
    assert node.executor.believe({}).versions["targets"] == 1
    assert node.send(2) == ""


@pytest.mark.parametrize("name", ["order_key", "audit_vkey", "policy", "policy_key"])
def test_a_file_beside_signed_trust_stops_the_start(tmp_path: Path, name: str) -> None:
    chosen = settings_for(tmp_path, Signers(), **{name: tmp_path / "x"})
    with pytest.raises(SettingsError, match=f"{name}: with trust_root it comes as signed trust"):
        load_trust(chosen, EchoReader())


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_pinned_root_that_others_can_change_stops_the_start(tmp_path: Path, mode: int) -> None:
    chosen = settings_for(tmp_path, Signers())
    (tmp_path / "root.json").chmod(mode)
    with pytest.raises(SettingsError, match="can be changed by others than root"):
        load_trust(chosen, EchoReader())


def test_without_any_source_of_trust_the_start_is_stopped(tmp_path: Path) -> None:
    chosen = settings_for(tmp_path, Signers(), trust_root=None)
    with pytest.raises(SettingsError, match="expected trust_root, or order_key and audit_vkey"):
        load_trust(chosen, EchoReader())


@pytest.mark.parametrize("dies_at", range(1, 9))
def test_a_crash_at_any_write_leaves_the_old_set_or_the_new_one(
    tmp_path: Path, dies_at: int
) -> None:
    """A real process is gone at its n-th call that writes; the next start finds one whole set."""
    signers = Signers()
    (tmp_path / "state").mkdir()
    (tmp_path / "root.json").write_bytes(signers.roots[1])

    def keeper() -> Keeper:
        latest = Latest(tmp_path / "state" / "latest.json")
        return Keeper(tmp_path / "root.json", tmp_path / "state", overlay=None, latest=latest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(belief_module.aside, "ask", lambda _, question: believe.answer(question))
        keeper().offer(packed(signers.signed_set(1)), now=signers.at)
        offered = packed(signers.signed_set(2))
        pid = os.fork()
        if pid == 0:
            try:
                _die_at(dies_at)
                later = signers.at + timedelta(hours=1)  # so that the clock's mark is written too
                one = keeper()
                one.load()
                one.offer(offered, now=later)
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        found = keeper().load()
    assert found is not None
    assert found.belief.versions["targets"] in (1, 2)
    assert found.people.persons[0].name == f"person-{found.belief.versions['targets']}"
    if os.waitstatus_to_exitcode(status) == 0:
        assert found.belief.versions["targets"] == 2


def _die_at(count: int) -> None:
    left = [count]

    def counted(call):
        def inner(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return call(*args, **kwargs)

        return inner

    for name in ("open", "fsync", "write"):
        setattr(os, name, counted(getattr(os, name)))
    Path.replace = counted(Path.replace)  # type: ignore[method-assign]


def test_an_order_is_judged_by_one_set_while_the_next_one_comes(
    node: Node, victim: "subprocess.Popen[bytes]"
) -> None:
    """The set that comes in the middle of a check waits until the check is over."""
    assert node.send(1) == ""
    inside, go_on = threading.Event(), threading.Event()
    trust = node.executor.trust
    seen: list[str] = []

    class Slow:
        def hidden(self, text: str) -> tuple[str, ...]:
            return ()

        def argvs(self, text: str) -> tuple[tuple[str, ...], ...]:
            seen.append(trust.bundle.digest)
            inside.set()
            assert go_on.wait(20)
            seen.append(trust.bundle.digest)
            return EchoReader().argvs(text)

    trust.second = Slow()
    order = node.forge.order(node.forge.finding(victim.pid), f"kill -TERM {victim.pid}")
    judging = threading.Thread(target=node.forge.give, args=(order,))
    judging.start()
    assert inside.wait(20)
    files = node.signers.targets(2)  # rules that know no `kill`
    believing = threading.Thread(
        target=node.executor.believe, args=(packed(node.signers.signed_set(2, files=files)),)
    )
    believing.start()
    keeper = trust.keeper
    assert keeper is not None
    while keeper._last is None or keeper._last.in_force.sequence == 1:  # verified and kept …
        believing.join(0.05)
    assert trust.bundle.digest == shipped().digest  # … and not in force before the check is over
    go_on.set()
    judging.join(20)
    believing.join(20)
    # Where the new set was in force before the start, the order was judged again, wholly by it.
    again = [trust.bundle.digest] * (len(seen) - 2)
    assert seen == [shipped().digest] * 2 + again
    assert trust.bundle.digest != shipped().digest


@hypothesis_settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_overlay_of_the_node_loosens_the_policy_that_signers_signed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder, signers = tmp_path_factory.mktemp("overlay"), Signers()
    (folder / "state").mkdir()
    (folder / "root.json").write_bytes(signers.roots[1])
    overlay = folder / "overlay.toml"
    broken = st.sampled_from([b"[[allow]]\nnames = ['rm']\n", b"\xff"])
    overlay.write_bytes(data.draw(st.one_of(overlays(shipped()), broken)))
    files = packed(signers.signed_set(1, files=signers.targets(1, **{POLICY: rules()})))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(belief_module.aside, "ask", lambda _, question: believe.answer(question))
        latest = Latest(folder / "state" / "latest.json")
        keeper = Keeper(folder / "root.json", folder / "state", overlay=overlay, latest=latest)
        bundle = keeper.offer(files, now=signers.at).bundle
    for text in corpus()[:: data.draw(st.integers(7, 19))]:
        assert ask(bundle, text).ruling >= ask(shipped(), text).ruling, text
