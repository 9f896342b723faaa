"""The audit log: find entries, see for each whether it is what was signed, take proofs along.

The log's files are the record; the database only finds. What a mark means is `log_check`'s.
"""

from datetime import UTC, datetime

from flask import Blueprint, Response, abort, current_app
from flask.typing import ResponseReturnValue

from appliance.ids import is_uuid
from audit.entry import TYPES
from hub.console import forms
from hub.console.access import database, needs, settings, who
from hub.console.errors import UnprovenError
from hub.console.live import page
from hub.console.log_body import fields_of, meaning
from hub.console.log_check import LogCheck, Look
from hub.console.log_path import way_of
from hub.persist import log_search, views
from hub.persist.log_search import Index, Wanted

pages = Blueprint("audit", __name__)

_DIGITS = 16  # of an entry's number: below 2^53
_FORKS_SHOWN = 8
_FILTERS = ("text", "type", "who", "node", "since", "until", "incident")  # kept from page to page


@pages.get("/audit")
@needs()
def show() -> ResponseReturnValue:
    """A page of entries with their marks, the current checkpoint, and the witnesses."""
    wanted, unclear = _wanted()
    found = log_search.find(database(), wanted, size=settings().page_rows)
    look = _log().look(database(), found.checkpoint)
    return page(
        "audit.html",
        "checkpoint",
        "witnesses",
        "entries",
        found=found.found,
        entries=[] if unclear else [(row, look.check(row)) for row in found.found.rows],
        missing=[] if unclear else _missing(wanted, found),
        wanted=wanted,
        unclear=unclear,
        types=sorted(TYPES),
        actors=log_search.actors(database()),
        nodes=views.node_names(database()),
        checkpoint=found.checkpoint,
        look=look.state,
        witnesses=views.witnesses(database()),
        **views.elsewhere(database()),
        evidence=_evidence(),
        query={name: forms.asked(name) for name in _FILTERS if forms.asked(name)},
        still=bool(wanted.text),  # searching a long log again every few seconds is for nobody
    )


@pages.get("/audit/<int:seq>")
@needs()
def entry(seq: int) -> ResponseReturnValue:
    """One entry: what it says, that it is signed, its neighbours, and how to check it offline."""
    index, look = _one(seq)
    row, beside = index.found.rows[0], []
    checked = look.check(row)
    if row["incident"] and row["inc_seq"] is not None:
        beside = log_search.beside(
            database(), incident=str(row["incident"]), inc_seq=row["inc_seq"]
        )
    size = look.state.checkpoint.size if look.state.checkpoint else 0
    return page(
        "entry.html",
        "proof",
        row=row,
        checked=checked,
        body=fields_of(checked.entry.get("body")),
        meaning=meaning(row["type"]),
        beside=beside,
        last=max(size, index.checkpoint["size"] if index.checkpoint else 0) - 1,
        look=look.state,
        root_key=look.demands is not None and look.demands.epochs is not None,
        way=way_of(checked.line, checked.proof, size) if checked.proof else None,
    )


@pages.get("/audit/<int:seq>/proof")
@needs()
def proof(seq: int) -> ResponseReturnValue:
    """The C2SP tlog-proof of one entry; only one that was verified just now is given out."""
    index, look = _one(seq)
    checked, text = look.proof_of(index.found.rows[0], views.cosigned_note(database()))
    if not text:
        raise UnprovenError(f"There is no proof to give out. {checked.why}")
    return _file(text.encode(), f"entry-{seq}.tlog-proof")


@pages.get("/audit/<int:seq>/line")
@needs()
def line(seq: int) -> ResponseReturnValue:
    """The bytes that were signed, without a newline."""
    index, look = _one(seq)
    checked = look.check(index.found.rows[0])
    if not checked.proof:
        raise UnprovenError(f"The entry is not verified. {checked.why}")
    return _file(checked.line, f"entry-{seq}.entry")


@pages.get("/audit/checkpoint")
@needs()
def checkpoint() -> ResponseReturnValue:
    """The newest checkpoint that nodes cosigned, to keep away from this machine."""
    note = views.cosigned_note(database())
    if note is None:
        abort(404)
    return _file(note.encode(), "checkpoint")


def _log() -> LogCheck:
    found: LogCheck = current_app.extensions["log"]
    return found


def _one(seq: int) -> tuple[Index, Look]:
    if len(str(seq)) > _DIGITS:
        abort(404)
    index = log_search.entry(database(), seq)
    if not index.found.rows:
        abort(404)
    return index, _log().look(database(), index.checkpoint)


def _file(data: bytes, name: str) -> Response:
    return Response(
        data,
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _wanted() -> tuple[Wanted, list[str]]:
    """The filters of this address, and what of it is not understood: then nothing is listed."""
    unclear: list[str] = []
    incident, type_ = forms.asked("incident"), forms.asked("type")
    if incident and not is_uuid(incident):
        unclear.append("An incident is named by its whole id.")
    if type_ and type_ not in TYPES:
        unclear.append("There is no such type of entry.")
    wanted = Wanted(
        incident=incident if is_uuid(incident) else "",
        who=forms.asked("who", most=255),
        node=forms.asked("node", most=255),
        type=type_ if type_ in TYPES else "",
        since=_moment("since", unclear),
        until=_moment("until", unclear),
        text=forms.asked("text"),
        before=_number("before", unclear),
        after=_number("after", unclear),
    )
    return wanted, unclear


def _moment(name: str, unclear: list[str]) -> datetime | None:
    text = forms.asked(name, most=40)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        unclear.append("A time is written as 2026-03-31 or 2026-03-31T17:30, in UTC.")
        return None


def _number(name: str, unclear: list[str]) -> int | None:
    text = forms.asked(name, most=_DIGITS + 1)
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        return int(text)
    unclear.append("The place in the log that this address names is no number.")
    return None


def _missing(wanted: Wanted, index: Index) -> list[str]:
    """Entries that the index does not have, though their numbers say that they were written."""
    rows = index.found.rows
    if not wanted.everything or index.checkpoint is None:
        return []
    above, gaps = index.checkpoint["size"], list[str]()
    if wanted.before is not None:
        above = min(above, wanted.before)
    if wanted.after is not None:
        above = rows[0]["seq"] + 1 if rows else above
    for seq in [*(row["seq"] for row in rows), *([] if index.found.older else [-1])]:
        if seq < above - 1:
            gaps.append(str(seq + 1) if seq == above - 2 else f"{seq + 1} to {above - 1}")
        above = seq
    return gaps


def _evidence() -> list[dict[str, object]]:
    """The two notes of each fork, for administrators."""
    forks = [dict(fork) for fork in views.forks(database())[:_FORKS_SHOWN]]
    for fork in forks if who().role == "admin" else ():
        notes = views.fork_notes(database(), fork["node"]) if fork["evidence"] else None
        fork["notes"] = notes["notes"] if notes else ""
    return forks
