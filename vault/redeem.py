"""A node's side of a wrapped token: look at it before it is spent, then open it once.

Looking spends nothing. It shows where the token was made: one that somebody else wrapped, as one
does who opened ours and put another in its place, was made elsewhere, and is not opened. One that
is gone before its time was opened by somebody else.
"""

from typing import Annotated, Any

import msgspec

from vault.client import Client
from vault.errors import JoinError, StolenTokenError, VaultDeniedError
from vault.joining import MOST_MINUTES
from vault.settings import VaultSite

GONE = (
    "this token was already unwrapped, or its time is over; if it was not you within these minutes,"
    " somebody else has what was in it: tell the administrator to run `sentinel node check NODE`"
)


class Unwrapped(msgspec.Struct, frozen=True, kw_only=True):
    """The token that was inside."""

    token: Annotated[str, msgspec.Meta(min_length=8, max_length=4096)]


def look(client: Client, site: VaultSite, token: str) -> None:
    """Raise unless the token is unspent and was made where joining tokens are made."""
    try:
        answer = client.call(
            "POST", "sys/wrapping/lookup", {"token": token}, what="look at the token", token=""
        )
    except VaultDeniedError as error:
        raise _refusal(error) from error
    said: dict[str, Any] = answer.get("data") or {}
    expected, came = f"auth/token/create/{site.enroll_role}", said.get("creation_path")
    if came != expected:
        raise StolenTokenError(
            f"this token was made at {str(came)[:100]}, expected {expected}: it is not the one that"
            " `sentinel node add` wrote; it was not opened"
        )
    lifetime = said.get("creation_ttl")
    if not isinstance(lifetime, int) or lifetime > MOST_MINUTES * 60:
        raise JoinError(f"this token lives {lifetime} s, at most {MOST_MINUTES * 60}: not opened")


def unwrap(client: Client, token: str) -> Unwrapped:
    """Open it; nobody can a second time."""
    try:
        answer = client.call("POST", "sys/wrapping/unwrap", what="unwrap the token", token=token)
    except VaultDeniedError as error:
        raise _refusal(error) from error
    found = (answer.get("auth") or {}).get("client_token")
    if not isinstance(found, str):
        raise JoinError("what was wrapped is no token")
    return Unwrapped(token=found)


def _refusal(error: VaultDeniedError) -> JoinError:
    spent = "wrapping token is not valid" in str(error) or "bad token" in str(error)
    return StolenTokenError(GONE) if spent else JoinError(str(error))
