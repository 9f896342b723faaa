"""The headers and checks that hold for every answer, whatever the page."""

from flask import Flask, Response, abort, request

POLICY = (
    "default-src 'none'; "
    "script-src 'self'; "  # no inline script: text from a host can never become one
    "style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # a one-time link stays between two
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), geolocation=(), microphone=(), usb=(), "
        "publickey-credentials-get=(self), publickey-credentials-create=(self)"
    ),
}


def install(app: Flask) -> None:
    """Check every request, and put the headers on every answer."""
    app.before_request(_same_site)
    app.after_request(_headers)


def _same_site() -> None:
    """Refuse a change that another site's page asks for, before its form token is looked at."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if request.method == "POST" and site not in ("same-origin", "none"):
        abort(403)


def _headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "static":
        response.headers["Cache-Control"] = "private, max-age=3600"
    else:
        response.headers["Cache-Control"] = "no-store"
    return response
