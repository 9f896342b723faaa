"""The list of incidents: what needs a person first; every filter is part of the address."""

from flask import Blueprint, redirect, url_for
from flask.typing import ResponseReturnValue

from appliance.lifecycle import State
from appliance.records import Condition, Severity
from hub.console import forms
from hub.console.access import database, needs, settings
from hub.console.live import page
from hub.persist import views
from hub.persist.views import GROUPS, SORTS, Filter

pages = Blueprint("incidents", __name__)


@pages.get("/")
def start() -> ResponseReturnValue:
    """The start page is the list."""
    return redirect(url_for("incidents.show"), code=303)


@pages.get("/incidents")
@needs()
def show() -> ResponseReturnValue:
    """The list."""
    names = views.node_names(database())
    wanted = Filter(
        state=forms.choice("state", {*GROUPS, *State}),
        node=forms.choice("node", names),
        condition=forms.choice("condition", set(Condition)),
        severity=forms.choice("severity", set(Severity)),
        text=forms.asked("text"),
        sort=forms.choice("sort", SORTS, default="attention"),
        page=forms.number("page"),
    )
    found = views.incidents(database(), wanted, size=settings().page_rows)
    return page(
        "incidents.html",
        "rows",
        found=found,
        wanted=wanted,
        filtered=wanted != Filter(sort=wanted.sort),
        node_names=names,
        states=list(State),
        groups=GROUPS,
        conditions=list(Condition),
        severities=list(Severity),
        sorts=SORTS,
    )
