"""One's own keys, and for administrators those that wait: enrol, compare, approve, take back.

A key that is approved here is offered to whoever writes people.json; it counts once that list is
published. Every step is in the audit log.
"""

import hashlib
import secrets
from dataclasses import dataclass

from flask import Blueprint, flash, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from appliance.errors import RefusedError
from appliance.operator_claim import fingerprint, from_base64url, to_base64url
from appliance.operator_key import public_credential
from appliance.operator_signature import register
from appliance.people import Credential, People
from hub import credentials
from hub.console import forms
from hub.console.access import by, database, needs, now, who
from hub.console.words import Badge
from hub.errors import CredentialError
from hub.persist import views
from hub.persist.people import kind_of
from hub.persist.views import Row

pages = Blueprint("keys", __name__)

_ID = 1400
_BLOB = 16_000
_ENROL = "enrol"  # in the browser's signed cookie: the challenge that it was given

KINDS = {"webauthn": "browser key", "ed25519": "terminal key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as a page shows it."""

    credential: Credential
    owner: str
    row: Row | None  # None: it is in people.json and was never enrolled here
    published: bool

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return KINDS[kind_of(self.credential)]

    @property
    def fingerprint(self) -> str:
        """What two people compare."""
        return fingerprint(self.credential)

    @property
    def pending(self) -> bool:
        """Whether it waits for an administrator."""
        return self.row is not None and not self.row["approved_at"] and not self.row["revoked_at"]

    @property
    def revoked(self) -> bool:
        """Whether it was taken back."""
        return self.row is not None and bool(self.row["revoked_at"])

    @property
    def badge(self) -> Badge:
        """Where it stands."""
        if self.revoked:
            if self.published:
                return Badge("revoked; nodes hear it with the next publication", "✕", "warn")
            return Badge("revoked", "✕", "quiet")
        if self.published:
            return Badge("in force", "✔", "good")
        if self.pending:
            return Badge("waits for an administrator", "▶", "act")
        return Badge("approved; in force after the next policy publication", "✓", "busy")


def keys_of(name: str | None = None) -> list[Key]:
    """The keys of one person, or of all: those enrolled here, and those that are only published."""
    rows, people = views.credentials(database(), of=name)
    published = _published(people)
    found = [
        Key(
            credential=credentials.credential_of(row),
            owner=row["operator"],
            row=row,
            published=published.get(row["credential_id"], ("",))[0] == row["operator"],
        )
        for row in rows
    ]
    known = {row["credential_id"] for row in rows}
    found += [
        Key(credential=one, owner=owner, row=None, published=True)
        for credential_id, (owner, one) in published.items()
        if credential_id not in known and name in (None, owner)
    ]
    return sorted(found, key=lambda key: (not key.pending, key.revoked, key.owner))


def enrolment() -> dict[str, str]:
    """What a browser needs to make a key; the same until it is used."""
    if _ENROL not in session:
        session[_ENROL] = secrets.token_urlsafe(32)
    rp_id, _ = _relying_party()
    return {
        "challenge": to_base64url(_challenge()),
        "rp": rp_id,
        "user": to_base64url(hashlib.sha256(who().name.encode()).digest()),
        "name": who().name,
    }


@pages.post("/account/keys")
@needs()
def enrol() -> ResponseReturnValue:
    """Ask that the key which this browser has just made count."""
    challenge = _challenge()
    session.pop(_ENROL, None)
    rp_id, origins = _relying_party()
    try:
        made = register(
            attestation=forms.field("attestation", most=_BLOB),
            client_data=forms.field("client_data", most=_BLOB),
            label=forms.field("label", most=64),
            challenge=challenge,
            rp_id=rp_id,
            origins=origins,
        )
    except RefusedError as error:
        raise CredentialError(f"no key was enrolled: {error}") from error
    return _requested(made.credential)


@pages.post("/account/keys/terminal")
@needs()
def enrol_terminal() -> ResponseReturnValue:
    """Ask that a key made with `sentinel approve key` count."""
    try:
        made = public_credential(
            forms.field("public_key", most=200), label=forms.field("label", most=64)
        )
    except RefusedError as error:
        raise CredentialError(str(error)) from error
    return _requested(made)


@pages.post("/account/keys/remove")
@needs()
def remove() -> ResponseReturnValue:
    """Take one's own key back."""
    credentials.revoke(database(), credential_id=_id(), by=by(), now=now(), owner=who().name)
    return _back("signin.account", "The key is removed and counts no longer here.")


@pages.post("/people/keys/approve")
@needs("admin")
def approve() -> ResponseReturnValue:
    """The administrator compared the fingerprint with the owner."""
    owner = credentials.approve(
        database(), credential_id=_id(), admin=who().name, by=by(), now=now()
    )
    return _back(
        "people.show", f"{owner}'s key is approved; in force after the next policy publication."
    )


@pages.post("/people/keys/revoke")
@needs("admin")
def revoke() -> ResponseReturnValue:
    """Take a key back, or refuse one that waits."""
    owner = credentials.revoke(database(), credential_id=_id(), by=by(), now=now())
    return _back("people.show", f"{owner}'s key is revoked and counts no longer here.")


def _requested(credential: Credential) -> Response:
    credentials.request(database(), owner=who().name, credential=credential, by=by(), now=now())
    return _back(
        "signin.account",
        "The key waits for an administrator. Read its fingerprint to them, so that they compare.",
    )


def _published(people: People | None) -> dict[str, tuple[str, Credential]]:
    if people is None:
        return {}
    return {
        one.credential_id: (person.name, one)
        for person in people.persons
        for one in person.credentials
    }


def _challenge() -> bytes:
    if _ENROL not in session:
        raise CredentialError("this page is too old; open it again")
    return from_base64url(str(session[_ENROL]))


def _relying_party() -> tuple[str, list[str]]:
    """For whom keys are made: as people.json says, and before there is one, this very address."""
    people = views.people(database())
    if people is not None:
        return people.rp_id, list(people.origins)
    return request.host.rpartition(":")[0] or request.host, [request.host_url.rstrip("/")]


def _id() -> str:
    return forms.field("credential_id", most=_ID)


def _back(endpoint: str, message: str) -> Response:
    flash(message)
    return redirect(url_for(endpoint), code=303)
