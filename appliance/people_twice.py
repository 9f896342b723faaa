"""That a list of people counts nobody and no key twice: two people are two, or nothing runs.

A person who stands there twice has two roles, and one key under two names is one person who can
say yes for two. Keys are compared as bytes, not as they are written.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence

from appliance.errors import RefusedError

_SHOWN = 80  # characters of a name or an id in a sentence

# {1: OKP, 3: EdDSA, -1: Ed25519, -2: the key} in CBOR, in the one form of CTAP2; so that a key
# for the terminal and one for the browser are seen to be the same.
_COSE_ED25519 = bytes.fromhex("a4010103272006215820")


def demand_once(persons: Iterable[tuple[str, Sequence[tuple[str, str]]]]) -> None:
    """Of names, each with ids and public keys; raises `RefusedError` with what stands twice."""
    # 1. each person stands there once     3. each key stands there once, however it is written
    # 2. each credential stands there once
    names: set[str] = set()
    by_id: dict[str, str] = {}
    by_key: dict[bytes, str] = {}
    for name, credentials in persons:
        if name in names:  # 1
            raise RefusedError(f"the person {name[:_SHOWN]} stands there twice")
        names.add(name)
        for credential_id, public_key in credentials:
            _demand_new("credential", credential_id, by_id.get(credential_id), name)  # 2
            key = _key(public_key)
            _demand_new("public key of", credential_id, by_key.get(key), name)  # 3
            by_id[credential_id] = by_key[key] = name


def _demand_new(what: str, credential_id: str, owner: str | None, name: str) -> None:
    if owner is None:
        return
    whose = f"of {name[:_SHOWN]}" if owner == name else f"of {owner[:_SHOWN]} and {name[:_SHOWN]}"
    raise RefusedError(f"the {what} {credential_id[:_SHOWN]} stands there twice: {whose}")


def _key(text: str) -> bytes:
    """The key's own bytes; what is no base64 verifies nothing, and is compared as it is."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
    return data.removeprefix(_COSE_ED25519)
