"""One node's executor under watch, an honest order of two commands, and what must hold after."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SocketError
from appliance import envelope
from appliance.ids import uuid7
from appliance.records import Order, Outcome, Report
from policy.bundle import read_folder
from policy.signed import sign
from tests.attacks.forge import Forge, changed, wait_for
from tests.crash.power import Image, Loss, after_the_cut
from tests.crash.preload import Blow, Watched
from tests.crash.victims import Victim
from tests.executor.test_executor_process import ExecutorProcess

_NOT_RUN = (Outcome.REFUSED, Outcome.DRY_RUN)


@dataclass(slots=True, kw_only=True)
class Story:
    """One order on its way, and what its sender was told of it so far."""

    order: Order
    sealed: bytes
    before: tuple[int, ...]  # the victims' counts before it
    taken: bool = False  # the executor said that it has it
    report: Report | None = None
    confirmed: bool = False  # the executor knows that we have the report
    refusal: str = ""


@dataclass(slots=True, kw_only=True)
class World:
    """The executor, its two victims, and a hub's keys."""

    forge: Forge
    executor: ExecutorProcess
    watched: Watched
    victims: tuple[Victim, Victim]

    def start(self, blow: Blow | None = None) -> bool:
        """Start it; False when the blow ended it before it answered."""
        self.watched.forget()
        self.watched.disarm()
        if blow is not None:
            self.watched.arm(blow)
        try:
            self.executor.start()
        except AssertionError:
            if blow is None or not self.ended():
                raise
            return False
        return True

    def renew(self) -> None:
        """A node that has never seen an order: what a crash loses has no older version to hide."""
        self.stop()
        Image().put(self.watched.root)

    def ended(self) -> bool:
        """Whether the process is gone, and only then by the blow."""
        assert self.executor.process is not None
        code = self.executor.process.poll()
        if code is not None:
            assert self.watched.struck or code == -signal.SIGKILL, self.executor.log.read_text()
        return code is not None

    def story(self) -> Story:
        """An honest order of two commands, one for each victim."""
        finding = self.forge.finding(*(victim.pid for victim in self.victims))
        order = self.forge.order(finding, *(victim.command for victim in self.victims))
        return Story(order=order, sealed=self.forge.seal(order), before=self.counts())

    def counts(self) -> tuple[int, ...]:
        """How often each victim was signalled."""
        return tuple(victim.count() for victim in self.victims)

    def live(self, story: Story) -> None:
        """Hand the order over, wait for its report, confirm it; the process may die meanwhile."""
        try:
            if not story.taken and not story.refusal:
                answer = self.executor.client.submit(story.sealed)
                story.taken = bool(answer.order_id)
                story.refusal = answer.refused
            wait_for(lambda: self._reported(story) or self.ended(), within_s=20)
            if story.report is not None:
                self.executor.client.told(story.report.report_id)
                story.confirmed = True
        except SocketError:
            wait_for(self.ended, within_s=20)

    def stop(self) -> None:
        """SIGKILL, if it still runs."""
        if self.executor.process is not None:
            self.executor.kill()

    def losses(self, blow: Blow) -> Iterator[tuple[Loss, Image]]:
        """What a restart may find after this death; ways that differ in nothing are left out."""
        seen: list[Image] = []
        for loss in blow.losses:
            image = after_the_cut(self.watched.root, self.watched.shadow, loss)
            if image not in seen:
                seen.append(image)
                yield loss, image

    def aftermath(self, story: Story, blow: Blow) -> None:
        """In each world that the crash can leave: restart, go on, and look whether all holds."""
        self.stop()
        counts = self.counts()
        ran = tuple(now - then for now, then in zip(counts, story.before, strict=True))
        for loss, image in list(self.losses(blow)):
            image.put(self.watched.root)
            mine = Story(
                order=story.order,
                sealed=story.sealed,
                before=self.counts(),
                taken=story.taken,
                report=story.report,
                confirmed=story.confirmed,
            )
            try:
                self._go_on(mine, ran)
            except AssertionError as error:
                left = "\n".join(f"    {line}" for line in self.journal()[-6:])
                raise AssertionError(f"  after losing {loss.value}: {error}\n{left}") from error
            finally:
                self.stop()

    def journal(self) -> list[str]:
        """The journal's lines, shortened, for a complaint."""
        text = (self.watched.root / "journal.jsonl").read_text(errors="replace")
        return [line[:160] for line in text.splitlines()]

    def _go_on(self, story: Story, ran: tuple[int, ...]) -> None:
        told_before = story.report if story.confirmed else None
        if story.confirmed:
            story.report, story.confirmed = None, False
        first = story.report
        assert self.start(), "the journal does not open again"
        if told_before is None:
            self.live(story)
            demand(story, self._effects(story, ran))
            if first is not None:
                assert story.report == first, "the same order was reported in two ways"
        else:
            story.report = told_before
        self._demand_used_up(story, ran)
        self._demand_no_older_log(story, ran)

    def _demand_used_up(self, story: Story, ran: tuple[int, ...]) -> None:
        """Offered again, and once more under a new id, it runs nothing and tells nothing else."""
        effects = self._effects(story, ran)
        demand(story, effects)
        self.executor.client.submit(story.sealed)
        again = changed(story.order, order_id=uuid7())
        self.executor.client.submit(self.forge.seal(again))
        second = self.executor.report_on(again)
        assert second.refused_step == "5 once", f"a second order with its approval: {second}"
        self.executor.client.told(second.report_id)
        assert self._effects(story, ran) == effects, "it ran again"
        others = [one for one in self.executor.client.reports() if one != story.report]
        assert not others, f"another report: {others}"

    def _demand_no_older_log(self, story: Story, ran: tuple[int, ...]) -> None:
        """What ran was judged under a checkpoint: a log that is shorter than it is refused."""
        effects = self._effects(story, ran)
        if not any(effects):
            return
        finding, log = self.forge.finding(self.victims[0].pid), self.forge.new_log(uuid7())
        shown = self.forge.shown(finding, self.victims[0].command)
        approval = self.forge.approve(shown)
        logged = self.forge.record(shown, approval, log=log)
        log.close()
        order = self.forge.order(finding, shown=shown, approval=approval, logged=logged)
        self.executor.client.submit(self.forge.seal(order))
        report = self.executor.report_on(order)
        assert report.refused_step == "7 audit log", f"an older log was believed: {report}"
        self.executor.client.told(report.report_id)
        assert self._effects(story, ran) == effects, "it ran under an older log"

    def _effects(self, story: Story, ran: tuple[int, ...]) -> tuple[int, ...]:
        since = zip(self.counts(), story.before, ran, strict=True)
        return tuple(now - then + already for now, then, already in since)

    def _reported(self, story: Story) -> bool:
        reports = self.executor.client.reports(wait_s=0.2)
        mine = [one for one in reports if one.order_id == story.order.order_id]
        assert len(mine) <= 1, f"one order, several reports: {mine}"
        story.report = mine[0] if mine else story.report
        return story.report is not None


