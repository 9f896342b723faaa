"""The nodes: who is connected, what each would run, where it stands, and what stops them all."""

from flask import Blueprint, abort, flash, redirect, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from hub.console import forms
from hub.console.access import by, database, needs, now, who
from hub.console.live import page
from hub.console.resuming import resuming
from hub.console.signing import sent_signature
from hub.persist import halts, identity, node_state, views, witness
from hub.resume import resume as resume_halt

pages = Blueprint("nodes", __name__)


@pages.get("/nodes")
@needs()
def show() -> ResponseReturnValue:
    """All nodes."""
    forked = {row["node"] for row in views.forks(database())}
    return page(
        "nodes.html",
        "nodes",
        "halts",
        nodes=views.nodes(database()),
        forked=forked,
        resuming=resuming(),
        stolen=identity.stolen(database()),
        **views.elsewhere(database()),
    )


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
def accept_witness_key(name: str) -> ResponseReturnValue:
    """Believe a node's new key as a witness; it is the one the administrator was shown."""
    vkey = forms.field("vkey", most=1000)
    if witness.accept_key(database(), node=name, vkey=vkey, by=by(), now=now()):
        return _back("The node's new witness key is accepted.")
    return _back("The node shows another key by now; nothing was changed.")


@pages.post("/nodes/halt")
@needs("admin")
def halt() -> ResponseReturnValue:
    """Stop one node, or all nodes, also those that connect later."""
    node = forms.field("node", most=253) or None
    reason = forms.field("reason", most=400)
    halts.order(database(), node=node, reason=reason, by=by(), now=now())
    return _back(f"{node or 'Every node'} is told to run nothing more.")


@pages.post("/nodes/resume")
@needs("admin")
def resume() -> ResponseReturnValue:
    """End a halt with the administrator's own signature, made in this browser."""
    halt_id = forms.identifier(forms.field("halt_id", most=36))
    signature = sent_signature(refused="the halt stays")
    resume_halt(
        database(),
        halt_id=halt_id,
        operator=who().name,
        signature=signature,
        by=by(),
        now=now(),
    )
    return _back("Signed. Each node goes on once it has checked your signature.")


@pages.post("/nodes/<name>/key")
@needs("admin")
def accept_key(name: str) -> ResponseReturnValue:
    """Believe a node's new key, the one whose fingerprint was shown."""
    mark = forms.field("fingerprint", most=64)
    node_state.accept_key(database(), node=name, fingerprint=mark, by=by(), now=now())
    return _back(f"Reports of {name} under its new key are believed.")


def _back(message: str) -> Response:
    flash(message)
    return redirect(url_for("nodes.show"), code=303)
