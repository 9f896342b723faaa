"""The adversary has a revoked key of the log, or its key without Vault's. The node says no."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import log_keys
from agent.executor_settings import ExecutorSettings
from agent.log_proof import NO_PROOF
from appliance.errors import SettingsError
from appliance.records import Outcome
from audit.counting import parse_keys
from audit.epochs import EpochList, certify
from audit.signer import PinnedKeys
from hub.segments import IndexedState, SegmentLog
from tests.attacks.forge import ORIGIN, Forge
from tests.attacks.test_a_log_that_forks import order_on
from tests.audit.builders import signer
from tests.audit.epoch_log import OTHER_ROOT, ROOT, list_of
from tests.audit.test_epochs import revoked_at
from tests.audit.test_points import LOW_ORDER, vkey_of

SECOND = signer(79, name=f"{ORIGIN}/second")
THIEF = signer(80, name=ORIGIN)


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    one = Forge(tmp_path)
    yield one
    one.log.close()


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def seconded(forge: Forge) -> SegmentLog:
    """A log that Vault signs, too."""
    return SegmentLog.open(
        forge.folder / "seconded",
        origin=ORIGIN,
        signer=PinnedKeys(forge.signer, SECOND),
        indexed=IndexedState(),
        next_inc_seq=lambda _: 0,
    )


@pytest.mark.parametrize(
    "line",
    [
        "{mine} upto 1\n{thief}",
        "{mine}\nsecond {second}",
        "{mine} with {second}",
        "{thief}",
    ],
)
def test_an_order_whose_checkpoint_does_not_count_runs_nothing(
    line: str, forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    text = line.format(mine=forge.signer.vkey, thief=THIEF.vkey, second=SECOND.vkey)
    forge.trust.audit_keys = parse_keys(text)
    order = order_on(forge, forge.log, victim)
    report = forge.give(order)
    assert report.outcome is Outcome.REFUSED
    assert victim.poll() is None
    assert forge.trust.seen is None
    assert not (forge.folder / "state" / "checkpoint.json").exists()


def test_an_order_that_vault_signed_too_runs(
    forge: Forge, victim: "subprocess.Popen[bytes]"
) -> None:
    forge.trust.audit_keys = parse_keys(f"{forge.signer.vkey}\nsecond {SECOND.vkey}\n")
    log = seconded(forge)
    report = forge.give(order_on(forge, log, victim))
    log.close()
    assert report.outcome is Outcome.SUCCEEDED
    assert victim.wait(timeout=30) != 0


def test_a_checkpoint_without_the_second_signature_is_not_cosigned(forge: Forge) -> None:
    forge.trust.audit_keys = parse_keys(f"{forge.signer.vkey}\nsecond {SECOND.vkey}\n")
    standing = forge.executor.witness(forge.log.checkpoint(), NO_PROOF)
    assert "lacks a signature" in standing.refusal
    assert standing.size == 0
    assert not standing.cosignature
    log = seconded(forge)
    standing = forge.executor.witness(log.checkpoint(), NO_PROOF)
    log.close()
    assert (standing.refusal, standing.size) == ("", 1)
    assert standing.cosignature


# What was installed on the node


def settings(folder: Path, keys: str, epochs: EpochList | None = None) -> ExecutorSettings:
    (folder / "log.vkey").write_text(keys)
    if epochs is not None:
        (folder / "epochs.note").write_text(certify(epochs, ROOT))
    return ExecutorSettings(
        node="h1.test",
        socket=folder / "socket",
        state_dir=folder,
        audit_vkey=folder / "log.vkey",
        audit_epochs=None if epochs is None else folder / "epochs.note",
    )


def test_a_file_pins_several_keys_and_a_second(tmp_path: Path) -> None:
    text = f"# of the log\n{signer(1).vkey} upto 9\n{signer(2).vkey}\nsecond {ROOT.vkey}\n"
    found = log_keys.load(settings(tmp_path, text), checking=False)
    assert found == parse_keys(text)


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_file_with_a_key_for_everybody_stops_the_start(point: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"log\.vkey"):
        log_keys.load(settings(tmp_path, vkey_of(bytes.fromhex(point))), checking=False)


def test_a_pinned_root_says_which_keys_count_and_a_list_is_never_taken_back(tmp_path: Path) -> None:
    old = list_of(3)
    new, _ = revoked_at(1, 5, old)
    first = log_keys.load(settings(tmp_path, ROOT.vkey, old), checking=False)
    assert first is not None
    assert [one.trusted_size for one in first.keys] == [None, None, None]
    memory = (tmp_path / "epochs.json").read_bytes()
    log_keys.load(settings(tmp_path, ROOT.vkey, new), checking=True)  # only looks
    assert (tmp_path / "epochs.json").read_bytes() == memory
    second = log_keys.load(settings(tmp_path, ROOT.vkey, new), checking=False)
    assert second is not None
    assert [one.trusted_size for one in second.keys[:3]] == [None, 5, 5]
    memory = (tmp_path / "epochs.json").read_bytes()
    with pytest.raises(SettingsError, match="older"):
        log_keys.load(settings(tmp_path, ROOT.vkey, old), checking=False)
    assert (tmp_path / "epochs.json").read_bytes() == memory


def test_a_list_of_another_root_or_without_its_root_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot use the list of epochs"):
        log_keys.load(settings(tmp_path, OTHER_ROOT.vkey, list_of(2)), checking=False)
    assert not (tmp_path / "epochs.json").exists()
    alone = ExecutorSettings(
        node="h1.test", socket=tmp_path, state_dir=tmp_path, audit_epochs=tmp_path / "epochs.note"
    )
    with pytest.raises(SettingsError, match="expected audit_vkey"):
        log_keys.load(alone, checking=False)
