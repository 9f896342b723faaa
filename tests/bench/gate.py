"""Speed of the two things the product exists for: the gate and the proof."""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bashlex
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.ids import uuid7
from audit.__main__ import main as sentinel_audit
from audit.entry import Actor, EntryDraft
from audit.signer import LocalSigner
from hub.segments import IndexedState, SegmentLog
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.worker import GuardedReader
from tests.bench.figures import Figure

LINES = (
    "ps aux",
    "df -h /var",
    "kill -TERM 4242",
    "systemctl status --no-pager nginx.service",
    "journalctl --no-pager -u nginx -n 200",
    "rm -rf /",
    "cat /etc/passwd | sort | head -n 5",
)
ENTRIES = 50_000
ORIGIN = "bench.sentinel.internal/log"


def measure() -> list[Figure]:
    """Judgement beside a bare bashlex parse; verification beside sha256 of the same bytes."""
    bundle = parse_bundle(read_folder(SHIPPED_RULES))
    bare = _median(bashlex.parse)
    alone = _median(
        lambda line: judge(line, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
    )
    with GuardedReader() as second:
        full = _median(lambda line: judge(line, bundle=bundle, facts=EXAMPLE_FACTS, second=second))
    verified, hashed = _log()
    return [
        Figure(what="judge one line, median", value=alone, unit="µs",
               peer="bashlex.parse alone", peer_value=bare, target="≤ 50"),
        Figure(what="judge with the second reader, median", value=full, unit="µs",
               peer="bashlex.parse alone", peer_value=bare, target="≤ 500"),
        Figure(what="verify the audit log", value=verified, unit="entries per CPU second",
               peer="sha256 of the same lines", peer_value=hashed),
    ]  # fmt: skip


def _median(call: Callable[[str], Any]) -> float:
    times = []
    for line in LINES * 30:
        began = time.perf_counter()
        call(line)
        times.append(1e6 * (time.perf_counter() - began))
    return statistics.median(times)


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
