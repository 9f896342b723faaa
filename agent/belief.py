"""What this node believes: signed trust, verified from the pinned root, kept whole or not at all.

The hub sends sets of files, the agent passes them on, and neither is believed: a process of its
own verifies each set (`agent.believe`), and only then is it kept and used. A set that is refused
changes nothing. What is kept is verified again at every start.
"""

import os
import stat
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent import aside
from agent.errors import JournalError
from agent.latest import Latest, write_whole
from appliance import records, trust_files
from appliance.envelope import parse_public_key
from appliance.errors import EnvelopeError, RefusedError, SettingsError, TrustError
from appliance.people import Keys, People
from appliance.trust_files import KEYS, PEOPLE, POLICY, Belief, Kept, Question, Verdict
from audit.cosignature import WitnessKey, parse_witness
from audit.counting import Counting, parse_keys
from audit.errors import VkeyError
from policy.errors import PolicyError
from policy.rules import Bundle
from policy.signed import InForce
from policy.source import vouched

FILE = "trust.kept"

R = TypeVar("R", bound=records.Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """One whole set: what an order is checked against comes from one of these, never from two."""

    belief: Belief
    bundle: Bundle
    in_force: InForce
    people: People
    keys: Keys
    order_keys: tuple[Ed25519PublicKey, ...]
    audit_keys: Counting
    witness_vkeys: tuple[WitnessKey, ...]


class Keeper:
    """Holds the pinned root and the kept set; one offer after the other."""

    def __init__(
        self, root: Path, state_dir: Path, *, overlay: Path | None, latest: Latest
    ) -> None:
        self._root = _pinned(root)
        self._file = state_dir / FILE
        self._overlay = overlay
        self._latest = latest
        self._lock = threading.Lock()
        self._kept: Kept | None = None
        self._last: Believed | None = None
        self.trouble = ""  # why what is on disk is not believed

    def load(self) -> Believed | None:
        """What was kept, verified again from the pinned root; None: nothing to believe."""
        kept = _read(self._file)
        if kept is None:
            return None
        try:  # as of the moment it was accepted: whether it has expired is asked for each order
            belief = self._verified(kept.files, before=None, now=kept.at)
            self._kept = kept  # whatever else is wrong with it, nothing older is taken
            found = self._understood(belief, kept.files)
        except (TrustError, PolicyError) as error:
            self.trouble = f"what was kept is not believed: {error}"
            return None
        self._last = found
        return found

    def offer(self, offered: dict[str, bytes], *, now: datetime) -> Believed:
        """Believe a set that was sent; raises `RefusedError`, and then nothing has changed."""
        # 1. the set is verified against the root and what was believed, by the later clock
        # 2. policy, people and keys can be read       3. it is on disk before it is used
        with self._lock:
            now = self._latest.now(now)
            before = self._kept
            files = trust_files.merged(before.files if before else None, offered)
            belief = self._verified(files, before=before, now=now)  # 1
            try:
                found = self._understood(belief, files)  # 2
            except PolicyError as error:
                raise TrustError(f"policy.json: {error}") from error
            if before is None or files != before.files:
                kept = Kept(at=now, files=files)
                # From here on a restart finds the new set, whole; before, the old one.
                write_whole(self._file, msgspec.msgpack.encode(kept))  # 3
                self._kept = kept
            self._last, self.trouble = found, ""
            return found

    def now(self, clock: datetime) -> datetime:
        """The later of the clock and what this node has seen."""
        with self._lock:
            return self._latest.now(clock)

    def _verified(self, files: dict[str, bytes], *, before: Kept | None, now: datetime) -> Belief:
        trust_files.demand_bounded(files)
        question = Question(
            root=self._root, files=files, kept=before.files if before else None, now=now
        )
        told = aside.ask("agent.believe", msgspec.msgpack.encode(question))
        try:
            verdict = msgspec.msgpack.decode(told, type=Verdict)
        except msgspec.DecodeError as error:
            raise TrustError(f"the verifying process answered something else: {error}") from error
        if verdict.belief is None:
            raise TrustError(verdict.refusal or "the verifying process said nothing")
        return verdict.belief

    def _understood(self, belief: Belief, files: dict[str, bytes]) -> Believed:
        keys = _record(KEYS, files, Keys)
        bundle, in_force = self._policy(files[POLICY])
        return Believed(
            belief=belief,
            bundle=bundle,
            in_force=in_force,
            people=_record(PEOPLE, files, People),
            keys=keys,
            order_keys=_order_keys(keys),
            audit_keys=_log_keys(keys),
            witness_vkeys=_witnesses(keys),
        )

    def _policy(self, packed: bytes) -> tuple[Bundle, InForce]:
        """A renewal brings the same rules; they are not read, and not held, twice."""
        last = self._last
        if last is not None and self._kept is not None and packed == self._kept.files[POLICY]:
            return last.bundle, last.in_force
        before = last.in_force if last else None
        loaded = vouched(trust_files.unpack(POLICY, packed), before=before, overlay=self._overlay)
        if loaded.in_force is None:
            raise TrustError("policy.json has no sequence")
        return loaded.bundle, loaded.in_force


def _record(name: str, files: dict[str, bytes], kind: type[R]) -> R:
    try:
        return records.from_json(trust_files.unpack(name, files[name]), kind)
    except RefusedError as error:
        raise TrustError(f"{name}: {error}") from error


def _order_keys(keys: Keys) -> tuple[Ed25519PublicKey, ...]:
    try:
        return tuple(parse_public_key(text, name=KEYS) for text in keys.order_keys)
    except EnvelopeError as error:
        raise TrustError(str(error)) from error


def _log_keys(keys: Keys) -> Counting:
    try:
        return parse_keys("\n".join(keys.audit_vkeys))
    except VkeyError as error:
        raise TrustError(f"{KEYS}: {error}") from error


def _witnesses(keys: Keys) -> tuple[WitnessKey, ...]:
    try:
        return tuple(parse_witness(text.strip()) for text in keys.witness_vkeys)
    except VkeyError as error:
        raise TrustError(f"{KEYS}: {error}") from error


def _pinned(path: Path) -> bytes:
    try:
        found = path.stat()
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot read the pinned root: {error.strerror}") from error
    mine = found.st_uid in (0, os.geteuid())
    if not mine or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError(f"{path}: the pinned root can be changed by others than root")
    return data


def _read(file: Path) -> Kept | None:
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise JournalError(f"{file}: the kept trust cannot be read: {error}") from error
