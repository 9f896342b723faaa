"""The log's keys over time: a list that the offline root key signed, and the ratchet that fits it.

    K(n + 1) = HMAC-SHA-256(K(n), "next")      the state; only forwards
    seed(n)  = HMAC-SHA-256(K(n), "sign")      the Ed25519 key of epoch n

The notary holds K(n) alone, so who steals it can sign from epoch n on and no earlier one. The list
names every epoch's public key beforehand; it is a C2SP signed note whose text is one line of
canonical JSON, signed by the root key under the name `ORIGIN/root`. Its sequence only grows.

Here are values and their checks; what a log must look like under a list is `audit/epoch_rules.py`,
files are the business of `audit/keys_cli.py` (officer) and `hub/epoch_keys.py` (notary).
"""

import hashlib
import hmac
import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import canonical
from appliance.errors import CanonicalError
from audit.counting import LogKey
from audit.entry import Count, Name, moment, timestamp
from audit.errors import AuditRefusedError, EntryError, EpochError
from audit.note import Signer, Vkey, open_note, parse_vkey, sign
from audit.signer import LocalSigner

MOST_EPOCHS = 1000  # a list stays far below the largest note
STATE_BYTES = 32
ROOT_SUFFIX = "/root"
SECOND_SUFFIX = "/second"
REQUEST_SUFFIX = ".rotate"  # of the file beside the notary's state that asks it to rotate


class Revoked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on a key counts no more."""

    trusted_size: Count  # the largest checkpoint of this key that is still believed
    reason: Name


class Epoch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key and its time."""

    epoch: Count  # from 0, dense
    vkey: str
    not_before: str  # `ts` form; begins here at the earliest
    not_after: str  # signs nothing later
    second: str | None = None  # vkey that must sign beside it, such as Vault's
    revoked: Revoked | None = None

    @property
    def key(self) -> Vkey:
        """The key by which notes are opened."""
        return parse_vkey(self.vkey)

    @property
    def counting(self) -> LogKey:
        """What is demanded of a checkpoint that it signed."""
        return LogKey(
            vkey=self.key,
            trusted_size=None if self.revoked is None else self.revoked.trusted_size,
            second=None if self.second is None else parse_vkey(self.second),
        )


class EpochList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the root key certifies."""

    v: Literal[1] = 1
    log: Name  # the log's origin
    sequence: Annotated[int, msgspec.Meta(ge=1, le=canonical.MAX_INTEGER)]
    epochs: Annotated[tuple[Epoch, ...], msgspec.Meta(min_length=1, max_length=MOST_EPOCHS)]

    @property
    def digest(self) -> str:
        """SHA-256 of the certified line, hex: what the log says when a list comes into force."""
        return hashlib.sha256(_line(self)).hexdigest()

    @property
    def vkeys(self) -> tuple[Vkey, ...]:
        """Every epoch's key, in order."""
        return tuple(epoch.key for epoch in self.epochs)

    def of_key(self, vkey: Vkey) -> Epoch | None:
        """The epoch of a key."""
        text = str(vkey)
        return next((one for one in self.epochs if one.vkey == text), None)

    def after(self, epoch: int) -> Epoch | None:
        """The next epoch whose key is not revoked."""
        return next((one for one in self.epochs[epoch + 1 :] if one.revoked is None), None)


class Ratchet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The secret of one epoch, from which those of the following ones come, never an earlier."""

    v: Literal[1] = 1
    log: Name
    epoch: Count
    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]  # K(epoch), hex

    def __repr__(self) -> str:
        return f"Ratchet(log={self.log!r}, epoch={self.epoch})"  # never the key, in no journal

    def next(self) -> Self:
        """The secret of the epoch after this one."""
        return type(self)(log=self.log, epoch=self.epoch + 1, key=self._derive(b"next").hex())

    def signer(self) -> LocalSigner:
        """Who signs in this epoch."""
        key = Ed25519PrivateKey.from_private_bytes(self._derive(b"sign"))
        return LocalSigner(self.log, key)

    def at(self, epoch: int) -> Self:
        """The secret of a later epoch, or this one."""
        if epoch < self.epoch:
            raise EpochError(f"the key of epoch {epoch} is forgotten: this is epoch {self.epoch}")
        ratchet = self
        while ratchet.epoch < epoch:
            ratchet = ratchet.next()
        return ratchet

    def _derive(self, word: bytes) -> bytes:
        return hmac.digest(bytes.fromhex(self.key), word, "sha256")


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `sentinel-audit keys rotate` asks: that this epoch end. Asked twice, it is the same."""

    epoch: Count
    reason: Name


def certify(epochs: EpochList, root: Signer) -> str:
    """The list as the note that the root key signs. Raises `EpochError` for one that is none."""
    _check(epochs)
    if parse_vkey(root.vkey).name != epochs.log + ROOT_SUFFIX:
        raise EpochError(f"the root key of {epochs.log} is named {epochs.log}{ROOT_SUFFIX}")
    return sign(_line(epochs).decode() + "\n", root)


