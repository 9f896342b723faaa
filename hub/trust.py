"""What is published and believed on the hub: policy, people and keys, verified from a pinned root.

The set lies in the database, which is not believed: it is verified as on a node, and nothing older
than what this process has seen is taken. A set that is refused changes nothing; one that has
expired, or none at all, becomes a policy that refuses everything and a list of nobody.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance import records, trust_files, tuf_client
from appliance.errors import RefusedError, SettingsError, TrustError
from appliance.people import Keys, People
from appliance.trust_files import KEYS, PEOPLE, POLICY, Belief
from hub.persist.database import Database, Work
from hub.validate import Gate
from policy.bundle import refusal
from policy.errors import PolicyError
from policy.evaluate import SecondReader
from policy.rules import Bundle
from policy.signed import InForce
from policy.source import vouched

_log = logging.getLogger(__name__)

R = TypeVar("R", bound=records.Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One verified set."""

    digest: str  # of all files
    files: Mapping[str, bytes]  # packed, as nodes get them
    belief: Belief
    people: People
    keys: Keys


class HubTrust:
    """Reads what is published, and verifies it once."""

    def __init__(self, root: Path) -> None:
        self.root = _pinned(root)
        self._lock = threading.Lock()
        self._last: Published | None = None
        self._refused = ""  # digest of a set that was refused, so that it is said once
        self._bundles: dict[str, tuple[Bundle, InForce]] = {}  # the newest alone
        self.trouble = ""  # why what is published is not believed

    def published(self, work: Work) -> Published | None:
        """The set that counts, kept as it is until this transaction ends; expired or not."""
        row = work.one("publication_digest")
        with self._lock:
            if row is None or row["digest"] in (self._refused, self._digest):
                return self._last
            whole = work.one("publication") or {}
            try:
                self._last = _verified(whole, root=self.root, last=self._last)
                self._refused, self.trouble = "", ""
            except RefusedError as error:
                self._refused, self.trouble = whole["digest"], str(error)
                _log.error("what is published is refused: %s", error)
            return self._last

    def people(self, work: Work, *, now: datetime) -> People | None:
        """Who may say yes at this moment; None: nobody."""
        found = self.published(work)
        return None if found is None or found.belief.expired(now) else found.people

    def gate(self, work: Work, second: SecondReader, *, now: datetime) -> Gate:
        """The policy to judge with in this transaction."""
        found = self.published(work)
        if found is None:
            return Gate(bundle=_refusing("nothing is published yet"), second=second)
        if why := found.belief.expired(now):
            return Gate(bundle=_refusing(why), second=second)
        try:
            bundle, in_force = self._policy(found)
        except PolicyError as error:
            return Gate(bundle=refusal(error), second=second)
        return Gate(bundle=bundle, second=second, sequence=in_force.sequence)

    @property
    def policy_digest(self) -> str:
        """Of the policy that was judged with last."""
        return next((bundle.digest for bundle, _ in self._bundles.values()), "")

    @property
    def _digest(self) -> str:
        return self._last.digest if self._last else ""

    def _policy(self, found: Published) -> tuple[Bundle, InForce]:
        with self._lock:
            if found.digest not in self._bundles:
                loaded = vouched(trust_files.unpack(POLICY, found.files[POLICY]))
                if loaded.in_force is None:
                    raise PolicyError("has no sequence", file=POLICY, line=0)
                self._bundles = {found.digest: (loaded.bundle, loaded.in_force)}
            return self._bundles[found.digest]


def database(dsn: str, *, trust_root: Path | None, size: int = 1) -> Database:
    """A pool whose people in force are the signed ones, where a root is pinned."""
    db = Database(dsn, size=size)
    db.people = HubTrust(trust_root) if trust_root else None
    return db


def demand_record(name: str, files: Mapping[str, bytes], kind: type[R]) -> R:
    """One of the targets, read strictly; raises `TrustError` with its name."""
    try:
        return records.from_json(trust_files.unpack(name, files[name]), kind)
    except RefusedError as error:
        raise TrustError(f"{name}: {error}") from error


def files_of(row: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a stored set."""
    try:
        return msgspec.msgpack.decode(bytes(row["files"]), type=dict[str, bytes])
    except msgspec.DecodeError as error:
        raise TrustError(f"what is stored is no set of files: {error}") from error


def _verified(row: dict[str, Any], *, root: bytes, last: Published | None) -> Published:
    files = files_of(row)
    # As of its own publication: whether it has expired since is asked whenever it is used.
    belief = tuf_client.verify(
        root,
        files,
        kept=last.files if last else None,
        now=row["published_at"].astimezone(UTC),
    )
    return Published(
        digest=str(row["digest"]),
        files=files,
        belief=belief,
        people=demand_record(PEOPLE, files, People),
        keys=demand_record(KEYS, files, Keys),
    )


def _refusing(why: str) -> Bundle:
    return refusal(PolicyError(why, file=POLICY, line=0))


def _pinned(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot read the pinned root: {error.strerror}") from error
    tuf_client.root_of(data)
    return data
