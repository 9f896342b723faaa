"""One incident: what was seen, what is proposed, who decided, what came of it.

What the buttons do is decided in `hub.approve`; here a request becomes a call with the digest
of what this browser was shown.
"""

from flask import Blueprint, abort, flash, redirect, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from hub import approve as answers
from hub.console import forms
from hub.console.access import database, needs, now, who
from hub.console.case import case_of
from hub.console.live import page
from hub.persist import views

pages = Blueprint("incident", __name__, url_prefix="/incidents/<incident_id>")

_DIGEST = 64
_COMMENT = 2000
_OUTPUT = 16_000


@pages.get("")
@needs()
def show(incident_id: str) -> ResponseReturnValue:
    """All of it on one page."""
    details = views.incident(database(), forms.identifier(incident_id))
    if details is None:
        abort(404)
    case = case_of(details)
    sections = ("head", "plan", "decision", "diagnosis", "evidence", "result", "trail")
    return page("incident.html", *sections, case=case)


@pages.post("/approve")
@needs("operator", "admin")
def approve(incident_id: str) -> ResponseReturnValue:
    """Say yes to exactly what was shown."""
    answers.approve(
        database(),
        incident_id=forms.identifier(incident_id),
        who=_answerer(),
        shown_digest=forms.field("shown_digest", most=_DIGEST),
        comment=forms.field("comment", most=_COMMENT),
        now=now(),
    )
    return _back(incident_id, "Approved. The order leaves once this approval is in the audit log.")


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
    answers.record_manual(
        database(),
        incident_id=forms.identifier(incident_id),
        who=_answerer(),
        command=forms.field("command", most=_COMMENT),
        result=forms.field("result", most=_OUTPUT),
        now=now(),
    )
    return _back(incident_id, "Recorded in the incident and in the audit log.")


def _answerer() -> answers.Answerer:
    return answers.Answerer(name=who().name, role=who().role, session=who().session_id)


def _back(incident_id: str, message: str) -> Response:
    flash(message)
    return redirect(url_for("incident.show", incident_id=incident_id), code=303)