def open_list(note: str, root: Vkey) -> EpochList:
    """The list of a note that this root key signed. Raises `EpochError` or `NoteError`."""
    # 1. the root key signed it      3. it is of the log that the root key is named after
    # 2. one canonical line, with    4. epochs are dense, in time one after the other, and every
    #    nothing missing or added       key is a safe point of this log that no other epoch has
    text = open_note(note, [root]).text  # 1
    try:
        epochs = msgspec.json.decode(text, type=EpochList)  # 2
        if canonical.encode(msgspec.to_builtins(epochs)).decode() + "\n" != text:
            raise EpochError("the epoch list is not in canonical form")
    except (msgspec.DecodeError, CanonicalError) as error:
        raise EpochError(f"not an epoch list: {error}") from error
    if root.name != epochs.log + ROOT_SUFFIX:  # 3
        raise EpochError(f"the root key is {root.name}, the epoch list is of {epochs.log}")
    _check(epochs)  # 4
    return epochs


def demand_newer(new: EpochList, old: EpochList) -> None:
    """Raise `EpochError` unless `new` may take the place of `old`: nothing used is taken back."""
    # 1. the sequence grows, or it is the same list
    # 2. no epoch is removed or gets another key
    # 3. no revocation is taken back or believes more than before
    if new.sequence == old.sequence and new != old:  # 1
        raise EpochError(f"two epoch lists say that they are number {new.sequence}")
    if new.sequence < old.sequence:
        raise EpochError(f"epoch list {new.sequence} is older than {old.sequence}, in force")
    for before, now in itertools.zip_longest(old.epochs, new.epochs[: len(old.epochs)]):
        if now is None or now.vkey != before.vkey:  # 2
            raise EpochError(f"epoch {before.epoch} has another key in epoch list {new.sequence}")
        if before.revoked is not None and (  # 3
            now.revoked is None or now.revoked.trusted_size > before.revoked.trusted_size
        ):
            raise EpochError(f"the revocation of epoch {before.epoch} was taken back")


def plan(
    ratchet: Ratchet,
    *,
    begin: datetime,
    ends: Sequence[datetime],
    early: Sequence[datetime] | None = None,
    second: str | None = None,
) -> list[Epoch]:
    """The epochs of a ratchet, one for each end; each may begin when the one before it did.

    So the key can be changed at once, by command, any time; what it can never do is begin two
    epochs early, or sign after its end. `early` says other beginnings.
    """
    planned = [begin, begin, *ends[:-2]] if early is None else list(early)
    epochs = []
    for start, end in zip(planned, ends, strict=False):
        epochs.append(
            Epoch(
                epoch=ratchet.epoch,
                vkey=ratchet.signer().vkey,
                not_before=timestamp(start),
                not_after=timestamp(end),
                second=second,
            )
        )
        ratchet = ratchet.next()
    return epochs


def revoke(
    epochs: EpochList, *, epoch: int, trusted_size: int, reason: str, new: Sequence[Epoch]
) -> EpochList:
    """The next list: this epoch and all after it count no more, new ones of a new secret follow.

    Who has the secret of an epoch has those of all that follow from it.
    """
    if not 0 <= epoch < len(epochs.epochs):
        raise EpochError(f"there is no epoch {epoch}; the list has 0 to {len(epochs.epochs) - 1}")
    void = []
    for one in epochs.epochs[epoch:]:
        size = min(trusted_size, one.revoked.trusted_size) if one.revoked else trusted_size
        why = one.revoked.reason if one.revoked else reason
        revoked = Revoked(trusted_size=size, reason=why)
        void.append(msgspec.structs.replace(one, revoked=revoked))
    return EpochList(
        log=epochs.log,
        sequence=epochs.sequence + 1,
        epochs=(*epochs.epochs[:epoch], *void, *new),
    )


def _line(epochs: EpochList) -> bytes:
    return canonical.encode(msgspec.to_builtins(epochs))


def _check(epochs: EpochList) -> None:
    keys = {epochs.log + ROOT_SUFFIX}
    last: Epoch | None = None
    for number, one in enumerate(epochs.epochs):
        if one.epoch != number:
            raise EpochError(f"epoch {number} is missing: its place has epoch {one.epoch}")
        try:
            start, end = moment(one.not_before), moment(one.not_after)
            key = _vkey(one.vkey)
            second = None if one.second is None else _vkey(one.second)
        except (EntryError, AuditRefusedError) as error:
            raise EpochError(f"epoch {number}: {error}") from error
        if key.name != epochs.log or one.vkey in keys:
            raise EpochError(f"epoch {number}: its key is not this log's, or another epoch's")
        if second is not None and (second.name == epochs.log or second.key == key.key):
            raise EpochError(f"epoch {number}: the second key needs a name and key of its own")
        keys.add(one.vkey)
        if start >= end:
            raise EpochError(f"epoch {number} ends before it begins")
        if one.revoked is not None:
            last = None  # what follows is of a new secret, and begins when it was made
            continue
        if last is not None and not last.not_before <= one.not_before <= last.not_after:
            raise EpochError(f"epoch {number} does not begin within epoch {last.epoch}")
        if last is not None and one.not_after <= last.not_after:
            raise EpochError(f"epoch {number} does not end after epoch {last.epoch}")
        last = one


def _vkey(text: str) -> Vkey:
    key = parse_vkey(text)
    if str(key) != text:  # a line's end, too, would make two keys of one
        raise EpochError("a vkey that is not in its one form")
    return key
