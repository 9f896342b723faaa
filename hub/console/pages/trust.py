"""Signed trust: who signed what is in force, until when, and what each node believes."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from hub.console.access import needs
from hub.console.live import page
from hub.console.trust import seen

pages = Blueprint("trust", __name__)


@pages.get("/trust")
@needs()
def show() -> ResponseReturnValue:
    """Versions, signers, thresholds and expiry; and every node beside them."""
    return page("trust.html", "trust", trust=seen())
