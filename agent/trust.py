"""What an executor believes: pinned keys, its own policy, and the newest checkpoint it accepted."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import JournalError
from agent.executor_settings import ExecutorSettings
from appliance import records
from appliance.envelope import load_public_key
from appliance.errors import EnvelopeError, RefusedError, SettingsError
from appliance.people import People
from appliance.records import Mode
from audit.checkpoint import Checkpoint
from audit.errors import VkeyError
from audit.note import Vkey, parse_vkey
from policy.evaluate import SecondReader
from policy.rules import Bundle
from policy.signed import InForce
from policy.source import Source, load

R = TypeVar("R", bound=msgspec.Struct)


class Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest checkpoint this node accepted; a smaller log is a rollback."""

    size: int
    root: str


@dataclass(slots=True, kw_only=True)
class Trust:
    """All that an order is checked against."""

    node: str
    mode: Mode
    role: str | None
    order_key: Ed25519PublicKey
    audit_vkey: Vkey
    bundle: Bundle
    second: SecondReader
    checkpoint_file: Path
    most_timeout_s: float
    seen: Seen | None = field(default=None)
    people: People | None = field(
        default=None
    )  # who may say yes; None: every live order is refused

    def accept(self, checkpoint: Checkpoint) -> None:
        """Remember a checkpoint, durably, before anything is answered or run."""
        seen = Seen(size=checkpoint.size, root=checkpoint.root.hex())
        if seen == self.seen:
            return
        _remember(self.checkpoint_file, seen)
        self.seen = seen


def load_trust(
    settings: ExecutorSettings, second: SecondReader, *, checking: bool = False
) -> Trust:
    """Read keys, policy and the last checkpoint; raises with the file that is wrong.

    A broken policy is not an error here: it becomes a policy that refuses everything. `checking`
    only looks: a newer policy is not put in force by asking whether it is right.
    """
    file = settings.state_dir / "checkpoint.json"
    return Trust(
        node=settings.node,
        mode=settings.mode,
        role=settings.role,
        order_key=_order_key(settings.order_key),
        audit_vkey=_vkey(settings.audit_vkey),
        bundle=_policy(settings, checking=checking),
        second=second,
        checkpoint_file=file,
        most_timeout_s=settings.most_timeout_s,
        seen=_remembered(file, Seen, "the last checkpoint"),
        people=_people(settings.people),
    )


def _policy(settings: ExecutorSettings, *, checking: bool) -> Bundle:
    """This node's policy; a signed one is remembered before it is used, so that none is older."""
    source = Source(
        policy=settings.policy, key=settings.policy_key, overlay=settings.policy_overlay
    )
    file = settings.state_dir / "policy.json"
    before = _remembered(file, InForce, "the policy that was in force")
    loaded = load(source, before)
    if loaded.in_force and loaded.in_force != before and not checking:
        _remember(file, loaded.in_force)
    return loaded.bundle


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


def _people(path: Path | None) -> People | None:
    """The list of people of a site that has no trust repository."""
    if path is None:
        return None
    try:
        return records.from_json(path.read_bytes(), People)
    except (OSError, RefusedError) as error:
        raise SettingsError(f"{path}: cannot use the list of people: {error}") from error


def _remembered(path: Path, kind: type[R], what: str) -> R | None:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise JournalError(f"{path}: {what} cannot be read: {error}") from error


def _remember(path: Path, record: msgspec.Struct) -> None:
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)  # a crash here leaves the old one or the new
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise JournalError(f"{path}: cannot write: {error.strerror}") from error
