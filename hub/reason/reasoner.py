"""From a finding to a plan: the deterministic diagnosis first, then the model, if there is one.

A model can only choose among what the diagnosis offers. Whatever goes wrong with it, the incident
gets a plan all the same: the catalogue's first choice, with lower confidence, and one sentence
that says what went wrong. Confidence is computed from checks; nobody asks the model for it.
"""

import hashlib
from collections.abc import Callable
from typing import Protocol

from appliance.ids import uuid7
from appliance.journal import shown
from appliance.records import Finding, ModelRun, Plan, Step
from hub.reason import grammar, offer, parse, prompt
from hub.reason.diagnose import Diagnosis, Suspect, diagnose
from hub.reason.errors import GrammarError, ModelError, ReasonError
from hub.reason.frames import Answer, Ask
from hub.reason.offer import Offer
from hub.reason.parse import Choice
from hub.reason.remedy import Remedy

MOST_TRIES = 2  # one answer, and at most one more
MAX_TEXT = 4000  # characters; a record's text holds 4096

# What each doubt takes from the score of the chosen suspect, in points of confidence.
NO_MODEL = 10  # nobody looked twice
CLOSE_RACE = 15  # the ranking itself could not tell the first two apart
NOT_FIRST = 15  # model and ranking disagree
NOT_CITED = 10  # the answer does not cite the culprit it names
MOST = 95  # evidence of one moment never makes anything certain


class Model(Protocol):
    """Answers one question, or raises `ModelError` in one line that names the model's file."""

    def ask(self, question: Ask, *, go_on: Callable[[], bool]) -> Answer:
        """The answer; raises `CancelledError` soon after `go_on` returns False."""
        ...


def reason(
    finding: Finding,
    incident_id: str,
    model: Model | None,
    *,
    seed: int = 1,
    answer_tokens: int = 256,
    why_no_model: str = "no model is configured",
    go_on: Callable[[], bool] = lambda: True,
) -> Plan:
    """A plan for a finding; raises `CancelledError` only, when `go_on` says that nobody waits."""
    diagnosis = diagnose(finding)
    if not diagnosis.suspects:
        return _catalogue_plan(incident_id, diagnosis, "nothing in evidence to choose from")
    if model is None:
        return _catalogue_plan(incident_id, diagnosis, why_no_model)
    choices = offer.offer(finding, diagnosis)
    problem = "no answer"
    for attempt in range(MOST_TRIES):
        try:
            # A model at temperature 0 repeats itself, so the second try has another seed.
            question = _question(finding, diagnosis, choices, seed + attempt, answer_tokens)
            answer = model.ask(question, go_on=go_on)
            choice = parse.read(answer.text.encode("utf-8", "replace"), choices)
        except ReasonError as error:
            problem = str(error)
        except (ModelError, GrammarError) as error:  # would happen again: not tried again
            problem = str(error)
            break
        else:
            return _model_plan(incident_id, diagnosis, choice, answer)
    return _catalogue_plan(incident_id, diagnosis, problem)


def _question(
    finding: Finding, diagnosis: Diagnosis, choices: Offer, seed: int, answer_tokens: int
) -> Ask:
    return Ask(
        prompt=prompt.build(finding, diagnosis, choices),
        grammar=grammar.build(choices).text,
        most_tokens=answer_tokens,
        seed=seed,
    )


def failed_plan(incident_id: str, problem: str) -> Plan:
    """A plan without steps, for a finding that the diagnosis itself could not digest."""
    nothing = Diagnosis(summary=problem, suspects=(), is_close=False)
    return _catalogue_plan(incident_id, nothing, problem)


def _catalogue_plan(incident_id: str, diagnosis: Diagnosis, problem: str) -> Plan:
    first = diagnosis.suspects[0] if diagnosis.suspects else None
    remedy = first.remedies[0] if first and first.remedies else None
    return _plan(
        incident_id,
        diagnosis,
        suspect=first,
        remedy=remedy,
        origin="catalogue",
        confidence=_confidence(diagnosis, first, less=NO_MODEL),
        citations=(first.candidate.evidence_id,) if first else (),
        error=shown(problem, most=MAX_TEXT),
    )


def _model_plan(incident_id: str, diagnosis: Diagnosis, choice: Choice, answer: Answer) -> Plan:
    suspect = choice.option.suspect if choice.option else None
    less = 0
    if suspect and suspect is not diagnosis.suspects[0]:
        less += NOT_FIRST
    if suspect and suspect.candidate.evidence_id not in choice.citations:
        less += NOT_CITED
    return _plan(
        incident_id,
        diagnosis,
        suspect=suspect,
        remedy=choice.fix.remedy if choice.fix else None,
        origin="model",
        confidence=_confidence(diagnosis, suspect, less=less),
        citations=choice.citations,
        run=_run(answer),
        words=choice.explanation,
    )


def _plan(
    incident_id: str,
    diagnosis: Diagnosis,
    *,
    suspect: Suspect | None,
    remedy: Remedy | None,
    origin: str,
    confidence: int,
    citations: tuple[str, ...],
    run: ModelRun | None = None,
    words: str = "",
    error: str | None = None,
) -> Plan:
    steps: tuple[Step, ...] = remedy.steps if remedy else ()
    return Plan(
        plan_id=uuid7(),
        incident_id=incident_id,
        origin=origin,
        diagnosis=_diagnosis_text(diagnosis, suspect, words),
        candidates=tuple(one.candidate for one in diagnosis.suspects),
        culprit=suspect.candidate.evidence_id if suspect else None,
        confidence_percent=confidence,
        citations=citations,
        steps=steps,
        expected_effect=remedy.effect if remedy else "Nothing is changed; a person decides.",
        model=run,
        model_error=error,
    )


def _diagnosis_text(diagnosis: Diagnosis, suspect: Suspect | None, words: str) -> str:
    if suspect is None:
        text = f"No culprit chosen. First in the ranking: {diagnosis.summary}"
    elif suspect is diagnosis.suspects[0]:
        text = diagnosis.summary
    else:
        chosen = f"{suspect.candidate.label}: {suspect.title}; {suspect.candidate.why}."
        text = f"{chosen} First in the ranking was {diagnosis.summary}"
    notes = f" Note: {'; '.join(suspect.notes)}." if suspect and suspect.notes else ""
    advice = f" {suspect.runbook}" if suspect and not _acts(suspect) else ""
    said = f' The model says: "{words}"' if words else ""
    return shown(f"{text}{notes}{advice}{said}", most=MAX_TEXT)


def _acts(suspect: Suspect) -> bool:
    """Whether some command can help; where none can, a person needs the catalogue's advice."""
    return any(not remedy.only_reads for remedy in suspect.remedies)


def _confidence(diagnosis: Diagnosis, suspect: Suspect | None, *, less: int) -> int:
    if suspect is None:
        return 0
    score = min(MOST, suspect.candidate.score)
    return max(0, score - less - (CLOSE_RACE if diagnosis.is_close else 0))


def _run(answer: Answer) -> ModelRun:
    return ModelRun(
        name=answer.model,
        sha256=answer.model_sha256,
        seed=answer.seed,
        parameters=answer.parameters,
        prompt_sha256=answer.prompt_sha256,
        output_sha256=hashlib.sha256(answer.text.encode("utf-8", "replace")).hexdigest(),
        prompt_tokens=answer.prompt_tokens,
        output_tokens=answer.output_tokens,
        prompt_ms=answer.prompt_ms,
        output_ms=answer.output_ms,
    )
