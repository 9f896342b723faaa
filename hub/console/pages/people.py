"""Who may sign in: for administrators."""

from datetime import timedelta

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from hub.console import forms
from hub.console.access import by, database, needs, now, settings
from hub.console.live import page
from hub.console.pages.keys import keys_of
from hub.persist import operators, views

pages = Blueprint("people", __name__, url_prefix="/people")


@pages.get("")
@needs("admin")
def show() -> ResponseReturnValue:
    """All operators."""
    return page(
        "people.html",
        "waiting",
        "people",
        people=operators.listed(database()),
        roles=operators.ROLES,
        published=views.people(database()),
        keys=keys_of(),
    )


@pages.post("/add")
@needs("admin")
def add() -> ResponseReturnValue:
    """Add one, and show the link that lets them in once."""
    name, role = forms.field("name", most=64), forms.field("role", most=16)
    operators.add(database(), name=name, role=role, by=by(), now=now())
    return _link(name, reset=False)


@pages.post("/<name>/role")
@needs("admin")
def role(name: str) -> ResponseReturnValue:
    """Give another role."""
    wanted = forms.field("role", most=16)
    operators.set_role(database(), name=name, role=wanted, by=by(), now=now())
    return _back(f"{name} is now {wanted}.")


@pages.post("/<name>/disable")
@needs("admin")
def disable(name: str) -> ResponseReturnValue:
    """Keep out, at once."""
    operators.set_disabled(database(), name=name, disabled=True, by=by(), now=now())
    return _back(f"{name} is disabled and signed out everywhere.")


@pages.post("/<name>/enable")
@needs("admin")
def enable(name: str) -> ResponseReturnValue:
    """Let in again."""
    operators.set_disabled(database(), name=name, disabled=False, by=by(), now=now())
    return _back(f"{name} may sign in again.")


@pages.post("/<name>/reset")
@needs("admin")
def reset(name: str) -> ResponseReturnValue:
    """Make the password worthless and show a one-time link."""
    return _link(name, reset=True)


def _link(name: str, *, reset: bool) -> ResponseReturnValue:
    """The link is shown in this answer only; it is kept nowhere."""
    minutes = settings().link_min
    token = operators.new_link(
        database(), name=name, valid_for=timedelta(minutes=minutes), by=by(), now=now(), reset=reset
    )
    link = request.host_url.rstrip("/") + url_for("signin.once", token=token)
    return page("link.html", name=name, link=link, minutes=minutes)


def _back(message: str) -> Response:
    flash(message)
    return redirect(url_for("people.show"), code=303)
