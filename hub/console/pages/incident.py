"""One incident: what was seen, what is proposed, who decided, what came of it.

What the buttons do is decided in `hub.approve`; here a request becomes a call with the digest
of what this browser was shown.
"""

from flask import Blueprint, abort, flash, redirect, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from appliance.ids import is_uuid
from hub import approve as answers
from hub.console import forms
from hub.console.access import database, needs, now, who
from hub.console.case import case_of
from hub.console.live import page
from hub.console.signing import sent_signature, standing_of
from hub.manual import Done, record_manual
from hub.persist import live, views
from hub.propose import Draft, propose

pages = Blueprint("incident", __name__, url_prefix="/incidents/<incident_id>")

_DIGEST = 64
_COMMENT = 2000
_OUTPUT = 16_000
_COMMANDS = 16_000


@pages.get("")
@needs()
def show(incident_id: str) -> ResponseReturnValue:
    """All of it on one page."""
    details = views.incident(database(), forms.identifier(incident_id))
    if details is None:
        abort(404)
    case = case_of(details)
    sections = ("head", "plan", "decision", "live", "diagnosis", "evidence", "result", "trail")
    return page(
        "incident.html",
        *sections,
        case=case,
        standing=standing_of(case, who().name),
        live=live.of(database(), case.incident_id),
    )


@pages.post("/approve")
@needs("operator", "admin")
def approve(incident_id: str) -> ResponseReturnValue:
    """Say yes to exactly what was shown."""
    granted = answers.approve(
        database(),
        incident_id=forms.identifier(incident_id),
        who=_answerer(),
        shown_digest=forms.field("shown_digest", most=_DIGEST),
        comment=forms.field("comment", most=_COMMENT),
        now=now(),
        signature=sent_signature(),
    )
    if granted.enough:
        said = "Approved. The order leaves once this approval is in the audit log."
    else:
        said = f"Your yes counts: {granted.given} of {granted.needed}. Nothing runs before another."
    return _back(incident_id, said)


@pages.post("/reject")
@needs("operator", "admin")
def reject(incident_id: str) -> ResponseReturnValue:
    """Say no."""
    answers.reject(
        database(),
        incident_id=forms.identifier(incident_id),
        who=_answerer(),
        shown_digest=forms.field("shown_digest", most=_DIGEST),
        comment=forms.field("comment", most=_COMMENT),
        now=now(),
    )
    return _back(incident_id, "Rejected. Nothing of this plan will run.")


@pages.post("/close")
@needs("operator", "admin")
def close(incident_id: str) -> ResponseReturnValue:
    """End it by hand, with a note."""
    answers.close(
        database(),
        incident_id=forms.identifier(incident_id),
        who=_answerer(),
        note=forms.field("note", most=_COMMENT),
        now=now(),
    )
    return _back(incident_id, "Closed.")


@pages.post("/manual")
@needs("operator", "admin")
def manual(incident_id: str) -> ResponseReturnValue:
    """Record what a person did by hand."""
    plan_id, step = forms.field("plan_id", most=36), forms.field("step", most=2)
    about = is_uuid(plan_id) and step.isascii() and step.isdigit()
    record_manual(
        database(),
        incident_id=forms.identifier(incident_id),
        who=_answerer(),
        done=Done(
            command=forms.field("command", most=_COMMENT),
            outcome=forms.field("outcome", most=20),
            output=forms.field("output", most=_OUTPUT),
            plan_id=plan_id if about else None,
            step=int(step) if about else None,
        ),
        now=now(),
    )
    return _back(incident_id, "Recorded in the incident and in the audit log.")


@pages.post("/propose")
@needs("operator", "admin")
def propose_others(incident_id: str) -> ResponseReturnValue:
    """Put other commands in the place of the plan's."""
    propose(
        database(),
        incident_id=forms.identifier(incident_id),
        who=_answerer(),
        draft=Draft(
            commands=forms.field("commands", most=_COMMANDS).split("\n"),
            purpose=forms.field("purpose", most=_COMMENT),
            undos=forms.lines("undos", most=_COMMANDS),
        ),
        now=now(),
    )
    return _back(
        incident_id, "Proposed. The policy judges it now; another operator has to approve it."
    )


def _answerer() -> answers.Answerer:
    return answers.Answerer(name=who().name, role=who().role, session=who().session_id)


def _back(incident_id: str, message: str) -> Response:
    flash(message)
    return redirect(url_for("incident.show", incident_id=incident_id), code=303)
