"""The log's key in transit, and the few secrets in KV: seen to be there, never read."""

import secrets

from vault.door import Door
from vault.setup.settings import SetupSettings
from vault.setup.step import EXISTS, Found, State, Step


def log_key(settings: SetupSettings) -> Step:
    """The Ed25519 key that signs the audit log beside the notary's own."""
    path = f"{settings.mounts.transit}/keys/{settings.log_key}"

    def look(door: Door) -> Found:
        if f"{settings.mounts.transit}/" not in (door.read("sys/mounts") or {}):
            return Found(state=State.MAKE)
        there = door.read(path)
        if there is None:
            return Found(state=State.MAKE)
        wrong = [
            f"{key} is {there.get(key)}"
            for key, wanted in (("type", "ed25519"), ("exportable", False))
            if there.get(key) != wanted
        ]
        return Found(state=State.BY_HAND, why=_another(wrong)) if wrong else EXISTS

    def act(door: Door) -> None:
        door.write(path, {"type": "ed25519", "exportable": False})

    return Step(what=f"key {settings.log_key} of the log", look=look, act=act)


def static_secrets(settings: SetupSettings) -> list[Step]:
    """The session key, which we make, and the database's password, which PostgreSQL has to know."""
    return [_session(settings), _password(settings)]


def _session(settings: SetupSettings) -> Step:
    mount = settings.mounts.kv

    def act(door: Door) -> None:
        value = {"data": {"key": secrets.token_urlsafe(48)}, "options": {"cas": 0}}
        door.write(f"{mount}/data/session", value)  # cas 0: one that is there is never replaced

    def look(door: Door) -> Found:
        return EXISTS if _has(door, mount, "session", "key") else Found(state=State.MAKE)

    return Step(what="secret vault:session#key", look=look, act=act)


def _password(settings: SetupSettings) -> Step:
    mount = settings.mounts.kv
    why = f"bao kv put -mount={mount} database password=-"

    def look(door: Door) -> Found:
        if _has(door, mount, "database", "password"):
            return EXISTS
        return Found(state=State.BY_HAND, why=why)

    return Step(what="secret vault:database#password", look=look, act=lambda _: None)


def _has(door: Door, mount: str, path: str, field: str) -> bool:
    """Whether a secret has a field; asks for the names, not the values."""
    if f"{mount}/" not in (door.read("sys/mounts") or {}):
        return False
    return field in ((door.read(f"{mount}/subkeys/{path}") or {}).get("subkeys") or {})


def _another(wrong: list[str]) -> str:
    return f"{', '.join(wrong)}; expected an Ed25519 key that cannot be exported: name another"
