"""The newest audit entries; the log's files are the record, this is a window on their index."""

from flask import Blueprint, Response, abort
from flask.typing import ResponseReturnValue

from appliance.ids import is_uuid
from audit.entry import TYPES
from hub.console import forms
from hub.console.access import database, needs, settings
from hub.console.live import page
from hub.persist import views
from hub.persist.views import AuditFilter

pages = Blueprint("audit", __name__)


@pages.get("/audit")
@needs()
def show() -> ResponseReturnValue:
    """A page of entries and the current checkpoint."""
    incident = forms.asked("incident")
    wanted = AuditFilter(
        incident=incident if is_uuid(incident) else "",
        type=forms.choice("type", TYPES),
        text=forms.asked("text"),
        page=forms.number("page"),
    )
    found, checkpoint = views.audit(database(), wanted, size=settings().page_rows)
    return page(
        "audit.html",
        "entries",
        found=found,
        wanted=wanted,
        types=sorted(TYPES),
        checkpoint=checkpoint,
        witnesses=views.witnesses(database()),
        still=bool(wanted.text),  # searching a long log again every few seconds is for nobody
    )


@pages.get("/audit/checkpoint")
@needs()
def checkpoint() -> ResponseReturnValue:
    """The newest checkpoint that nodes cosigned, to keep away from this machine."""
    note = views.cosigned_note(database())
    if note is None:
        abort(404)
    return Response(
        note,
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="checkpoint"'},
    )
