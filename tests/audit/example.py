"""The worked example of `audit/README.md`: four entries, always the same bytes."""

from datetime import timedelta

from audit.entry import Actor, EntryDraft
from tests.audit.builders import EPOCH, INCIDENT, ORIGIN, chain_of, note_of, signer, uuid_of

HUB = Actor(kind="hub", id="hub", node=None, session=None)
MARIA = Actor(kind="operator", id="maria", node=None, session="5f2c")
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def drafts() -> list[EntryDraft]:
    """A log begins, an incident opens, a person says yes, it is over."""
    return [
        EntryDraft(
            id=uuid_of(1),
            at=EPOCH,
            type="log.open",
            actor=Actor(kind="notary", id="notary", node=None, session=None),
            body={"vkey": signer().vkey, "format": 1},
        ),
        EntryDraft(
            id=uuid_of(2),
            at=EPOCH + timedelta(seconds=30),
            type="incident.open",
            actor=Actor(kind="node", id="web1.example", node="web1.example", session=None),
            incident=INCIDENT,
            body={
                "finding_id": "f-1",
                "node": "web1.example",
                "condition": "disk_full",
                "subject": "/var",
                "severity": "critical",
            },
        ),
        EntryDraft(
            id=uuid_of(3),
            at=EPOCH + timedelta(seconds=95),
            type="approval.grant",
            actor=MARIA,
            incident=INCIDENT,
            outcome="granted",
            body={"approval_id": "a-1", "plan_id": "p-1", "shown_digest": DIGEST, "mode": "live"},
        ),
        EntryDraft(
            id=uuid_of(4),
            at=EPOCH + timedelta(seconds=140),
            type="incident.close",
            actor=HUB,
            incident=INCIDENT,
            outcome="resolved",
            body={"state": "resolved", "entries": 3},
        ),
    ]


LINES = chain_of(drafts())
SEGMENT = b"".join(b"%b\n" % line for line in LINES)
NOTE = note_of(LINES)
VKEY = signer().vkey
NAME = ORIGIN
