"""What an executor believes: keys, people, its own policy, and the log as far as it has seen it.

With `trust_root` set they come from signed trust (`agent/belief.py`), and from nowhere else;
without it from files that were installed here.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import log_keys
from agent.belief import Believed, Keeper
from agent.durable import remember as _remember
from agent.durable import remembered as _remembered
from agent.errors import OrderRefusedError
from agent.executor_settings import ExecutorSettings
from agent.forks import Seen
from agent.latest import Latest
from agent.witness import Witness
from appliance import records
from appliance.envelope import load_public_key
from appliance.errors import EnvelopeError, RefusedError, SettingsError
from appliance.people import People
from appliance.records import Mode
from audit.cosignature import WitnessKey
from audit.counting import Counting
from audit.note import Vkey
from policy.bundle import refusal
from policy.errors import PolicyError
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
    order_key: Ed25519PublicKey | None  # None: nothing is believed yet
    audit_keys: Counting | None  # of the log, those that signed before, and what signs beside them
    bundle: Bundle
    second: SecondReader
    checkpoint_file: Path
    most_timeout_s: float
    people: People | None = None  # who may say yes; None: every live order is refused
    first_note: str = ""  # the signed checkpoint to start from; empty: the first that comes
    witness_vkeys: tuple[WitnessKey, ...] = ()  # who else must have seen an order's checkpoint
    witness_quorum: int = 0  # how many of them
    keeper: Keeper | None = None  # None: no `trust_root`, what is believed stands in files
    believed: Believed | None = None
    log: Witness = field(init=False)

    @property
    def order_keys(self) -> tuple[Ed25519PublicKey, ...]:
        """Every key whose orders are opened; two while one follows the other."""
        if (believed := self.believed) is not None:
            return believed.order_keys
        return (self.order_key,) if self.order_key else ()

    @property
    def audit_vkeys(self) -> tuple[Vkey, ...]:
        """The log's keys; what else is demanded of a checkpoint is in `audit_keys`."""
        return self.audit_keys.vkeys if self.audit_keys else ()

    def take(self, believed: Believed) -> None:
        """Check orders against this set from now on; nobody may be checking one meanwhile."""
        self.order_key, self.audit_keys = believed.order_keys[0], believed.audit_keys
        self.bundle, self.people, self.believed = believed.bundle, believed.people, believed
        self.witness_vkeys = believed.witness_vkeys
        self.witness_quorum = believed.keys.witness_quorum

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

    def __post_init__(self) -> None:
        """The log's own memory is beside its checkpoint."""
        self.log = Witness(file=self.checkpoint_file, node=self.node, first_note=self.first_note)

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
    _demand_one_source(settings)
    trust = Trust(
        node=settings.node,
        mode=settings.mode,
        role=settings.role,
        order_key=_order_key(settings.order_key) if settings.order_key else None,
        audit_keys=log_keys.load(settings, checking=checking),
        bundle=_nothing() if settings.trust_root else _policy(settings, checking=checking),
        second=second,
        checkpoint_file=settings.state_dir / "checkpoint.json",
        most_timeout_s=settings.most_timeout_s,
        first_note=_note(settings.first_checkpoint),
        people=_people(settings.people),
        keeper=_keeper(settings),
    )
    _ = trust.seen, trust.log.fork  # a damaged memory stops the start
    if trust.keeper and (believed := trust.keeper.load()):
        trust.take(believed)
    return trust


def _demand_one_source(settings: ExecutorSettings) -> None:
    """Signed trust or files: never both, for then nobody could say which of them was believed."""
    files = {
        "order_key": settings.order_key,
        "audit_vkey": settings.audit_vkey,
        "audit_epochs": settings.audit_epochs,
        "policy": settings.policy,
        "policy_key": settings.policy_key,
        "people": settings.people,
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


def _note(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot read the first checkpoint: {error}") from error


def _people(path: Path | None) -> People | None:
    """The list of people of a site that has no trust repository."""
    if path is None:
        return None
    try:
        return records.from_json(path.read_bytes(), People)
    except (OSError, RefusedError) as error:
        raise SettingsError(f"{path}: cannot use the list of people: {error}") from error
