"""One incident as its page shows it: stored JSON read into records, commands beside verdicts."""

from dataclasses import dataclass
from typing import Any

from appliance import records
from appliance.lifecycle import MOVES, State
from appliance.records import (
    HUB_ONLY,
    Finding,
    JudgedStep,
    MetricEvidence,
    Mode,
    Plan,
    Report,
    Shown,
)
from hub.console.chart import Chart, chart_of
from hub.console.evidence import Line, line_of
from hub.console.panel import Panel, panel_of
from hub.console.words import BY_HAND, NEXT
from hub.persist.views import Details, Row

MANUAL_IN = frozenset(State) - {
    State.AWAITING,
    State.APPROVED,
    State.DISPATCHED,
    State.RESOLVED,
    State.CLOSED,
}
"""States in which the page offers to record what a person did."""

PROPOSE_IN = frozenset({State.AWAITING, State.MANUAL})
"""States in which an operator may propose other commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the plan with everything the policy said about it."""

    number: int
    step: JudgedStep
    panel: Panel
    done: list[Row]  # what persons did about it by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An incident, read."""

    row: Row
    state: State
    finding: Finding
    plan: Plan | None
    shown: Shown | None
    commands: list[Command]
    charts: list[Chart]
    evidence: list[Line]
    reports: list[Report]
    history: list[Row]
    audit: list[Row]

    @property
    def incident_id(self) -> str:
        """Its id as text."""
        return str(self.row["incident_id"])

    @property
    def next(self) -> str:
        """What happens now, in a sentence."""
        return NEXT[self.state]

    @property
    def dry_run(self) -> bool | None:
        """Whether the plan would only be rehearsed; None when none of it may run at all."""
        if self.shown is None or self.shown.ruling != "allow":
            return None
        return self.shown.mode is Mode.DRY_RUN

    @property
    def may_close(self) -> bool:
        """Whether a person may end it now."""
        return State.CLOSED in MOVES[self.state]

    @property
    def may_record(self) -> bool:
        """Whether the page offers to record a manual step."""
        return self.state in MANUAL_IN

    @property
    def may_propose(self) -> bool:
        """Whether the page offers to propose other commands."""
        return self.state in PROPOSE_IN and self.finding.condition not in HUB_ONLY

    @property
    def by_hand(self) -> tuple[str, ...]:
        """What a person does about it, where no plan is ever made."""
        return BY_HAND.get(self.finding.condition, ())

    @property
    def labels(self) -> dict[str, str]:
        """What the ranking calls each piece of evidence."""
        return {item.evidence_id: item.label for item in self.plan.candidates} if self.plan else {}


def case_of(details: Details) -> Case:
    """Read what the database holds about an incident."""
    row = details.row
    finding = records.from_builtins(row["finding"], Finding)
    shown = records.from_builtins(row["shown"], Shown) if row["shown"] else None
    return Case(
        row=row,
        state=State(row["state"]),
        finding=finding,
        plan=records.from_builtins(row["plan"], Plan) if row["plan"] else None,
        shown=shown,
        commands=_commands(shown, row["verdicts"] or [], details.manual),
        evidence=[line_of(item) for item in finding.evidence],
        charts=[chart_of(item) for item in finding.evidence if isinstance(item, MetricEvidence)],
        reports=[records.from_builtins(item["body"], Report) for item in details.reports],
        history=details.history,
        audit=details.audit,
    )


def _commands(
    shown: Shown | None, verdicts: list[dict[str, Any]], manual: list[Row]
) -> list[Command]:
    """What was shown and is bound by the digest, with the verdicts' longer reasons beside it."""
    if shown is None:
        return []
    padded = [*verdicts, *({} for _ in shown.steps)]
    return [
        Command(
            number=number,
            step=step,
            panel=panel_of(step.command, step.ruling, verdict),
            done=[
                one
                for one in manual
                if (one["plan_id"], one["step"]) == (shown.plan_id, number - 1)
            ],
        )
        for number, (step, verdict) in enumerate(zip(shown.steps, padded, strict=False), start=1)
    ]
