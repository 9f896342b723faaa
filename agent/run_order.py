"""The commands of a checked order, one after the other, until one does not succeed.

What may change between the checks and a command is looked at once more right before it. Each
command is written down before it starts and after it ended: what is written down and not ended is,
after a crash, an unknown outcome, and never a second start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent import programs
from agent.errors import OrderRefusedError
from agent.execute import run_step
from agent.journal_file import What
from agent.order_check import Runnable, demand_alive
from agent.proc import started_ticks
from agent.run_program import Place
from appliance.records import Outcome, StepResult

Halted = Callable[[], str | None]
"""Why this node is halted; None while it is not."""


Note = Callable[[What, Runnable, StepResult | None], None]
"""Writes down, durably, that a command starts or, with its result, that it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of them: the results of those that ran, and the step that refused the next."""

    outcome: Outcome
    reason: str
    steps: tuple[StepResult, ...]
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class _Words:
    """How a command of an order, or of its rollback, stands in the journal and in refusals."""

    begins: What
    ends: What
    halted: str
    facts: str


_ORDER = _Words("started", "finished", "0 halted", "9 facts")
_ROLLBACK = _Words("undo_started", "undo_finished", "undo 0 halted", "undo 8 facts")


def run_steps(
    steps: Sequence[Runnable],
    *,
    undoing: bool,
    note: Note,
    halted: Halted,
    place: Place,
    timeout_s: float,
) -> Done:
    """Run them in their order; `timeout_s` is each one's own."""
    words = _ROLLBACK if undoing else _ORDER
    results: list[StepResult] = []
    said: list[str] = []
    outcome = Outcome.SUCCEEDED
    for step in steps:
        try:
            _demand_unchanged(step, words, halted)
        except OrderRefusedError as error:
            return Done(
                outcome=Outcome.FAILED if results else Outcome.REFUSED,
                reason=error.because,
                steps=tuple(results),
                refused=error.step,
            )
        # From here on a restart finds the command started and not finished: outcome unknown.
        note(words.begins, step, None)
        ran = run_step(step, timeout_s=timeout_s, place=place, stop=lambda: halted() is not None)
        note(words.ends, step, ran.result)
        results.append(ran.result)
        if ran.because:
            said.append(f"command {step.index + 1} {ran.because}")
        outcome = ran.outcome
        if outcome is not Outcome.SUCCEEDED:
            said += filter(None, [halted()])
            break
    return Done(outcome=outcome, reason="; ".join(said), steps=tuple(results))


def _demand_unchanged(step: Runnable, words: _Words, halted: Halted) -> None:
    """Steps 0, 9 and 10 once more: no halt, the same processes, our own programs."""
    if (reason := halted()) is not None:
        raise OrderRefusedError(words.halted, f"this node is halted: {reason}")
    try:
        demand_alive(step.processes, started_ticks)
    except OrderRefusedError as error:
        raise OrderRefusedError(words.facts, error.because) from error
    for command in step.commands:
        programs.demand_own(command.file)
