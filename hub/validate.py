"""Plan and policy → judgement: what an operator will be shown, and whether it may be approved.

Every command and every undo is judged; the plan's ruling is its worst command's, or block when an
undo is. A plan without a command that may run goes to a person as manual steps.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance import records
from appliance.people import People
from appliance.records import JudgedStep, Mode, Plan, Shown, Step
from hub.persist.incidents import Incident
from policy.bundle import Bundle
from policy.evaluate import SecondReader, judge
from policy.evidence import facts_of
from policy.explain import MOST_INSIDE, MOST_OF_ONE, explain, found
from policy.facts import Facts
from policy.verdict import JudgedCommand, Risk, Ruling, Verdict, plain_reason
from policy.windows import is_open


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The policy in force: the rules and the second reader."""

    bundle: Bundle
    second: SecondReader
    sequence: int = 0  # of the signed policy; 0: rules from a folder

    def judge(self, text: str, facts: Facts) -> Verdict:
        """One command against the rules."""
        return judge(text, bundle=self.bundle, facts=facts, second=self.second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A judged plan and the reasons of each command, for the verdict panel."""

    shown: Shown
    verdicts: list[dict[str, Any]]

    @property
    def may_be_approved(self) -> bool:
        """Only a plan with commands, each of which is `allow`."""
        return bool(self.shown.steps) and self.shown.ruling == Ruling.ALLOW.word


def judge_plan(
    incident: Incident,
    plan: Plan,
    *,
    gate: Gate,
    mode: Mode,
    now: datetime,
    not_after: datetime,
    people: People | None = None,
) -> Judgement:
    """Judge every command of a plan on the facts of its own incident, as they are now.

    How many must say yes is what `people` say of its risk; without them nobody can.
    """
    window = is_open(gate.bundle.windows, now)
    facts = facts_of(incident.finding, change_window_open=window)
    judged = [_judge_step(step, gate=gate, facts=facts) for step in plan.steps]
    rulings = [verdict.ruling for _, verdict in judged]
    # A rollback that may not run makes its plan one that may not; one for a person stays for them.
    rulings += [Ruling.BLOCK for step, _ in judged if step.undo_ruling == Ruling.BLOCK.word]
    worst = max(rulings, default=Ruling.REVIEW)
    shown = Shown(
        incident_id=incident.incident_id,
        plan_id=plan.plan_id,
        node=incident.node,
        finding_id=incident.finding.finding_id,
        evidence_digest=incident.evidence_digest,
        steps=tuple(step for step, _ in judged),
        ruling=worst.word,
        policy_digest=gate.bundle.digest,
        policy_sequence=gate.sequence,
        mode=mode,
        not_after=not_after,
        author=plan.author,
        approvals_needed=people.needed([step.risk for step, _ in judged]) if people else 1,
        nonce=secrets.token_hex(16),
    )
    return Judgement(shown=shown, verdicts=[_panel(verdict, gate) for _, verdict in judged])


def verdict_entry(judgement: Judgement) -> dict[str, Any]:
    """The body of the `plan.verdict` entry: every command, its ruling, and the rule that ruled."""
    shown = judgement.shown
    return {
        "plan_id": shown.plan_id,
        "ruling": shown.ruling,
        "policy_digest": shown.policy_digest,
        "shown_digest": records.digest_of(shown),
        "approvals_needed": shown.approvals_needed,
        "commands": [
            {
                "index": index,
                "text": step.command,
                "ruling": step.ruling,
                "risk": step.risk,
                "rule": step.rule,
                "program_digest": step.program_digest,
            }
            for index, step in enumerate(shown.steps)
        ],
    }


def _judge_step(step: Step, *, gate: Gate, facts: Facts) -> tuple[JudgedStep, Verdict]:
    verdict = gate.judge(step.command, facts)
    undo = gate.judge(step.undo, facts) if step.undo else None
    first = verdict.reasons[0]
    judged = JudgedStep(
        command=step.command,
        purpose=step.purpose,
        undo=step.undo,
        ruling=verdict.ruling.word,
        rule=first.rule,
        why=first.message,
        program_digest=verdict.program.digest if verdict.program else None,
        argv=verdict.program.argvs if verdict.program else (),
        risk=_risk(verdict, undo),
        undo_ruling=undo.ruling.word if undo else None,
        undo_digest=undo.program.digest if undo and undo.program else None,
        undo_argv=undo.program.argvs if undo and undo.program else (),
    )
    return judged, verdict


def _risk(verdict: Verdict, undo: Verdict | None) -> str:
    """Of the command, and of the undo that may run after it; the worse of both."""
    runs = [verdict, *([undo] if undo and undo.ruling is Ruling.ALLOW else [])]
    return max(Risk.of(one.risk) for one in runs).word


def _panel(verdict: Verdict, gate: Gate) -> dict[str, Any]:
    # Outside the language there is no program: say at least what bash would have made of it.
    hidden = () if verdict.program else gate.second.hidden(verdict.text)
    return {
        "command": verdict.text,
        "ruling": verdict.ruling.word,
        "rule": verdict.reasons[0].rule,
        "why": verdict.reasons[0].message,
        "effect": verdict.effect,
        "explain": explain(verdict, hidden=hidden),
        "reasons": [plain_reason(reason) | {"found": found(reason)} for reason in verdict.reasons],
        "commands": _commands(verdict),
        "hidden": [command[:MOST_OF_ONE] for command in hidden[:MOST_INSIDE]],
    }


def _commands(verdict: Verdict) -> list[dict[str, Any]]:
    """Each argument vector with its join and streams, and what its rule says of it."""
    if verdict.program is None:
        return []
    judged = iter(verdict.commands)
    return [
        {
            "join": "|" if place else pipeline.join,
            "argv": list(command.argv),
            "stdin": command.stdin,
            "stdout": command.stdout,
            "stderr": command.stderr,
            **_about(next(judged)),
        }
        for pipeline in verdict.program.pipelines
        for place, command in enumerate(pipeline.commands)
    ]


def _about(command: JudgedCommand) -> dict[str, Any]:
    return {"paths": list(command.paths), "effect": command.effect, "undo": command.undo}
