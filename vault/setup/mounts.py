"""The engines and the ways to sign in: mounted where the settings say, or found there."""

from typing import Any

from vault.door import Door
from vault.errors import VaultError
from vault.setup.settings import SetupSettings, seconds
from vault.setup.step import EXISTS, Found, State, Step


def engines(settings: SetupSettings) -> list[Step]:
    """PKI for the root and the intermediate, transit, KV version 2."""
    mounts, lives = settings.mounts, settings.lifetimes
    root = [] if settings.own_ca else [(mounts.root, "pki", seconds(lives.root))]
    longest = max(map(seconds, (lives.intermediate, lives.server, lives.node, lives.database)))
    wanted = [*root, (mounts.pki, "pki", longest), (mounts.transit, "transit", 0)]
    return [
        *(_mount("sys/mounts", path, kind, longest_s=longest) for path, kind, longest in wanted),
        _mount("sys/mounts", mounts.kv, "kv", options={"version": "2"}),
    ]


def sign_ons(settings: SetupSettings) -> list[Step]:
    """AppRole for a process without a certificate, and sign-on by certificate."""
    return [
        _mount("sys/auth", settings.mounts.approle, "approle"),
        _mount("sys/auth", settings.mounts.cert, "cert"),
    ]


def accessor(door: Door, path: str) -> str | None:
    """By which name Vault knows a way to sign in; None while it is not there."""
    found = (door.read("sys/auth") or {}).get(f"{path}/")
    return str(found["accessor"]) if isinstance(found, dict) else None


def _mount(
    table: str, path: str, kind: str, *, longest_s: int = 0, options: dict[str, str] | None = None
) -> Step:
    where = "engine" if table == "sys/mounts" else "sign-on"

    def look(door: Door) -> Found:
        there = (door.read(table) or {}).get(f"{path}/")
        if not isinstance(there, dict):
            return Found(state=State.MAKE)
        if there.get("type") != kind or _version(there) != _version({"options": options}):
            # Never taken over, never removed: somebody's secrets are in it.
            raise VaultError(
                f"{path} is a mount of type {there.get('type')}, expected {kind}"
                f"{' version 2' if options else ''}: name another in [mounts]"
            )
        has = int((there.get("config") or {}).get("max_lease_ttl") or 0)
        if longest_s and has < longest_s:
            return Found(state=State.CHANGE, why=f"max_lease_ttl: {has} s → {longest_s} s")
        return EXISTS

    def act(door: Door) -> None:
        config: dict[str, Any] = {"max_lease_ttl": f"{longest_s}s"} if longest_s else {}
        if f"{path}/" in (door.read(table) or {}):
            door.write(f"{table}/{path}/tune", config)
            return
        body: dict[str, Any] = {"type": kind, "description": "Sentinel", "config": config}
        door.write(f"{table}/{path}", body | ({"options": options} if options else {}))

    return Step(what=f"{where} {kind} at {path}", look=look, act=act)


def _version(mount: dict[str, Any]) -> str | None:
    return (mount.get("options") or {}).get("version")
