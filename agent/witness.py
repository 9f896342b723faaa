"""What this node has accepted of the audit log: it only ever grows, and never forks.

Like every witness of a transparency log it remembers the newest checkpoint durably before it
answers, and accepts another only with a proof between exactly the two. It asks the disk each time,
under a lock, so that what it says is what a restart will say.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agent.durable import remember, remembered
from agent.errors import LogForkedError, LogStaleError
from agent.forks import Fork, ForkFile, Seen, one_at_a_time
from agent.keys import witness_key
from agent.log_proof import LogProof, Standing
from appliance.journal import shown
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.cosignature import cosign
from audit.errors import AuditRefusedError, CheckpointError, ProofError
from audit.merkle import verify_consistency
from audit.note import Vkey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from audit.cosignature import WitnessKey

MOST_KNOWN = 256  # checkpoints of orders that were claimed and are not yet decided


@dataclass(slots=True, kw_only=True)
class Witness:
    """One node's memory of one log."""

    file: Path  # of the newest accepted checkpoint; what else is kept is beside it
    node: str
    first_note: str = ""  # the checkpoint to start from; empty: the first one that comes
    _known: dict[int, bytes] = field(default_factory=dict)  # proven to be of the same history
    _mine: Seen | None = None
    _key: "tuple[Ed25519PrivateKey, WitnessKey] | None" = None

    @property
    def seen(self) -> Seen | None:
        """The newest accepted checkpoint, as it is on disk."""
        return remembered(self.file, Seen, "the last checkpoint")

    @property
    def fork(self) -> Fork | None:
        """The fork that nobody has cleared yet; while there is one, no order runs."""
        return self._forks.read()

    def accept(self, note: str, proof: LogProof, *, vkeys: Sequence[Vkey]) -> Checkpoint:
        """Take in a signed checkpoint; when this returns it is remembered, or was known before.

        Raises `AuditRefusedError` (none of this log's), `LogStaleError` (the proof is of another
        size than ours; ask again) or `LogForkedError` (two histories, or nobody shows that not;
        from then on nothing is accepted until a person has looked).
        """
        # 1. the log's key signed it, and no fork    4. whoever made the proof knew where we stand
        #    waits for a person                      5. newer: all that was accepted is in it
        # 2. where nothing was accepted: the pinned  6. older: it is in what was accepted, and
        #    one, or else the first that comes          nothing is taken back
        # 3. of the same size: it is the same
        with one_at_a_time(self.file.parent):
            checkpoint = self._opened(note, vkeys)  # 1
            if fork := self.fork:
                why = f"the log forked: {fork.reason}; a person has to look, and `clear-fork`"
                raise LogForkedError(why, notes=fork.notes)
            seen = self._begun(vkeys)
            if seen is None:  # 2
                self._advance(checkpoint, note)
                return checkpoint
            if checkpoint.size == seen.size and checkpoint.root.hex() == seen.root:  # 3
                self._known[checkpoint.size] = checkpoint.root
                return checkpoint
            if self._known.get(checkpoint.size) == checkpoint.root:
                return checkpoint
            if seen.size not in (checkpoint.size, proof.log_from):  # 4
                raise LogStaleError(seen.size)
            self._demand_one_history(checkpoint, note, seen, proof)  # 3, 5, 6
            if checkpoint.size > seen.size:
                self._advance(checkpoint, note)
            self._know(checkpoint)
        return checkpoint

    def knows(self, checkpoint: Checkpoint) -> bool:
        """Whether this very checkpoint was accepted, or shown to be part of what was."""
        seen = self.seen
        if seen is None or seen != self._mine:
            return False
        is_seen = (checkpoint.size, checkpoint.root.hex()) == (seen.size, seen.root)
        return is_seen or self._known.get(checkpoint.size) == checkpoint.root

    def standing(self, *, vkeys: Sequence[Vkey]) -> Standing:
        """Where this node stands, with its own signature under it."""
        key, witness = self._own_key()
        seen, fork = self.seen, self.fork
        why, kept = (fork.reason, fork.notes) if fork else ("", "")
        if seen is None:
            return Standing(vkey=str(witness), fork=why, kept=kept)
        line = ""
        if fork is None and vkeys:  # of a log that was seen to fork nothing more is said
            size, root = seen.size, bytes.fromhex(seen.root)
            text = Checkpoint(origin=vkeys[0].name, size=size, root=root).text
            line = cosign(text, witness, sign=key.sign, at=int(time.time()))
        if fork is None and seen.note:
            kept = f"{seen.note}\n"
        return Standing(
            size=seen.size,
            root=seen.root,
            vkey=str(witness),
            cosignature=line,
            fork=why,
            kept=kept,
        )

    @property
    def _forks(self) -> ForkFile:
        return ForkFile(self.file.parent)

    def _opened(self, note: str, vkeys: Sequence[Vkey]) -> Checkpoint:
        try:
            checkpoint = open_checkpoint(note, vkeys)
        except AuditRefusedError as error:
            seen = self.seen
            accepted = seen.note if seen else ""
            text = note.encode("utf-8", "replace").decode()  # what cannot be written is not kept so
            fork = Fork(
                at=datetime.now(UTC), reason=shown(str(error)), accepted=accepted, refused=text
            )
            self._forks.keep_foreign(fork)  # it proves nothing, and so it stops nothing
            raise
        if checkpoint.size == 0:
            raise CheckpointError("a log without entries says nothing")
        return checkpoint

    def _begun(self, vkeys: Sequence[Vkey]) -> Seen | None:
        seen = self.seen
        if seen is None and self.first_note:
            pinned = open_checkpoint(self.first_note, vkeys)
            self._advance(pinned, self.first_note)
            return self._mine
        if seen != self._mine:  # a start, or a person took another history
            self._known.clear()
            self._mine = seen
        return seen

    def _advance(self, checkpoint: Checkpoint, note: str) -> None:
        before = self.seen
        seen = Seen(
            size=checkpoint.size,
            root=checkpoint.root.hex(),
            note=note,
            decided=before.decided if before else (),
        )
        remember(self.file, seen)
        # From here on a restart demands that the log extends this one. Nobody was told yet; who
        # asks again with the same checkpoint is told the same.
        self._mine = seen
        self._know(checkpoint)

    def _know(self, checkpoint: Checkpoint) -> None:
        self._known[checkpoint.size] = checkpoint.root
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def _demand_one_history(
        self, checkpoint: Checkpoint, note: str, seen: Seen, proof: LogProof
    ) -> None:
        ours = (seen.size, bytes.fromhex(seen.root))
        theirs = (checkpoint.size, checkpoint.root)
        (before, old), (after, new) = sorted((ours, theirs))
        try:
            path = proof.path if before != after else ()
            verify_consistency(before, after, path, old, new)
        except ProofError as error:
            reason = self._why(checkpoint, seen, error)
            fork = Fork(at=datetime.now(UTC), reason=reason, accepted=seen.note, refused=note)
            self._forks.begin(fork)
            raise LogForkedError(reason, notes=fork.notes) from error

    @staticmethod
    def _why(checkpoint: Checkpoint, seen: Seen, error: AuditRefusedError) -> str:
        if checkpoint.size == seen.size:
            return f"two histories of {seen.size} entries"
        if checkpoint.size < seen.size:
            return f"the log had {seen.size} entries, now it has {checkpoint.size} ({error})"
        return f"the log of {checkpoint.size} entries does not extend what was seen: {error}"

    def _own_key(self) -> "tuple[Ed25519PrivateKey, WitnessKey]":
        if self._key is None:
            self._key = witness_key(self.file.parent, self.node)
        return self._key
