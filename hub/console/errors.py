"""What can go wrong in a browser, and which status says it.

Only the console turns errors into sentences; what it does not know it shows as
"internal error, see journal".
"""

import logging
from http import HTTPStatus

from flask import Flask, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from appliance.errors import SentinelError
from appliance.journal import shown
from hub.errors import (
    ApprovalError,
    CredentialError,
    DatabaseError,
    FleetError,
    MoveError,
    NotaryError,
)
from hub.persist.operators import OperatorError
from hub.persist.sign_in import SigninError

_log = logging.getLogger(__name__)

_STATUS: dict[type[SentinelError], HTTPStatus] = {
    ApprovalError: HTTPStatus.CONFLICT,
    CredentialError: HTTPStatus.CONFLICT,
    MoveError: HTTPStatus.CONFLICT,
    FleetError: HTTPStatus.CONFLICT,
    OperatorError: HTTPStatus.CONFLICT,
    SigninError: HTTPStatus.UNAUTHORIZED,
    NotaryError: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseError: HTTPStatus.SERVICE_UNAVAILABLE,
}

_SENTENCES = {
    400: "The request is not one that this console makes.",
    401: "Please sign in.",
    403: "Your role does not allow this.",
    404: "There is nothing at this address.",
    405: "This address does not take such a request.",
    413: "That is more text than the console takes in one request.",
    500: "Internal error, see journal.",
    503: "This is not possible right now.",
}


class RoleError(SentinelError):
    """The operator's role does not allow this."""

    code = "role"
    exit_status = 1


class UnprovenError(SentinelError):
    """What was asked for is not given out, because it is not proven to be what was signed."""

    code = "unproven"
    exit_status = 1


class NotGivenError(SentinelError):
    """A part of the log was not exported; the text says why."""

    code = "not_given"
    exit_status = 1


_STATUS |= {UnprovenError: HTTPStatus.CONFLICT, NotGivenError: HTTPStatus.CONFLICT}


def install(app: Flask) -> None:
    """Give every error a page in the console's look."""
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(RoleError, _role)
    app.register_error_handler(SentinelError, _known)
    app.register_error_handler(Exception, _unknown)


def page(status: int, sentence: str, *, back: str | None = None) -> ResponseReturnValue:
    """An error page; one that needs no database, for it may be the database that failed."""
    title = HTTPStatus(status).phrase
    text = render_template("error.html", status=status, title=title, sentence=sentence, back=back)
    return text, status


def _csrf(error: CSRFError) -> ResponseReturnValue:
    return page(400, f"{error.description} Nothing was done; go back, reload and try again.")


def _http(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if status < HTTPStatus.BAD_REQUEST:
        return error.get_response()
    return page(status, _SENTENCES.get(status, error.name))


def _role(error: RoleError) -> ResponseReturnValue:
    return page(403, str(error))


def _known(error: SentinelError) -> ResponseReturnValue:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        return _unknown(error)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        _log.error("%s: %s", request.path, error)
    return page(status, shown(str(error)), back=_back())


def _unknown(error: Exception) -> ResponseReturnValue:
    _log.error("%s %s failed", request.method, shown(request.path), exc_info=error)
    return page(500, _SENTENCES[500])


def _back() -> str | None:
    """The page of the incident that an action was about."""
    incident_id = (request.view_args or {}).get("incident_id")
    return url_for("incident.show", incident_id=incident_id) if incident_id else None
