"""Whether a halt of the hub is over: an administrator's own signature says so, not the hub.

The executor asks; nothing is changed here.
"""

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import OrderRefusedError
from agent.halts import Halts
from appliance.envelope import key_id
from appliance.errors import RefusedError
from appliance.halt import Halt, Resumption, to_be_signed
from appliance.people import KeyCredential, People, Person
from appliance.records import from_json

MAX_RESUMPTION_BYTES = 8192


def demand_lifted(data: bytes, halts: Halts, people: People | None) -> str:
    """The id of the halt that is over; raises `OrderRefusedError` with the step that said no."""
    # 1. it is a resumption                  3. its operator is an administrator we know
    # 2. of a halt of the hub, in force now  4. with this key   5. which signed exactly this halt
    try:
        if len(data) > MAX_RESUMPTION_BYTES:  # 1
            raise RefusedError(f"{len(data)} bytes, at most {MAX_RESUMPTION_BYTES}")  # noqa: TRY301
        said = from_json(data, Resumption)
    except RefusedError as error:
        raise OrderRefusedError("resume 1 form", str(error)) from error
    found = halts.of(said.halt_id)
    if found is None:  # 2
        raise OrderRefusedError("resume 2 halt", "no such halt is in force here")
    if found.whose != "hub":
        raise OrderRefusedError("resume 2 halt", "it was made on the node, and ends on the node")
    person = _admin(people, said.operator)  # 3
    key = _key(person, said.signature.credential_id)  # 4
    _demand_signed(said, found.halt, key)  # 5
    return said.halt_id


def _admin(people: People | None, operator: str) -> Person:
    if people is None:
        raise OrderRefusedError(
            "resume 3 person", "this node knows no administrators; resume on the node"
        )
    person = people.person(operator)
    if person is None or person.role != "admin":
        raise OrderRefusedError("resume 3 person", f"{operator!r} is no administrator here")
    return person


def _key(person: Person, credential_id: str) -> Ed25519PublicKey:
    for one in person.credentials:
        if isinstance(one, KeyCredential) and one.credential_id == credential_id:
            try:
                key = Ed25519PublicKey.from_public_bytes(base64.b64decode(one.public_key))
            except (binascii.Error, ValueError):
                break
            if key_id(key) == credential_id:
                return key
    raise OrderRefusedError("resume 4 key", f"{person.name} has no such Ed25519 key here")


def _demand_signed(said: Resumption, halt: Halt, key: Ed25519PublicKey) -> None:
    try:
        signature = base64.b64decode(said.signature.signature, validate=True)
        key.verify(signature, to_be_signed(halt, said.operator))
    except (binascii.Error, ValueError, InvalidSignature) as error:
        raise OrderRefusedError("resume 5 signature", "it is not over this halt") from error
