"""What the page of the nodes needs so that an administrator's key can sign that a halt is over."""

from dataclasses import dataclass

from appliance.halt import Halt, to_be_signed
from appliance.operator_claim import to_base64url
from appliance.people import WebAuthnCredential
from hub.console.access import database, who
from hub.persist.people import people_in_force, usable
from hub.persist.views import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Resuming:
    """How the person who looks can end a halt."""

    name: str
    rp_id: str
    keys: str  # ids of their keys for a browser; empty: a terminal it is

    def challenge(self, halt: Row) -> str:
        """What the key signs."""
        over = Halt(halt_id=str(halt["halt_id"]), reason=halt["reason"])
        return to_base64url(to_be_signed(over, self.name))


def resuming() -> Resuming:
    """For the person who is signed in; who is no administrator in people.json has no keys here."""
    name = who().name
    with database().transaction() as work:
        people = people_in_force(work)
        person = people.person(name) if people else None
        if people is None or person is None or person.role != "admin":
            return Resuming(name=name, rp_id="", keys="")
        ids = [
            one.credential_id
            for one in usable(work, people, name)
            if isinstance(one, WebAuthnCredential)
        ]
        return Resuming(name=name, rp_id=people.rp_id, keys=" ".join(ids))
