"""What an executor believes: pinned keys, its own policy, and the log as far as it has seen it."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.durable import remember as _remember
from agent.durable import remembered as _remembered
from agent.executor_settings import ExecutorSettings
from agent.forks import Seen
from agent.witness import Witness
from appliance.envelope import load_public_key
from appliance.errors import EnvelopeError, SettingsError
from appliance.records import Mode
from audit.cosignature import WitnessKey
from audit.errors import VkeyError
from audit.note import Vkey, parse_vkey
from policy.evaluate import SecondReader
from policy.rules import Bundle
from policy.signed import InForce
from policy.source import Source, load


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
    first_note: str = ""  # the signed checkpoint to start from; empty: the first that comes
    witness_vkeys: tuple[WitnessKey, ...] = ()  # who else must have seen an order's checkpoint
    witness_quorum: int = 0  # how many of them
    log: Witness = field(init=False)

    def __post_init__(self) -> None:
        """The log's own memory is beside its checkpoint."""
        self.log = Witness(file=self.checkpoint_file, node=self.node, first_note=self.first_note)

    @property
    def audit_vkeys(self) -> tuple[Vkey, ...]:
        """Every key whose checkpoints count."""
        return (self.audit_vkey,)

    @property
    def seen(self) -> Seen | None:
        """The newest checkpoint this node accepted."""
        return self.log.seen


def load_trust(
    settings: ExecutorSettings, second: SecondReader, *, checking: bool = False
) -> Trust:
    """Read keys, policy and the last checkpoint; raises with the file that is wrong.

    A broken policy is not an error here: it becomes a policy that refuses everything. `checking`
    only looks: a newer policy is not put in force by asking whether it is right.
    """
    trust = Trust(
        node=settings.node,
        mode=settings.mode,
        role=settings.role,
        order_key=_order_key(settings.order_key),
        audit_vkey=_vkey(settings.audit_vkey),
        bundle=_policy(settings, checking=checking),
        second=second,
        checkpoint_file=settings.state_dir / "checkpoint.json",
        most_timeout_s=settings.most_timeout_s,
        first_note=_note(settings.first_checkpoint),
    )
    _ = trust.seen, trust.log.fork  # a damaged memory stops the start
    return trust


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


def _note(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot read the first checkpoint: {error}") from error


def _vkey(path: Path) -> Vkey:
    try:
        return parse_vkey(path.read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError, VkeyError) as error:
        raise SettingsError(f"{path}: cannot use the audit log's key: {error}") from error
