"""A real agent, a real executor, and a hub that was taken over: what it sends is not believed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.belief import FILE
from agent.executor_socket import Client
from appliance.wire import sentinel_pb2 as pb
from tests.agent.certificates import Authority
from tests.agent.hub_double import HubDouble
from tests.attacks.forge import NODE, wait_for
from tests.trust.signers import Signers, packed, state_of

pytestmark = pytest.mark.journey


class TakenOver(HubDouble):
    """Has the hub's certificate, its online key, and everything that was ever signed."""

    def __init__(self, identity: Any) -> None:
        self.held: list[pb.TrustHeld] = []
        super().__init__(identity)

    def _take(self, message: pb.FromAgent, out: Any) -> None:
        if message.WhichOneof("of") == "trust_held":
            self.held.append(message.trust_held)
        else:
            super()._take(message, out)

    def send(self, files: dict[str, bytes]) -> pb.TrustHeld:
        """Send a set; what the node says of it."""
        before = len(self.held)
        for out in self._outs:
            out.put(pb.FromHub(trust=pb.TrustBundle(files=packed(files))))
        assert self.wait(lambda: len(self.held) > before, within_s=60)
        return self.held[-1]


@pytest.fixture
def signers() -> Signers:
    return Signers(at=datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def hub(tmp_path: Path, signers: Signers) -> Iterator[TakenOver]:
    """The hub, and a node of two real processes that is connected to it."""
    authority = Authority()
    folder = tmp_path / "node"
    (folder / "state").mkdir(parents=True)
    (folder / "root.json").write_bytes(signers.roots[1])
    identity = authority.issue(
        tmp_path / "pki-node", uri=f"spiffe://sentinel/node/{NODE}", dns="n1"
    )
    server = authority.issue(tmp_path / "pki-hub", uri="spiffe://sentinel/hub")
    (folder / "executor.toml").write_text(
        f'node = "{NODE}"\nsocket = "{folder}/socket"\nstate_dir = "{folder}/state"\n'
        f'trust_root = "{folder}/root.json"\nmode = "live"\n'
    )
    with ExitStack() as stack:
        double = stack.enter_context(TakenOver(server))
        (folder / "agent.toml").write_text(
            f'hub = "127.0.0.1:{double.port}"\nhub_name = "localhost"\n'
            f'state_dir = "{folder}/agent"\nexecutor_socket = "{folder}/socket"\n'
            f'[identity]\ncertificate = "{identity.certificate}"\nkey = "{identity.key}"\n'
            f'ca = "{identity.ca}"\n'
        )
        for name, words in (("executor", ["agent.executor_process"]), ("agent", ["agent", "run"])):
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", *words, "--config", str(folder / f"{name}.toml")],
                stdout=log,
                stderr=log,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        assert double.wait(lambda: bool(double.held), within_s=60)
        yield double


def test_a_hub_that_was_taken_over_can_only_send_what_signers_signed(
    hub: TakenOver, signers: Signers, tmp_path: Path
) -> None:
    state = tmp_path / "node" / "state"
    assert dict(hub.held[0].versions) == {}
    assert "nothing is believed yet" in hub.held[0].refusal
    assert hub.send(signers.signed_set(2, by=("anna",))).refusal
    assert not (state / FILE).exists()
    first = hub.send(signers.signed_set(2))
    assert (first.refusal, first.versions["targets"]) == ("", 2)
    before = state_of(state)
    for files, because in (
        (signers.signed_set(1, snapshot=9, timestamp=9), "Expected targets.json version"),
        (signers.signed_set(3, by=("anna",)), "signed by 1/2 keys"),
        (signers.signed_set(3, days=-1), "targets is expired"),
        ({**signers.signed_set(3), "people.json": b"{}"}, "not the file that signers named"),
        ({"evil.json": b"x"}, "no file of signed trust"),
    ):
        said = hub.send(files)
        assert because in said.refusal
        assert said.versions["targets"] == 2
        assert state_of(state) == before
    assert hub.send(signers.signed_set(3)).versions["targets"] == 3


def test_a_node_says_again_on_a_new_stream_what_it_believes(
    hub: TakenOver, signers: Signers, tmp_path: Path
) -> None:
    assert hub.send(signers.signed_set(1)).versions["targets"] == 1
    before = len(hub.held)
    hub.drop_streams()
    assert hub.wait(lambda: len(hub.held) > before, within_s=60)
    assert dict(hub.held[-1].versions) == {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}


def test_the_status_of_the_agent_says_that_trust_has_ended(
    hub: TakenOver, signers: Signers, tmp_path: Path
) -> None:
    folder = tmp_path / "node"
    soon = signers.at - timedelta(days=7) + timedelta(seconds=25)
    assert hub.send(signers.signed_set(1, online_at=soon)).versions["targets"] == 1
    client = Client(folder / "socket")
    wait_for(lambda: "trust expired" in client.believe({}).trouble, within_s=60)
    before = len(hub.held)
    hub.drop_streams()  # the next stream says what is so now; else it is said within a minute
    assert hub.wait(lambda: len(hub.held) > before, within_s=60)
    assert "trust expired: snapshot ended" in hub.held[-1].refusal

    def told() -> bool:
        done = subprocess.run(
            [sys.executable, "-m", "agent", "status", "--config", str(folder / "agent.toml")],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 1 and "trust     trust expired" in done.stdout

    wait_for(told, within_s=60)
