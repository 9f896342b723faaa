"""The nodes: who is connected, whether it would run anything, and the switch that stops them."""

from flask import Blueprint, flash, redirect, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from hub.console import forms
from hub.console.access import by, database, needs, now
from hub.console.live import page
from hub.persist import halts, node_state, views

pages = Blueprint("nodes", __name__)


@pages.get("/nodes")
@needs()
def show() -> ResponseReturnValue:
    """All nodes."""
    return page("nodes.html", "nodes", "halts", nodes=views.nodes(database()))


@pages.post("/nodes/halt")
@needs("admin")
def halt() -> ResponseReturnValue:
    """Stop one node, or all nodes, also those that connect later."""
    node = forms.field("node", most=253) or None
    reason = forms.field("reason", most=400)
    halts.order(database(), node=node, reason=reason, by=by(), now=now())
    return _back(f"{node or 'Every node'} is told to run nothing more.")


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
