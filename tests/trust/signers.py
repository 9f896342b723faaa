"""A site's signers, and whoever would like to be one: sets of signed trust, honest and forged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.executor_settings import ExecutorSettings
from appliance import records, tuf_repository
from appliance.envelope import public_pem
from appliance.people import Keys, Person
from appliance.trust_files import KEYS, PEOPLE, POLICY, pack, root_name
from appliance.tuf_repository import Keepers, PublicKey
from audit.signer import LocalSigner
from policy import signed
from tests.attacks.forge import NODE, ORIGIN, Forge, changed
from tests.attacks.operators import Operator, people

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
NAMES = ("root-1", "root-2", "root-3", "anna", "ben", "carl", "online", "stranger-1", "stranger-2")
RULES = b'[places]\nsecret = ["/root"]\n'


@cache
def policy(sequence: int, tail: str = "") -> bytes:
    """A small policy; no example slows the tests down."""
    return signed.payload({"a.toml": RULES + tail.encode()}, sequence=sequence)


@dataclass
class Signers:
    """Everybody's keys, and what they signed last."""

    at: datetime = NOW
    keys: dict[str, Ed25519PrivateKey] = field(
        default_factory=lambda: {name: Ed25519PrivateKey.generate() for name in NAMES}
    )
    order_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    audit_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    operators: tuple[Operator, ...] = ()  # who may say yes, beside the version's own person

    def __post_init__(self) -> None:
        self.roots = {1: self.root(1)}

    @property
    def _persons(self) -> tuple[Person, ...]:
        return tuple(one.person for one in self.operators)

    def root(
        self,
        version: int,
        *,
        by: Sequence[str] = ("root-1", "root-2"),
        days: int = 365,
        **changes: Any,
    ) -> bytes:
        """A root, signed by these."""
        values = {
            "roots": self.public("root-1", "root-2"),
            "signers": self.public("anna", "ben", "carl"),
            "online": self.public("online")[0],
        }
        keepers = Keepers(**{**values, **changes})
        made = tuf_repository.root(keepers, version=version, expires=self.at + timedelta(days=days))
        return self.sign(made, by)

    def public(self, *names: str) -> list[PublicKey]:
        return [PublicKey(name=name, key=self.keys[name].public_key()) for name in names]

    def sign(self, data: bytes, by: Sequence[str]) -> bytes:
        for name in by:
            data = tuf_repository.sign(data, self.keys[name])
        return data

    def targets(
        self, version: int, *, sequence: int | None = None, **changes: Any
    ) -> dict[str, bytes]:
        """The files of one version: a policy, a person named after it, the keys."""
        vkey = LocalSigner(ORIGIN, self.audit_key).vkey
        person = Person(name=f"person-{version}", role="admin")
        keys = Keys(order_keys=(public_pem(self.order_key.public_key()),), audit_vkeys=(vkey,))
        files = {
            POLICY: policy(sequence or version, f"# version {version}\n"),
            PEOPLE: records.to_json(
                changed(people(*self.operators), persons=(person, *self._persons))
            ),
            KEYS: records.to_json(keys),
        }
        return {**files, **changes}

    def signed_set(
        self,
        version: int,
        *,
        by: Sequence[str] = ("anna", "ben"),
        days: int = 90,
        files: Mapping[str, bytes] | None = None,
        snapshot: int | None = None,
        timestamp: int | None = None,
        online: str = "online",
        online_at: datetime | None = None,
    ) -> dict[str, bytes]:
        """A whole set as the hub would send it, not packed."""
        files = dict(files if files is not None else self.targets(version))
        until = self.at + timedelta(days=days)
        listed = self.sign(tuf_repository.targets(files, version=version, expires=until), by)
        online_part = self.online(
            listed,
            snapshot=snapshot or version,
            timestamp=timestamp or version,
            by=online,
            at=online_at,
        )
        roots = {root_name(number): data for number, data in self.roots.items()}
        return {**roots, **files, "targets.json": listed, **online_part}

    def online(
        self,
        listed: bytes,
        *,
        snapshot: int,
        timestamp: int,
        by: str = "online",
        at: datetime | None = None,
    ) -> dict[str, bytes]:
        one, other = tuf_repository.online(
            listed,
            snapshot_version=snapshot,
            timestamp_version=timestamp,
            key=self.keys[by],
            now=at or self.at,
        )
        return {"snapshot.json": one, "timestamp.json": other}


def packed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """As they travel."""
    return {name: pack(data) for name, data in files.items()}


def settings(folder: Path, root: bytes, **changes: Any) -> ExecutorSettings:
    """An executor that pins this root."""
    (folder / "state").mkdir(exist_ok=True)
    (folder / "root.json").write_bytes(root)
    values = {
        "node": NODE,
        "socket": folder / "socket",
        "state_dir": folder / "state",
        "trust_root": folder / "root.json",
        "mode": records.Mode.LIVE,
    }
    return ExecutorSettings(**{**values, **changes})


def state_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte for byte."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


__all__ = ["NOW", "Forge", "Signers", "packed", "policy", "settings", "state_of"]
