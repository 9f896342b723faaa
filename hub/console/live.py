"""Pages that keep themselves current without a reload, and without disturbing who reads them.

A page is made of named sections. While it is open it asks for its own address again, every few
seconds, with the digests of the sections it has; only those that differ come back, so focus,
scroll position and typed text stay where they are.
"""

import hashlib
import re
from typing import Any

from flask import Response, make_response, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from hub.console import trust
from hub.console.access import HAVE, database, now, settings, who
from hub.persist import views

_TOKEN = re.compile(r'name="csrf_token" value="[^"]*"')  # new in every rendering, never news
_MARK = re.compile(r"([a-z]+)=([0-9a-f]{16})")


def page(template: str, *sections: str, **context: Any) -> ResponseReturnValue:
    """The page, or only what changed of it for a browser that has it already."""
    context["strip"] = views.strip(database(), now=now())
    context["trust_bad"], context["trust_soon"] = trust.warning()
    context |= {"who": who(), "now": now(), "refresh_s": settings().refresh_s}
    names = ("strip", *sections)
    parts = {name: _part(name, context) for name in names}
    digests = {name: _digest(part) for name, part in parts.items()}
    context |= {"have": ",".join(f"{name}={digest}" for name, digest in digests.items())}
    if HAVE not in request.headers:
        return render_template(template, parts=parts, **context)
    had = dict(_MARK.findall(request.headers[HAVE]))
    changed = {name: part for name, part in parts.items() if had.get(name) != digests[name]}
    if not changed:
        return Response(status=204)
    return make_response(render_template("live.html", parts=changed, **context))


def _part(name: str, context: dict[str, Any]) -> Markup:
    text = render_template(f"parts/{name}.html", **context).strip()
    return Markup(text)  # noqa: S704 - a template's own output, escaped there


def _digest(part: str) -> str:
    return hashlib.sha256(_TOKEN.sub("", part).encode()).hexdigest()[:16]
