"""Whether the hub takes a person's own signature as theirs, before anything is recorded.

The mathematics is `appliance/operator_signature.py`, the same that the nodes use. What only the hub
can know is added here: credentials that were revoked since the last publication, and counters.
"""

from datetime import datetime

from appliance.operator_claim import SignatureError, claim_of
from appliance.operator_signature import verify
from appliance.people import Act, People
from appliance.records import OperatorSignature
from hub.errors import ApprovalError
from hub.persist.database import Work
from hub.persist.people import usable

_STAYS: dict[Act, str] = {"approve": "nothing was approved", "resume": "the halt stays"}


def demand_signature(
    work: Work,
    people: People,
    *,
    operator: str,
    digest: str,
    signature: OperatorSignature | None,
    now: datetime,
    act: Act = "approve",
) -> None:
    """Raise `ApprovalError` unless this person signed this act on this digest with a key in force.

    Without a key nobody ends a halt, whatever a site's people.json says of plans.
    """
    # 1. a site without keys says so in people.json     3. it was not revoked meanwhile
    # 2. the credential is this person's, in force      4. the signature is good
    #                                                   5. the authenticator's counter grew
    if signature is None and people.password_only and act == "approve":  # 1
        return
    try:
        claim = claim_of(  # 2
            people, act=act, operator=operator, digest=digest, signature=signature
        )
        credential_id = claim.credential.credential_id
        _demand_not_revoked(work, people, operator, credential_id)  # 3
        before = work.one("credential_count", credential_id=credential_id)
        count = verify(claim, sign_count=before["sign_count"] if before else 0)  # 4
    except SignatureError as error:
        raise ApprovalError(f"{_STAYS[act]}: {error}") from error
    if not work.run("credential_used", credential_id=credential_id, sign_count=count, now=now):  # 5
        raise ApprovalError(f"{_STAYS[act]}: the credential's counter went back")


def _demand_not_revoked(work: Work, people: People, operator: str, credential_id: str) -> None:
    if credential_id not in {one.credential_id for one in usable(work, people, operator)}:
        raise SignatureError("this key was revoked; use another one")
