"""Read the secret that a reference names, from Vault's KV or from systemd's credentials.

How a reference is written is for `references.py`; how one signs in to Vault for `access.py`.
"""

import os
from collections.abc import Mapping

from appliance.errors import SettingsError
from vault.access import VaultAccess
from vault.errors import VaultError
from vault.references import CredentialSecret, Reference, credential


def read(
    reference: Reference, access: VaultAccess | None, *, environment: Mapping[str, str] = os.environ
) -> str:
    """The secret; `VaultAwayError` when it may be there later, any other error when not."""
    if isinstance(reference, CredentialSecret):
        return credential(reference, environment=environment)
    if access is None:
        raise SettingsError(f"{reference}: there is no [secrets] to ask")
    with access.opened() as door:
        answer = door.read(f"{access.mount}/data/{reference.path}")
    fields = (answer or {}).get("data")
    value = fields.get(reference.field) if isinstance(fields, dict) else None
    if not isinstance(value, str) or not value:
        raise VaultError(f"{reference}: Vault has no such text")
    return value