def demand(story: Story, effects: tuple[int, ...]) -> None:
    """At most once, in order, and never a silent one."""
    report = story.report
    assert report is not None, f"silent: the commands ran {effects} times, and no report"
    said = f"{report.outcome.value} ({report.refused_step}: {report.reason}), ran {effects} times"
    assert max(effects) <= 1, f"run twice: {said}"
    assert effects[1] <= effects[0], f"out of order: {said}"
    if any(effects):
        assert report.outcome not in _NOT_RUN, f"it ran and is told as not run: {said}"
    if report.outcome is Outcome.SUCCEEDED:
        assert effects == (1, 1), f"told as done and not done: {said}"


@contextmanager
def world(folder: Path, library: Path) -> Iterator[World]:
    """An executor in live mode with a signed policy, not yet started."""
    (folder / "hub").mkdir(parents=True)
    (folder / "node").mkdir()
    forge = Forge(folder / "hub")
    envelope.make_key(folder / "policy.key")
    key = envelope.load_key(folder / "policy.key")
    (folder / "site.policy").write_bytes(sign(read_folder(), sequence=1, key=key))
    policy = f'policy = "{folder}/site.policy"\npolicy_key = "{folder}/policy.pub"\n'
    executor = ExecutorProcess(folder / "node", forge, policy=policy)
    watched = Watched(library, executor.state, folder / "beside")
    executor.environment = watched.around()
    with Victim() as first, Victim() as second:
        one = World(forge=forge, executor=executor, watched=watched, victims=(first, second))
        try:
            yield one
        finally:
            one.stop()
            forge.log.close()
