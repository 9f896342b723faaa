"""What a page needs so that a person can sign a yes, and what stands in the way.

`hub.approve` decides; here people are told beforehand, and the browser gets the challenge that
their key signs. What a form sends back is read into a signature, and checked there.
"""

from dataclasses import dataclass
from datetime import datetime

from flask import Flask, g

from appliance import records
from appliance.errors import RefusedError
from appliance.lifecycle import State
from appliance.operator_claim import to_base64url
from appliance.people import MAY_ANSWER, Credential, People, WebAuthnCredential, statement
from appliance.records import KeySignature, OperatorSignature, Shown, WebAuthnSignature
from hub.console import forms
from hub.console.access import database
from hub.console.case import Case
from hub.errors import ApprovalError, DatabaseError
from hub.persist import views
from hub.persist.status import LogState
from hub.persist.views import Row

_FIELDS = ("authenticator_data", "client_data", "signature")
_TAGS = {WebAuthnSignature: "webauthn", KeySignature: "ed25519"}
_MOST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the person who looks stands to the plan that is shown."""

    name: str
    case: Case
    people: People | None
    credentials: tuple[Credential, ...]
    given: list[Row]

    @property
    def shown(self) -> Shown | None:
        """What is shown."""
        return self.case.shown

    @property
    def needed(self) -> int:
        """How many different people must say yes."""
        return self.shown.approvals_needed if self.shown else 1

    @property
    def said_yes(self) -> bool:
        """Whether this person said yes to it already."""
        return self.name in [one["operator"] for one in self.given]

    @property
    def password_only(self) -> bool:
        """Whether the site's people.json asks for no signature."""
        return self.people is not None and self.people.password_only

    @property
    def browser_keys(self) -> str:
        """The ids of the keys that this person can use in a browser."""
        ids = [one.credential_id for one in self.credentials if isinstance(one, WebAuthnCredential)]
        return " ".join(ids)

    @property
    def challenge(self) -> str:
        """What the key signs."""
        digest = self.case.row["shown_digest"]
        return to_base64url(statement("approve", operator=self.name, digest=digest))

    @property
    def signs_here(self) -> bool:
        """Whether the approve button asks a key of this person."""
        return bool(self.browser_keys) and not self.password_only

    @property
    def signs_elsewhere(self) -> bool:
        """Whether this person has keys for a terminal only."""
        return bool(self.credentials) and not self.browser_keys and not self.password_only

    def obstacle(self, log: LogState, role: str, now: datetime) -> str | None:
        """Why this person cannot approve this plan, or None when they can."""
        case, shown = self.case, self.shown
        if case.state is not State.AWAITING or shown is None:
            return case.next
        if shown.ruling != "allow":
            return (
                f"The policy's ruling on this plan is “{shown.ruling}”. Only a plan whose"
                " every command is “allow” can be approved; the reasons stand beside the commands."
            )
        if shown.not_after <= now:
            return "This plan has expired; nothing was approved."
        if log.trouble is not None:
            return f"Approvals are closed: {log.trouble}. Without a record nothing may run."
        return self._mine(role, shown)

    def _mine(self, role: str, shown: Shown) -> str | None:
        if self.people is None:
            return "Nobody may approve yet: no list of people (people.json) is published."
        if self.people.person(self.name) is None:
            return (
                "You are not in the published list of people, so you may look and not answer."
                " An administrator can ask the policy signers to add you."
            )
        if role not in MAY_ANSWER:
            return f"Your role, {role}, may look and not answer."
        if shown.author == self.name:
            return "You wrote this plan. Another operator must approve it."
        if self.said_yes:
            return f"You said yes: {len(self.given)} of {self.needed}. It waits for another person."
        if not self.credentials and not self.password_only:
            return (
                "You have no key that counts yet. Enrol one under your name, have an administrator"
                " approve it; it counts after the next policy publication."
            )
        return None


def standing_of(case: Case, name: str) -> Standing:
    """How this person stands to the plan of a case."""
    found = views.answers(
        database(),
        incident_id=case.incident_id,
        shown_digest=case.row["shown_digest"] or "",
        name=name,
    )
    return Standing(
        name=name,
        case=case,
        people=found.people,
        credentials=found.credentials,
        given=found.given,
    )


def sent_signature(*, refused: str = "nothing was approved") -> OperatorSignature | None:
    """The signature in the form that was sent; None when there is none."""
    credential_id = forms.field("credential_id", most=1400)
    if not credential_id:
        return None
    sent = {name: forms.field(name, most=_MOST) for name in _FIELDS}
    kind: type[WebAuthnSignature | KeySignature] = WebAuthnSignature
    if not sent["authenticator_data"] and not sent["client_data"]:
        kind, sent = KeySignature, {"signature": sent["signature"]}
    read = {"kind": _TAGS[kind], "credential_id": credential_id, **sent}
    try:
        return records.from_builtins(read, kind)
    except RefusedError as error:
        raise ApprovalError(f"{refused}: {error}") from error


def install(app: Flask) -> None:
    """Let every page say when approvals need no signature."""
    app.jinja_env.globals["password_only"] = _password_only


def _password_only() -> bool:
    """Whether people.json asks for no signature; without a database no page can tell."""
    if "password_only" not in g:
        try:
            found = views.people(database())
        except DatabaseError:
            found = None
        g.password_only = found is not None and found.password_only
    said: bool = g.password_only
    return said
