"""The nodes: who is connected, whether it would run anything, and where it stands in the log."""

from flask import Blueprint, Response, abort, flash, redirect, url_for
from flask.typing import ResponseReturnValue

from hub.console import forms
from hub.console.access import by, database, needs, now
from hub.console.live import page
from hub.persist import views, witness

pages = Blueprint("nodes", __name__)


@pages.get("/nodes")
@needs()
def show() -> ResponseReturnValue:
    """All nodes."""
    forked = {row["node"] for row in views.forks(database())}
    return page("nodes.html", "nodes", nodes=views.nodes(database()), forked=forked)


@pages.get("/nodes/<name>/fork")
@needs("admin")
def fork(name: str) -> ResponseReturnValue:
    """The signed notes that show two histories, to take to whoever judges."""
    found = views.fork_notes(database(), name)
    if found is None:
        abort(404)
    return Response(
        found["notes"],
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="fork.notes"'},
    )


@pages.post("/nodes/<name>/witness-key")
@needs("admin")
def accept_key(name: str) -> ResponseReturnValue:
    """Believe a node's new key as a witness; it is the one the administrator was shown."""
    vkey = forms.field("vkey", most=1000)
    if witness.accept_key(database(), node=name, vkey=vkey, by=by(), now=now()):
        flash("The node's new witness key is accepted.")
    else:
        flash("The node shows another key by now; nothing was changed.")
    return redirect(url_for("nodes.show"), code=303)
