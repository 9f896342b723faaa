"""The demo's own ceremony: two root keys, two policy signers, and what they sign.

At a real site these keys lie with different people and never on one machine; here they lie side
by side in the demo's folder, so that the whole way can be walked, and looked at afterwards.
"""

from datetime import UTC, datetime
from pathlib import Path

from appliance import envelope
from appliance.demo.site import Site
from appliance.operator_key import credential
from appliance.people import People, Person
from appliance.publishing import ceremony, enrolled, in_force
from appliance.publishing.ceremony import Wanted, Wishes
from appliance.publishing.folder import Folder
from policy.bundle import SHIPPED_RULES

ROOTS = ("root-1", "root-2")
SIGNERS = ("signer-1", "signer-2")
DAYS = 365


def publish(site: Site, *, operator: str, password_only: bool) -> list[str]:
    """Draft, sign twice and publish; a second start on the same folder changes only what differs.

    The node's pinned root is there before any part starts.
    """
    now = datetime.now(UTC)
    folder = Folder(site.trust)
    if not site.trust_root.exists():
        _begin(site, folder, now=now)
    people = site.root / "config" / "people.toml"
    people.parent.mkdir(exist_ok=True)
    people.write_text(enrolled.written(_people(site, operator, password_only=password_only)))
    wanted = Wanted(
        policy=SHIPPED_RULES,
        people=people,
        order_keys=[_key(site, "order.pub")],
        audit_vkeys=[site.vkey],
    )
    ceremony.draft(folder, wanted, days=DAYS, now=now)
    for name in SIGNERS:
        _sign(site, folder, name)
    return in_force.publish(folder, config=site.settings("serve"), by="demo", now=now)


def operator_key(site: Site) -> Path:
    """The Ed25519 key of the demo's operator, made at the first start."""
    if not site.operator_key.exists():
        envelope.make_key(site.operator_key)
    return site.operator_key


def _begin(site: Site, folder: Folder, *, now: datetime) -> None:
    for name in (*ROOTS, *SIGNERS, "online"):
        envelope.make_key(_key(site, f"{name}.key"))
    wishes = Wishes(
        roots=[_key(site, f"{name}.pub") for name in ROOTS],
        signers=[_key(site, f"{name}.pub") for name in SIGNERS],
        online=_key(site, "online.pub"),
        root_threshold=2,
        threshold=2,
    )
    ceremony.init(folder, wishes, days=DAYS, now=now)
    for name in ROOTS:
        _sign(site, folder, name)
    site.trust_root.write_bytes(folder.root())


def _sign(site: Site, folder: Folder, name: str) -> None:
    key = envelope.load_key(_key(site, f"{name}.key"))
    ceremony.sign(folder, ceremony.pending(folder, key.public_key()), key)


def _people(site: Site, operator: str, *, password_only: bool) -> People:
    key = credential(envelope.load_key(operator_key(site)))
    return People(
        persons=(Person(name=operator, role="admin", credentials=(key,)),),
        quorum={"low": 1, "high": 2},
        rp_id="localhost",
        origins=(site.console_url,),
        password_only=password_only,
    )


def _key(site: Site, name: str) -> Path:
    return site.root / "keys" / name
