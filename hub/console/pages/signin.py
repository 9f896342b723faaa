"""Signing in with a password or a one-time link, signing out, changing one's own password."""

from http import HTTPStatus

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from hub.console import access
from hub.console.access import database, needs, now, settings, who
from hub.console.forms import field
from hub.console.live import page
from hub.console.pages.keys import enrolment, keys_of
from hub.persist import sign_in as signing_in
from hub.persist.operators import OperatorError
from hub.persist.sign_in import SigninError

pages = Blueprint("signin", __name__)


@pages.get("/sign-in")
def show() -> ResponseReturnValue:
    """The sign-in form."""
    return _form(onward=access.inside(request.args.get("next", "/")))


@pages.post("/sign-in")
def sign_in() -> ResponseReturnValue:
    """Check name and password; a new session with a new token, whatever was there before."""
    onward = access.inside(request.form.get("next", "/"))
    try:
        token = signing_in.sign_in(
            database(),
            name=field("name", most=64).lower(),
            password=request.form.get("password", ""),
            address=_address(),
            rules=settings().rules,
            now=now(),
        )
    except SigninError as error:
        return _form(onward=onward, error=str(error), name=field("name", most=64))
    return access.begin(token, _see(onward))


@pages.get("/sign-in/once")
def once() -> ResponseReturnValue:
    """A page with a button: a link that something merely looks at is not used up by it."""
    return render_template("once.html", token=request.args.get("token", "")[:200])


@pages.post("/sign-in/once")
def sign_in_once() -> ResponseReturnValue:
    """Use the link up, and set a new password where one was typed."""
    token = request.form.get("token", "")[:200]
    try:
        new = signing_in.sign_in_once(
            database(),
            token=token,
            address=_address(),
            rules=settings().rules,
            now=now(),
            new_password=_new_password() or None,
        )
    except OperatorError as error:
        return render_template("once.html", token=token, error=str(error)), HTTPStatus.BAD_REQUEST
    except SigninError as error:
        return _form(onward="/", error=str(error))
    return access.begin(new, _see("/"))


@pages.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session."""
    return access.end(_see("/sign-in"))


@pages.get("/account")
@needs()
def account() -> ResponseReturnValue:
    """One's own name, role, password and keys."""
    keys = keys_of(who().name)
    return page("account.html", "keyring", keys=keys, enrol=enrolment())


@pages.post("/account/password")
@needs()
def change_password() -> ResponseReturnValue:
    """Set one's own password; every session of this operator ends, then a new one begins."""
    token = signing_in.change_password(
        database(),
        name=who().name,
        old=request.form.get("old_password", ""),
        new=_new_password(),
        address=_address(),
        rules=settings().rules,
        now=now(),
    )
    response = access.begin(token, _see("/account"))
    flash("Your password is changed; you are signed out everywhere else.")
    return response


def _form(*, onward: str, error: str = "", name: str = "") -> ResponseReturnValue:
    status = HTTPStatus.UNAUTHORIZED if error else HTTPStatus.OK
    return render_template("sign_in.html", onward=onward, error=error, name=name), status


def _new_password() -> str:
    typed = request.form.get("password", "")
    if typed != request.form.get("password_again", ""):
        raise OperatorError("the two passwords differ")
    return typed


def _address() -> str:
    return request.remote_addr or "unknown"


def _see(target: str) -> Response:
    return make_response(redirect(target, code=303))
