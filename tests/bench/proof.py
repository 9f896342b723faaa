"""Speed of the proof: verifying the audit log beside hashing the same bytes."""

import hashlib
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.ids import uuid7
from audit.__main__ import main as sentinel_audit
from audit.entry import Actor, EntryDraft
from audit.signer import LocalSigner
from hub.segments import IndexedState, SegmentLog
from tests.bench.figures import Figure

ENTRIES = 50_000
ORIGIN = "bench.sentinel.internal/log"


def measure() -> list[Figure]:
    """Entries per CPU second of the verifier."""
    verified, hashed = _log()
    return [
        Figure(what="verify the audit log", value=verified, unit="entries per CPU second",
               peer="sha256 of the same lines", peer_value=hashed),
    ]  # fmt: skip


def _log() -> tuple[float, float]:
    """Entries per CPU second of the verifier, and of hashing each line alone."""
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as folder:
        path = Path(folder) / "log"
        log = SegmentLog.open(
            path,
            origin=ORIGIN,
            signer=LocalSigner(ORIGIN, Ed25519PrivateKey.generate()),
            indexed=IndexedState(),
            next_inc_seq=lambda _: 0,
        )
        who = Actor(kind="hub", id="hub", node=None, session=None)
        body = {"what": "bench", "text": "x" * 200}
        for _ in range(0, ENTRIES, 256):
            drafts = [
                EntryDraft(
                    id=uuid7(), at=datetime.now(UTC), type="config.change", actor=who, body=body
                )
                for _ in range(256)
            ]
            log.indexed_to(log.append(drafts)[-1].seq + 1)
            log.checkpoint()
        size = log.size
        log.close()
        began = time.process_time()
        assert sentinel_audit(["verify", str(path)]) == 0
        verified = size / (time.process_time() - began)
        lines = [
            line for file in sorted((path / "seg").glob("*.jsonl")) for line in file.open("rb")
        ]
        began = time.process_time()
        for line in lines:
            hashlib.sha256(line).digest()
        return verified, len(lines) / (time.process_time() - began)
