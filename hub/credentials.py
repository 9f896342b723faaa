"""How a key comes to count: its owner asks, an administrator compares, the policy signers publish.

Nothing here puts a key in force. An approved one is offered to whoever writes people.json, and a
revoked one counts no longer on the hub at once, on the nodes after the next publication.
"""

from datetime import datetime

from appliance.journal import shown as visible
from appliance.operator_claim import fingerprint
from appliance.people import Credential, KeyCredential, WebAuthnCredential
from hub.errors import CredentialError
from hub.persist.database import Database, Row, Work
from hub.persist.outbox import Actor, offer
from hub.persist.people import kind_of

MOST_OF_ONE = 16  # as in appliance/people.py


def request(db: Database, *, owner: str, credential: Credential, by: Actor, now: datetime) -> None:
    """A key waits for an administrator."""
    with db.transaction() as work:
        mine = [one for one in work.all("credential_of", operator=owner) if not one["revoked_at"]]
        if len(mine) >= MOST_OF_ONE:
            raise CredentialError(f"a person has at most {MOST_OF_ONE} keys; remove one first")
        added = work.run(
            "credential_add",
            credential_id=credential.credential_id,
            operator=owner,
            kind=kind_of(credential),
            public_key=credential.public_key,
            label=visible(credential.label, most=64),
            now=now,
        )
        if not added:
            raise CredentialError("this key is known already; one key is one person's, once")
        _offer(
            work, "credential.request", owner, credential, by=by, now=now, outcome="pending",
            kind=kind_of(credential), label=visible(credential.label, most=64),
        )  # fmt: skip


def approve(db: Database, *, credential_id: str, admin: str, by: Actor, now: datetime) -> str:
    """An administrator compared the fingerprint with the owner; returns the owner's name."""
    with db.transaction() as work:
        row = _must(work, credential_id)
        if row["operator"] == admin:
            raise CredentialError("nobody approves their own key; another administrator must")
        if row["revoked_at"] or row["approved_at"]:
            raise CredentialError("this key does not wait for an approval")
        work.run("credential_approve", credential_id=credential_id, by=admin, now=now)
        _offer(
            work, "credential.approve", row["operator"], credential_of(row), by=by, now=now,
            outcome="approved",
        )  # fmt: skip
        return str(row["operator"])


def revoke(
    db: Database, *, credential_id: str, by: Actor, now: datetime, owner: str | None = None
) -> str:
    """Take a key back; with `owner` only if it is theirs. Returns the owner's name."""
    with db.transaction() as work:
        row = _must(work, credential_id)
        if owner is not None and row["operator"] != owner:
            raise CredentialError("this is not a key of yours")
        if row["revoked_at"]:
            raise CredentialError("this key is revoked already")
        work.run("credential_revoke", credential_id=credential_id, by=by["id"], now=now)
        _offer(
            work, "credential.revoke", row["operator"], credential_of(row), by=by, now=now,
            outcome="revoked",
        )  # fmt: skip
        return str(row["operator"])


def credential_of(row: Row) -> Credential:
    """The record of a row of `credential`."""
    kind = WebAuthnCredential if row["kind"] == "webauthn" else KeyCredential
    return kind(
        credential_id=row["credential_id"], public_key=row["public_key"], label=row["label"]
    )


def _must(work: Work, credential_id: str) -> Row:
    row = work.one("credential_one", credential_id=credential_id)
    if row is None:
        raise CredentialError("there is no such key")
    return row


def _offer(
    work: Work,
    kind_of_entry: str,
    owner: str,
    credential: Credential,
    *,
    by: Actor,
    now: datetime,
    outcome: str,
    **more: str,
) -> None:
    body = {
        "credential_id": credential.credential_id,
        "operator": owner,
        "fingerprint": fingerprint(credential).replace(" ", ""),
        **more,
    }
    offer(work, type=kind_of_entry, actor=by, body=body, at=now, outcome=outcome)
