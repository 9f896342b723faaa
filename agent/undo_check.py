"""Whether a rollback runs: numbered checks on an order that ran here and did not help.

The agent asks for it and is not believed: the order, its plan and its rulings come from what was
kept when the order was claimed. No new approval is needed and none is taken: people approved the
rollback with the plan. Nothing is run here.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from agent import order_check
from agent.errors import OrderRefusedError
from agent.execution_journal import ExecutionJournal, Past
from agent.moment import Moment
from agent.order_check import Runnable, StartedTicks
from agent.order_store import OrderStore
from agent.trust import Trust
from appliance import records
from appliance.records import Mode, Order, Outcome
from policy.evidence import facts_of
from policy.windows import is_open

ENDED = frozenset({Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT})
"""Outcomes after which it is known what ran; after `outcome_unknown` only a person can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What of a plan is taken back: the commands in the order in which they run, and the rest."""

    order: Order
    steps: tuple[Runnable, ...]
    by_hand: tuple[str, ...]  # sentences about steps that are not taken back by themselves


def demand_ran(order_id: str, journal: ExecutionJournal) -> Past:
    """Checks 1 and 2, before the rollback is used up: there is something to take back."""
    # 1. the order is in our journal, and something of it ran here
    # 2. what came of it is known
    past = journal.pasts.get(order_id)
    if past is None or not past.claimed:
        raise OrderRefusedError("undo 1 order", "this node never took such an order")
    if past.outcome is None:
        raise OrderRefusedError("undo 2 outcome", "the order has not ended yet")
    if not past.started:
        raise OrderRefusedError("undo 1 order", "nothing of this order ran here")
    if past.outcome not in ENDED:
        raise OrderRefusedError("undo 2 outcome", f"what came of it is {past.outcome.value}")
    if not past.kept:
        raise OrderRefusedError("undo 1 order", "its plan has no rollback that runs by itself")
    return past


def demand_in_time(past: Past, *, within_s: float, now: Moment) -> None:
    """Check 4: the order ended a short while ago, by the kernel's clock."""
    age_s = now.age_s(past.ended) if past.ended else float("inf")
    if age_s > within_s:
        raise OrderRefusedError(
            "undo 4 time",
            f"the order ended {age_s:.0f} s ago, a rollback begins within {within_s:g} s",
        )


def check(
    past: Past,
    store: OrderStore,
    trust: Trust,
    *,
    now: datetime,
    boot_id: str,
    started: StartedTicks,
    left: Collection[int] | None = None,
) -> Rollback:
    """Checks 5 to 9; check 3, that it was never begun before, is the claim in the journal.

    `left` are the commands that were not taken back yet, where some were.
    """
    # 5. what was kept is the order that ran   7. our policy allows it now, read the same way
    # 6. this rollback was shown and approved  8. the host is as it was
    #                                          9. the programs are the system's own
    order = _kept(past, store, trust)  # 5
    _approved(order)  # 6
    facts = facts_of(order.finding, change_window_open=is_open(trust.bundle.windows, now))
    with _as_undo("8 facts"):
        order_check.demand_same_host(order, trust, boot_id=boot_id)  # 8
    steps, by_hand = [], []
    for index in reversed(_begun(past, order)):
        if left is not None and index not in left:
            continue
        step = order.shown.steps[index]
        with _as_undo("7 policy"):
            verdict = order_check.judge_undo(step, trust, facts)  # 7
        if verdict is None:
            by_hand.append(_by_hand(index, step.undo))
            continue
        with _as_undo("8 facts"):  # a refusal of check 10 keeps its own name
            steps.append(
                order_check.runnable(index, verdict, order, trust, started, kind="undo-")
            )  # 8, 9
    if not steps:
        raise OrderRefusedError("undo 6 approval", "; ".join(by_hand) or "there is nothing to undo")
    return Rollback(order=order, steps=tuple(steps), by_hand=tuple(by_hand))


def may_be_undone(order: Order) -> bool:
    """Whether an order that is about to be claimed has anything to keep it for."""
    return order.shown.mode is Mode.LIVE and any(
        step.undo is not None and step.undo_ruling == "allow" for step in order.shown.steps
    )


@contextmanager
def _as_undo(step: str) -> Iterator[None]:
    """Give a refusal of the order's own checks the rollback's number."""
    try:
        yield
    except OrderRefusedError as error:
        mine = "9 program" if error.step.startswith("10") else step
        raise OrderRefusedError(f"undo {mine}", error.because) from error


def _kept(past: Past, store: OrderStore, trust: Trust) -> Order:
    envelope = store.read(past.order_id, digest=past.kept)
    if envelope is None:
        raise OrderRefusedError("undo 5 order", "what was kept of it is gone or was changed")
    try:
        order = order_check.open_order(envelope, trust)
    except OrderRefusedError as error:
        raise OrderRefusedError("undo 5 order", error.because) from error
    if order.order_id != past.order_id or order.node != trust.node:
        raise OrderRefusedError("undo 5 order", "what was kept is another order")
    return order


def _approved(order: Order) -> None:
    digest = records.digest_of(order.shown)
    if any(one.approval.shown_digest != digest for one in order.approvals):
        raise OrderRefusedError("undo 6 approval", "the rollback is not the one that was approved")
    if order.shown.evidence_digest != records.digest_of(order.finding):
        raise OrderRefusedError("undo 6 approval", "the evidence is not what was shown")


def _begun(past: Past, order: Order) -> Sequence[int]:
    last = len(order.shown.steps)
    return sorted({index for index in past.started if 0 <= index < last})


def _by_hand(index: int, undo: str | None) -> str:
    if undo is None:
        return f"command {index + 1} has no rollback"
    return f"the rollback of command {index + 1} is for a person: {undo}"
