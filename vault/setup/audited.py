"""Vault's own audit device: seen to be on, switched on where the server lets us.

OpenBao takes audit devices only from its configuration, so there the plan says which lines.
"""

from vault.door import Door
from vault.errors import VaultAwayError, VaultError
from vault.setup.settings import SetupSettings
from vault.setup.step import Found, State, Step


def audit_device(settings: SetupSettings) -> Step:
    """At least one device must be on; ours is made when there is none."""
    name, file = settings.audit_device, settings.audit_file
    lines = f'in its configuration: audit "file" "{name}" {{ options {{ file_path = "{file}" }} }}'

    def look(door: Door) -> Found:
        try:
            devices = door.in_root_namespace().read("sys/audit") or {}
        except VaultAwayError:
            raise
        except VaultError:
            why = "this token may not see it: who runs Vault has to look that one is on"
            return Found(state=State.BY_HAND, why=why)
        there = [path for path in devices if isinstance(devices[path], dict)]
        if there:
            return Found(state=State.EXISTS, why=", ".join(sorted(there)))
        if "openbao" in _kind(door):
            return Found(state=State.BY_HAND, why=lines)
        return Found(state=State.MAKE, why=file)

    def act(door: Door) -> None:
        body = {"type": "file", "options": {"file_path": file}}
        door.in_root_namespace().write(f"sys/audit/{name}", body)

    return Step(what="audit device", look=look, act=act)


def _kind(door: Door) -> str:
    """OpenBao answers this path of its own; Vault has none."""
    found = door.in_root_namespace().read("sys/plugins/catalog/secret/pki") or {}
    return "openbao" if ".bao" in str(found.get("version")) else "vault"
