"""What an executor believes: pinned keys, its own policy, and the newest checkpoint it accepted."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import JournalError
from agent.executor_settings import ExecutorSettings
from appliance.envelope import load_public_key
from appliance.errors import EnvelopeError, SettingsError
from appliance.records import Mode
from audit.checkpoint import Checkpoint
from audit.errors import VkeyError
from audit.note import Vkey, parse_vkey
from policy.bundle import SHIPPED_RULES, bundle_or_refusal, read_folder
from policy.evaluate import SecondReader
from policy.rules import Bundle


class Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest checkpoint this node accepted; a smaller log is a rollback."""

    size: int
    root: str


@dataclass(slots=True, kw_only=True)
class Trust:
    """All that an order is checked against."""

    node: str
    mode: Mode
    order_key: Ed25519PublicKey
    audit_vkey: Vkey
    bundle: Bundle
    second: SecondReader
    checkpoint_file: Path
    most_timeout_s: float
    seen: Seen | None = field(default=None)

    def accept(self, checkpoint: Checkpoint) -> None:
        """Remember a checkpoint, durably, before anything is answered or run."""
        seen = Seen(size=checkpoint.size, root=checkpoint.root.hex())
        if seen == self.seen:
            return
        temporary = self.checkpoint_file.with_suffix(".new")
        try:
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(seen))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.checkpoint_file)  # a crash here leaves the old one or the new
        except OSError as error:
            message = f"{self.checkpoint_file}: cannot write: {error.strerror}"
            raise JournalError(message) from error
        self.seen = seen


def load_trust(settings: ExecutorSettings, second: SecondReader) -> Trust:
    """Read keys, policy and the last checkpoint; raises with the file that is wrong.

    A broken policy is not an error here: it becomes a policy that refuses everything.
    """
    file = settings.state_dir / "checkpoint.json"
    return Trust(
        node=settings.node,
        mode=settings.mode,
        order_key=_order_key(settings.order_key),
        audit_vkey=_vkey(settings.audit_vkey),
        bundle=bundle_or_refusal(read_folder(settings.policy or SHIPPED_RULES)),
        second=second,
        checkpoint_file=file,
        most_timeout_s=settings.most_timeout_s,
        seen=_seen(file),
    )


def _order_key(path: Path) -> Ed25519PublicKey:
    try:
        return load_public_key(path)
    except EnvelopeError as error:
        raise SettingsError(str(error)) from error


def _vkey(path: Path) -> Vkey:
    try:
        return parse_vkey(path.read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError, VkeyError) as error:
        raise SettingsError(f"{path}: cannot use the audit log's key: {error}") from error


def _seen(path: Path) -> Seen | None:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Seen)
    except (OSError, msgspec.DecodeError) as error:
        raise JournalError(f"{path}: the last checkpoint cannot be read: {error}") from error
