"""The installed verifier and the single file say the same, over thousands of damaged logs.

A sample here; `make prove` walks SENTINEL_MUTATIONS of them. Every case is a seed, so a difference
that was found once can be looked at again.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.errors import SentinelError
from audit import single
from audit.__main__ import main
from audit.check import check
from audit.entry import TYPES
from audit.note import parse_vkey
from audit.report import as_text
from tests.audit.builders import PER_SEGMENT, signer
from tests.audit.mutations import Files, mutated, write

MUTATIONS = int(os.environ.get("SENTINEL_MUTATIONS", "1200"))
BATCHES = 4
VKEY = signer().vkey
REASON = re.compile(r"^(entry \d+|line \d+ of entries.jsonl|\w+ checkpoint \d+): .*", re.DOTALL)
"""Why a line is no entry is told in the words of two JSON readers; that it is none, is compared."""


def installed(path: Path, since: str | None, export_vkey: str | None = None) -> dict[str, Any]:
    try:
        report, live = check(
            path,
            vkeys=[parse_vkey(VKEY)],
            since=since,
            export_vkey=None if export_vkey is None else parse_vkey(export_vkey),
            segment_entries=PER_SEGMENT,
        )
    except SentinelError as error:
        return {"refused": error.exit_status}
    except OSError as error:
        return {"refused": 2, "errno": error.errno}
    return {**msgspec.to_builtins(report), "live": live}


def alone(path: Path, since: str | None, export_vkey: str | None = None) -> dict[str, Any]:
    try:
        return single.check(
            path,
            [single.parse_vkey(VKEY)],
            since,
            None if export_vkey is None else single.parse_vkey(export_vkey),
            per_segment=PER_SEGMENT,
        )
    except single.Refused as error:
        return {"refused": error.status}
    except OSError as error:
        return {"refused": 2, "errno": error.errno}


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return REASON.sub(r"\1", value) if isinstance(value, str) else value


def same(path: Path, since: str | None, case: object, export_vkey: str | None = None) -> str:
    one, other = installed(path, since, export_vkey), alone(path, since, export_vkey)
    assert plain(one) == plain(other), f"case {case}"
    return str(one.get("verdict", "refused"))


def fresh(folder: Path, files: Files) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    write(files, folder)
    return folder


@pytest.mark.parametrize("batch", range(BATCHES))
def test_both_verifiers_say_the_same_of_mutated_logs(batch: int, tmp_path: Path) -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(batch, MUTATIONS, BATCHES):
        files, since = mutated(seed)
        verdicts[same(fresh(tmp_path / "log", files), since, seed)] += 1
    # The cases are worth something: most are found, some are harmless, none is left out.
    assert verdicts["TAMPERED"] > MUTATIONS / BATCHES / 2
    assert verdicts["VALID"] > 0
    assert verdicts["INCOMPLETE"] > 0
