"""Administrators give a part of the audit log out; the log tells of it before it leaves."""

from flask import Blueprint, current_app, send_file
from flask.typing import ResponseReturnValue

from appliance.ids import is_uuid
from hub import export as recorded
from hub.console import forms, giving
from hub.console.access import by, database, needs, now, who
from hub.console.errors import NotGivenError
from hub.console.giving import Part
from hub.persist import log_search

pages = Blueprint("audit_export", __name__)

_DIGITS = 16
_REASON = 400


@pages.post("/audit/export")
@needs("admin")
def create() -> ResponseReturnValue:
    """Make the archive, record it, and only then send it."""
    part, reason = _part(), forms.field("reason", most=_REASON)
    if not reason:
        raise NotGivenError("Say why it is given out; the log will tell it.")
    index = log_search.entry(database(), 0)
    size = index.checkpoint["size"] if index.checkpoint else 0
    log = current_app.extensions["log"]
    with giving.made(log, part, who=who().name, reason=reason, size=size) as made:
        recorded.record(
            database(),
            by=by(),
            reason=reason,
            export=made.export,
            manifest=made.manifest,
            at=now(),
        )
        # From here on the log will tell of it, even if the browser never gets it.
        stream = made.path.open("rb")
    return send_file(
        stream, mimetype="application/x-tar", as_attachment=True, download_name=made.name
    )


def _part() -> Part:
    incident = forms.field("incident", most=36)
    if incident and not is_uuid(incident):
        raise NotGivenError("An incident is named by its whole id.")
    first, last = _number("first"), _number("last")
    if incident and (first is not None or last is not None):
        raise NotGivenError("Name an incident or a range of entries, not both.")
    return Part(incident=incident, first=first or 0, last=last)


def _number(name: str) -> int | None:
    text = forms.field(name, most=_DIGITS + 1)
    if text and not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise NotGivenError("The first and the last entry are named by their numbers.")
    return int(text) if text else None
