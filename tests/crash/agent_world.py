"""One agent under watch, between a hub and a real executor, and what must hold whatever struck it.

The agent (`sentinel-agent run`) finds that a process is too large, tells the hub, hands the order
that comes for it to the executor, tells the report, and tells the end of the condition when the
process is gone. The hub here acknowledges what it was told and offers an order until it is taken.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from agent import status
from agent.errors import ProbeError
from appliance.records import Cleared, Event, Finding, Order, Outcome, Report
from tests.agent.certificates import Authority
from tests.agent.hub_double import HubDouble
from tests.attacks.forge import NODE, Forge
from tests.crash.power import Image, Loss, after_the_cut
from tests.crash.preload import Blow, Watched
from tests.crash.victims import Victim
from tests.executor.test_executor_process import ExecutorProcess

WITHIN_S = 40
_NAMES = count(1)


class AgentProcess:
    """`sentinel-agent run` with the crash tool, started again when it has died."""

    def __init__(
        self, folder: Path, hub: int, executor: Path, authority: Authority, library: Path
    ) -> None:
        identity = authority.issue(folder / "identity", uri=f"spiffe://sentinel/node/{NODE}")
        self.state = folder / "state"
        self.state.mkdir()
        self._folder = folder
        self._head = (
            f'hub = "127.0.0.1:{hub}"\nhub_name = "localhost"\nstate_dir = "{self.state}"\n'
            f'executor_socket = "{executor}"\ncycle_s = 0.2\nfire_after = 1\nclear_after = 1\n'
            f'[identity]\ncertificate = "{identity.certificate}"\nkey = "{identity.key}"\n'
            f'ca = "{identity.ca}"\n'
        )
        self.watched = Watched(library, self.state, folder / "beside")
        self.process: subprocess.Popen[bytes] | None = None

    def look_at(self, name: str) -> None:
        """Find processes of this name too large, and nothing else on a busy machine."""
        (self._folder / "agent.toml").write_text(
            f"{self._head}[limits]\nhost_memory_percent = 100\ndisk_percent = 100\n"
            "inodes_percent = 100\ncpu_percent = 100\nload_per_cpu = 10000\n"
            f'leak_growth_mb = 100000\nprocess_memory_mb = {{ "{name}" = 1 }}\n'
        )

    def start(self) -> None:
        with (self._folder / "agent.log").open("ab") as output:
            words = ["run", "--config", str(self._folder / "agent.toml")]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent", *words],
                stdout=output,
                stderr=output,
                env=self.watched.around(),
            )

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return (self._folder / "agent.log").read_text()


@dataclass(slots=True, kw_only=True)
class World:
    """The agent, its hub and its executor."""

    forge: Forge
    hub: HubDouble
    executor: ExecutorProcess
    agent: AgentProcess

    def live(self, blow: Blow | None = None) -> None:
        """One finding, order, report and recovery, with a blow and what it loses on the way."""
        loss = blow.loss if blow else Loss.NOTHING
        self.agent.stop()
        Image().put(self.agent.state)
        name = f"victim-{next(_NAMES)}"
        self.agent.look_at(name)
        self._begin(blow)
        with Victim(name) as victim:
            finding = self._until(lambda: self._of(Finding, about=victim), loss)
            order = self.forge.order(finding, victim.command)
            self.hub.order(order.order_id, self.forge.seal(order))
            report = self._until(lambda: self._of(Report, about=order), loss)
            self._until(lambda: order.order_id in self.hub.taken, loss)
            assert report.outcome is Outcome.SUCCEEDED
            assert victim.count() == 1
        ended = self._until(lambda: self._of(Cleared, about=finding), loss)
        assert ended.order_id == order.order_id, "the end is not ascribed to the order"
        self._until(self._all_told, loss)
        self.demand(finding, order)

    def demand(self, finding: Finding, order: Order) -> None:
        """Each thing was told, under one id each, and the spool was never given up."""
        told = {event.event_id: event.body for event in self.hub.events}
        about = [getattr(body, "finding_id", "") == finding.finding_id for body in told.values()]
        reports = {body.report_id for body in told.values() if isinstance(body, Report)}
        mine = [one for one in self.hub.events if getattr(one.body, "order_id", "") ==
                order.order_id and isinstance(one.body, Report)]  # fmt: skip
        assert sum(about) == 2, f"a finding and its end, told in {sum(about)} events"
        assert len({one.event_id for one in mine}) == 1, f"one report under several ids: {reports}"
        assert not list(self.agent.state.glob("*damaged*")), "the spool was given up"

    def _begin(self, blow: Blow | None) -> None:
        self.hub.events.clear()
        self.agent.watched.forget()
        self.agent.watched.disarm()
        if blow is not None:
            self.agent.watched.arm(blow)
        self.agent.start()

    def _of(self, kind: type, *, about: Victim | Order | Finding) -> object:
        for event in list(self.hub.events):
            body = event.body
            if isinstance(body, kind) and _is_about(event, about):
                return body
        return None

    def _all_told(self) -> bool:
        try:
            return status.read(self.agent.state).waiting == 0
        except ProbeError:  # it was not there to be read, or the crash took it
            return False

    def _until(self, found: "Callable[[], object]", loss: Loss) -> "object":
        """Look until there is an answer; a dead agent is started again on what the loss left."""
        deadline = time.monotonic() + WITHIN_S
        while not (answer := found()):
            if not self.agent.runs:
                watched = self.agent.watched
                after_the_cut(watched.root, watched.shadow, loss).put(watched.root)
                watched.forget()
                self.agent.start()
            if time.monotonic() > deadline:
                said = "\n".join(f"    {line}" for line in self.agent.said().splitlines()[-6:])
                raise AssertionError(f"it did not come to pass\n{said}")
            time.sleep(0.03)
        return answer


def _is_about(event: Event, about: Victim | Order | Finding) -> bool:
    body = event.body
    if isinstance(about, Victim):
        return isinstance(body, Finding) and f"pid {about.pid} " in body.subject
    if isinstance(about, Order):
        return isinstance(body, Report) and body.order_id == about.order_id
    return isinstance(body, Cleared) and body.finding_id == about.finding_id


@contextmanager
def world(folder: Path, library: Path) -> Iterator[World]:
    """A hub that answers and an executor that runs; the agent is started by `live`."""
    for name in ("hub", "node", "agent"):
        (folder / name).mkdir(parents=True)
    authority = Authority()
    forge = Forge(folder / "hub")
    executor = ExecutorProcess(folder / "node", forge)
    executor.start()
    with HubDouble(authority.issue(folder / "id", uri="spiffe://sentinel/hub")) as hub:
        agent = AgentProcess(folder / "agent", hub.port, executor.socket, authority, library)
        try:
            yield World(forge=forge, hub=hub, executor=executor, agent=agent)
        finally:
            agent.stop()
            executor.kill()
            forge.log.close()
