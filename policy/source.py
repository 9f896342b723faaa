"""Where a daemon's policy comes from: the shipped rules, a folder, or one signed file.

`load` never raises: whatever is wrong becomes a policy that refuses everything and says why.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from appliance.envelope import load_public_key
from appliance.errors import EnvelopeError
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder, refusal
from policy.errors import PolicyError
from policy.overlay import tightened
from policy.rules import Bundle
from policy.signed import InForce, SignedPolicy, open_signed, open_vouched


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The policy settings of one daemon."""

    policy: Path | None = None  # a folder of rules or a signed file; none: the shipped rules
    key: Path | None = None  # with it, nothing but a file that this key signed is taken
    overlay: Path | None = None  # a node's own file, which can only tighten


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A policy, and what to remember of it; nothing when it is not signed or refuses everything."""

    bundle: Bundle
    in_force: InForce | None = None
    key_id: str | None = None  # of the key that signed it


def load(source: Source, before: InForce | None = None) -> Loaded:
    """The policy of these settings, or one that refuses everything and names the line."""
    try:
        return demand(source, before)
    except PolicyError as error:
        return Loaded(bundle=refusal(error))


def demand(source: Source, before: InForce | None = None, *, examples: bool = False) -> Loaded:
    """The policy of these settings; raises `PolicyError` with the file and line that is wrong.

    With `examples` they are checked and kept, whoever checked them before.
    """
    in_force, key, checked = None, None, False
    if source.key is None:
        files: Mapping[str, bytes] = read_folder(source.policy or SHIPPED_RULES)
    else:
        signed = _signed(source.policy, source.key, before)
        files, in_force, key = signed.files, signed.in_force, signed.key_id
        checked = signed.checked
    bundle = parse_bundle(files, examples=examples or not checked)
    if source.overlay:
        bundle = tightened(bundle, source.overlay.name, _read(source.overlay))
    return Loaded(bundle=bundle, in_force=in_force, key_id=key)


def vouched(data: bytes, *, before: InForce | None = None, overlay: Path | None = None) -> Loaded:
    """The policy that signed trust vouches for; raises `PolicyError` when it cannot be used.

    A broken overlay is this host's own trouble: it does not keep a policy away, it becomes one
    that refuses everything, as at a start.
    """
    found = open_vouched(data, before=before)
    bundle = parse_bundle(found.files, examples=not found.checked)
    if overlay:
        try:
            bundle = tightened(bundle, overlay.name, _read(overlay))
        except PolicyError as error:
            bundle = refusal(error)
    return Loaded(bundle=bundle, in_force=found.in_force)


def _signed(policy: Path | None, key: Path, before: InForce | None) -> SignedPolicy:
    if policy is None:
        raise PolicyError("a policy key is set, but no signed policy", file=str(key), line=0)
    try:
        public = load_public_key(key)
    except EnvelopeError as error:
        raise PolicyError(str(error), file=str(key), line=0) from error
    return open_signed(_read(policy), key=public, before=before, name=policy.name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", file=str(path), line=0) from error
