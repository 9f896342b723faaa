"""Is everything alive; and, for whoever starts the console, does it answer."""

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue

from hub.console.access import database, needs
from hub.console.live import page
from hub.persist import views

pages = Blueprint("status", __name__)


@pages.get("/status")
@needs()
def show() -> ResponseReturnValue:
    """Every part with its last heartbeat, and the audit log's state."""
    own = current_app.extensions.get("certificates")  # none where no server runs
    warning = own.warning() if own else None
    return page("status.html", "parts", outbox=views.outbox(database()), warning=warning)


@pages.get("/alive")
def alive() -> ResponseReturnValue:
    """`ok` when the console and its database answer; needs no sign-in and tells nothing else."""
    views.alive(database())
    return "ok\n", {"Content-Type": "text/plain; charset=utf-8"}
