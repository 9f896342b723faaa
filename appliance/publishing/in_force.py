"""Put the signed draft of a repository in force at the hub.

The database decides what is in force, the folder follows: a crash between the two is mended by
publishing again, which then changes nothing but the folder.
"""

from datetime import datetime
from pathlib import Path

from appliance import settings, tuf_repository
from appliance.envelope import load_key
from appliance.errors import TrustError
from appliance.publishing.folder import Folder
from appliance.trust_files import Belief, root_name
from hub.persist.database import Database
from hub.persist.outbox import actor
from hub.publish import Hub
from hub.publish import publish as put_in_force
from hub.secrets import dsn_of
from hub.settings import ServeSettings


def publish(folder: Folder, *, config: Path, by: str, now: datetime) -> list[str]:
    """Publish the draft, or a new root alone, at the hub of these settings."""
    chosen = settings.load(config, ServeSettings)
    if chosen.trust_root is None or chosen.trust_key is None:
        raise TrustError(f"{config}: publishing needs trust_root and trust_key")
    offered = signed_set(folder)
    with Database(dsn_of(chosen), size=1) as db:
        hub = Hub(db=db, root=_read(chosen.trust_root), key=load_key(chosen.trust_key))
        belief = put_in_force(hub, offered, by=actor("operator", by), now=now)
    # From here on it is in force; a crash before the next line leaves a draft that says so.
    folder.settle()
    return _told(belief)


def signed_set(folder: Folder) -> dict[str, bytes]:
    """All roots, and what enough signers signed; raises `TrustError` with who is missing."""
    if (waiting := folder.root_draft()) is not None:
        version = tuf_repository.version_of(waiting)
        raise TrustError(f"root {version} is a draft that its keepers have not signed")
    roots = {root_name(version): data for version, data in folder.roots().items()}
    files = folder.draft() or folder.in_force()
    if not files:
        raise TrustError("there is no draft: run `sentinel policy draft` first")
    root = tuf_repository.read_root(folder.root())
    signed = tuf_repository.signatures(files["targets.json"], "targets", root)
    if not signed.complete:
        raise TrustError(
            f"signed by {', '.join(signed.signed) or 'nobody'}, but it takes {signed.needed}:"
            f" {signed.needed - len(signed.signed)} more of {', '.join(signed.unsigned)}"
        )
    return {**roots, **files}


def _told(belief: Belief | None) -> list[str]:
    if belief is None:
        return ["it was in force already; nothing has changed"]
    versions = ", ".join(f"{role} {version}" for role, version in belief.versions.items())
    role, ends = belief.ends
    return [f"in force: {versions}", f"{role} is the first to end, on {ends:%Y-%m-%d}"]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror}") from error
