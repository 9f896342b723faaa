"""Speed of the proof: both verifiers beside hashing the same bytes and systemd's journal.

Entries are of about 494 bytes, and every 256 there is a checkpoint. Figures are per CPU second, so
that a busy machine changes them little; memory is the peak of a process that verifies a million.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.ids import uuid7
from audit import single
from audit.entry import Actor, EntryDraft
from audit.signer import LocalSigner
from hub.segments import IndexedState, SegmentLog
from tests.bench.figures import Figure

ENTRIES = int(os.environ.get("SENTINEL_BENCH_ENTRIES", "1000000"))
SEALED = 50_000  # entries of a sealed journal
GROUP = 256
ORIGIN = "bench.sentinel.internal/log"
REMOTE = Path("/lib/systemd/systemd-journal-remote")
WAY = "entries per CPU second"


def measure() -> list[Figure]:
    """Entries per CPU second of both verifiers, and what else takes so long."""
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as folder:
        path = Path(folder) / "log"
        size = _log(path)
        seconds, memory = _cost([sys.executable, "-m", "audit", "verify", str(path)])
        alone, alone_memory = _cost([sys.executable, "-I", single.__file__, str(path)])
        files = [str(file) for file in sorted((path / "seg").glob("*.jsonl"))]
        summed = size / _cost(["sha256sum", *files])[0]
    journal = _journal()
    how = f"journalctl --verify of {SEALED:,} sealed entries"
    return [
        Figure(what="verify the audit log", value=size / seconds, unit=WAY,
               peer="sha256sum of the same bytes", peer_value=summed, target="≥ 200,000"),
        Figure(what="the same, single file, standard library only", value=size / alone, unit=WAY,
               peer="sha256sum of the same bytes", peer_value=summed, target="≥ 60,000"),
        Figure(what="verify the audit log", value=size / seconds, unit=WAY, peer=how,
               peer_value=journal),
        Figure(what=f"memory, verifying {size:,} entries", value=memory, unit="MiB", target="< 64"),
        Figure(what="the same, single file", value=alone_memory, unit="MiB", target="< 64"),
    ]  # fmt: skip


def _log(path: Path) -> int:
    log = SegmentLog.open(
        path,
        origin=ORIGIN,
        signer=LocalSigner(ORIGIN, Ed25519PrivateKey.generate()),
        indexed=IndexedState(),
        next_inc_seq=lambda _: 0,
    )
    who = Actor(kind="hub", id="hub", node=None, session=None)
    body = {"what": "bench", "text": "x" * 126}
    for _ in range(0, ENTRIES, GROUP):
        now = datetime.now(UTC)
        drafts = [
            EntryDraft(id=uuid7(), at=now, type="config.change", actor=who, body=body)
            for _ in range(GROUP)
        ]
        log.indexed_to(log.append(drafts)[-1].seq + 1)
        log.checkpoint()
    size = log.size
    log.close()
    return size


def _cost(words: list[str]) -> tuple[float, float]:
    """CPU seconds and peak MiB of a command that must succeed.

    A small process starts it: the kernel counts what the starting one held to the peak.
    """
    program = (
        "import resource, subprocess, sys;"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    starter = [sys.executable, "-I", "-S", "-c", program, *words]
    said = subprocess.run(starter, capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == "0", words
    return float(said[1]), int(said[2]) / 1024


def _journal() -> float | None:
    """The same of `journalctl --verify` with sealing; None where it cannot be had.

    Sealing keys have one place on a machine. If one is there it is the machine's own, and stays.
    """
    folder = Path("/var/log/journal") / Path("/etc/machine-id").read_text().strip()
    usable = REMOTE.exists() and which("journalctl") and os.geteuid() == 0
    if not usable or folder.exists():
        return None
    folder.mkdir()
    try:
        setup = ["journalctl", "--setup-keys", "--force", "--interval=10s"]
        key = subprocess.run(setup, capture_output=True, text=True, check=True).stdout.strip()
        return _sealed(key)
    except subprocess.CalledProcessError:
        return None
    finally:
        shutil.rmtree(folder)


def _sealed(key: str) -> float:
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as name:
        file = Path(name) / "sealed.journal"
        write = [str(REMOTE), "--seal=yes", "--split-mode=none", f"--output={file}", "-"]
        subprocess.run(write, input=_journal_entries(), capture_output=True, check=True)
        words = ["journalctl", "--verify", f"--verify-key={key}", f"--file={file}"]
        return SEALED / _cost(words)[0]


def _journal_entries() -> bytes:
    """Entries of about the same size, in systemd's export format."""
    fixed = f"_BOOT_ID={uuid.uuid4().hex}\n_UID=0\n_COMM=bench\nPRIORITY=6\n"
    now = time.time_ns() // 1000
    return "".join(
        f"__REALTIME_TIMESTAMP={now + 1000 * n}\n__MONOTONIC_TIMESTAMP={1000 * n}\n{fixed}"
        f"MESSAGE=entry {n} {'x' * 200}\n\n"
        for n in range(SEALED)
    ).encode()
