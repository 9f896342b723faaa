"""The nodes: who is connected, how old, and whether it would run anything."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from hub.console.access import database, needs
from hub.console.live import page
from hub.persist import views

pages = Blueprint("nodes", __name__)


@pages.get("/nodes")
@needs()
def show() -> ResponseReturnValue:
    """All nodes."""
    return page("nodes.html", "nodes", nodes=views.nodes(database()))
