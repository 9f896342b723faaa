"""Who is asking: the cookie, the session behind it, and what a role may do.

The cookie holds a random token and nothing else. `__Host-` makes browsers demand Secure, no
Domain and Path=/, so that no other host or page can plant one.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec
from urllib.parse import urlsplit

from flask import Response, current_app, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue

from hub.console.errors import RoleError
from hub.console.settings import ConsoleSettings
from hub.persist import sign_in
from hub.persist.database import Database
from hub.persist.outbox import Actor, actor
from hub.persist.sign_in import Session

COOKIE = "__Host-sentinel"
HAVE = "X-Have"  # a page that refreshes itself says with this header which parts it has

P = ParamSpec("P")
View = Callable[P, ResponseReturnValue]


def database() -> Database:
    """The pool of this process."""
    found: Database = current_app.extensions["database"]
    return found


def settings() -> ConsoleSettings:
    """The settings this console was started with."""
    found: ConsoleSettings = current_app.extensions["settings"]
    return found


def now() -> datetime:
    """The moment of this request, read once."""
    if "now" not in g:
        g.now = datetime.now(UTC)
    moment: datetime = g.now
    return moment


def who() -> Session:
    """The signed-in operator; only behind `needs`."""
    found: Session = g.who
    return found


def by() -> Actor:
    """The signed-in operator, as the audit log names them."""
    return actor("operator", who().name, session=who().session_id)


def needs(*roles: str) -> Callable[[View[P]], View[P]]:
    """Let only signed-in operators with one of these roles in; without a role, any."""

    def wrap(view: View[P]) -> View[P]:
        @wraps(view)
        def inner(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            found = _session()
            if found is None:
                return _to_sign_in()
            g.who = found
            if roles and found.role not in roles:
                raise RoleError(f"The role {found.role} may look at this, not do it.")
            return view(*args, **kwargs)

        return inner

    return wrap


def begin(token: str, response: Response) -> Response:
    """Give the browser its new session; what it had before ends, its form tokens too."""
    old = request.cookies.get(COOKIE)
    if old:
        sign_in.sign_out(database(), token=old, now=now())
    session.clear()
    response.set_cookie(
        COOKIE,
        token,
        max_age=settings().absolute_min * 60,
        path="/",
        secure=True,
        httponly=True,
        samesite="Strict",
    )
    return response


def end(response: Response) -> Response:
    """Sign the browser out."""
    token = request.cookies.get(COOKIE)
    if token:
        sign_in.sign_out(database(), token=token, now=now())
    session.clear()
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
    return response


def inside(target: str) -> str:
    """A path of this console to go on to; anything else becomes the start page."""
    parts = urlsplit(target.replace("\\", "/"))
    plain = target.startswith("/") and not target.startswith("//") and target.isprintable()
    return target if plain and not parts.scheme and not parts.netloc else "/"


def _session() -> Session | None:
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    return sign_in.session_of(
        database(),
        token=token,
        rules=settings().rules,
        now=now(),
        touch=HAVE not in request.headers,  # the page's timer is not a person
    )


def _to_sign_in() -> ResponseReturnValue:
    onward = request.full_path.rstrip("?") if request.method == "GET" else "/"
    target = url_for("signin.show", next=onward if onward != "/" else None)
    if HAVE in request.headers:
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target, code=303)
