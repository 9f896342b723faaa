"""What an executor believes: keys, people, its own policy, and the newest checkpoint it accepted.

With `trust_root` set they come from signed trust (`agent/belief.py`), and from nowhere else;
without it from files that were installed here.
"""

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.belief import Believed, Keeper
from agent.errors import JournalError, OrderRefusedError
from agent.executor_settings import ExecutorSettings
from agent.latest import Latest
from appliance.envelope import load_public_key
from appliance.errors import EnvelopeError, SettingsError
from appliance.people import People
from appliance.records import Mode
from audit.checkpoint import Checkpoint
from audit.errors import VkeyError
from audit.note import Vkey, parse_vkey
from policy.bundle import refusal
from policy.errors import PolicyError
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
    order_key: Ed25519PublicKey | None  # None: nothing is believed yet
    audit_vkey: Vkey | None
    bundle: Bundle
    second: SecondReader
    checkpoint_file: Path
    most_timeout_s: float
    seen: Seen | None = field(default=None)
    people: People | None = None  # who may say yes; None: nobody is known
    keeper: Keeper | None = None  # None: no `trust_root`, what is believed stands in files
    believed: Believed | None = None

    @property
    def order_keys(self) -> tuple[Ed25519PublicKey, ...]:
        """Every key whose orders are opened; two while one follows the other."""
        if (believed := self.believed) is not None:
            return believed.order_keys
        return (self.order_key,) if self.order_key else ()

    @property
    def audit_vkeys(self) -> tuple[Vkey, ...]:
        """Every key whose checkpoints count; two while one follows the other."""
        if (believed := self.believed) is not None:
            return believed.audit_vkeys
        return (self.audit_vkey,) if self.audit_vkey else ()

    def take(self, believed: Believed) -> None:
        """Check orders against this set from now on; nobody may be checking one meanwhile."""
        self.order_key, self.audit_vkey = believed.order_keys[0], believed.audit_vkeys[0]
        self.bundle, self.people, self.believed = believed.bundle, believed.people, believed

    def trouble(self, clock: datetime) -> str:
        """Why signed trust lets no live order run at this moment; empty when it may."""
        if self.keeper is None:
            return ""
        if self.believed is None:
            return self.keeper.trouble or "nothing is believed yet: no signed trust has come"
        return self.believed.belief.expired(self.keeper.now(clock))

    def demand_trusted(self, *, live: bool, clock: datetime) -> None:
        """Step 0: without signed trust nothing is looked at, with an expired one nothing runs."""
        why = self.trouble(clock)
        if why and (live or self.believed is None):
            raise OrderRefusedError("0 trust", why)

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
    _demand_one_source(settings)
    trust = Trust(
        node=settings.node,
        mode=settings.mode,
        role=settings.role,
        order_key=_order_key(settings.order_key) if settings.order_key else None,
        audit_vkey=_vkey(settings.audit_vkey) if settings.audit_vkey else None,
        bundle=_nothing() if settings.trust_root else _policy(settings, checking=checking),
        second=second,
        checkpoint_file=file,
        most_timeout_s=settings.most_timeout_s,
        seen=_remembered(file, Seen, "the last checkpoint"),
        keeper=_keeper(settings),
    )
    if trust.keeper and (believed := trust.keeper.load()):
        trust.take(believed)
    return trust


def _demand_one_source(settings: ExecutorSettings) -> None:
    """Signed trust or files: never both, for then nobody could say which of them was believed."""
    files = {
        "order_key": settings.order_key,
        "audit_vkey": settings.audit_vkey,
        "policy": settings.policy,
        "policy_key": settings.policy_key,
    }
    if settings.trust_root:
        for name, path in files.items():
            if path is not None:
                raise SettingsError(
                    f"{name}: with trust_root it comes as signed trust, and from nowhere else"
                )
    elif settings.order_key is None or settings.audit_vkey is None:
        raise SettingsError("expected trust_root, or order_key and audit_vkey")


def _keeper(settings: ExecutorSettings) -> Keeper | None:
    if settings.trust_root is None:
        return None
    latest = Latest(settings.state_dir / "latest.json")
    return Keeper(
        settings.trust_root,
        settings.state_dir,
        overlay=settings.policy_overlay,
        latest=latest,
    )


def _nothing() -> Bundle:
    why = "nothing is believed yet: no signed trust has come"
    return refusal(PolicyError(why, file="policy.json", line=0))


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
