"""The installed verifier and the single file say the same of logs whose keys change.

As `test_two_verifiers.py`, over stories with rotations, revocations, ratchets and second signers,
honest and not. `make prove` walks SENTINEL_MUTATIONS of them; every case is a seed.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from audit import single
from audit.bundle import write_manifest
from audit.export import Wanted, take_out
from tests.audit.builders import INCIDENT, signer
from tests.audit.epoch_log import ROOT, SECOND, EpochLog, history, list_of
from tests.audit.epoch_mutations import (
    files_of_story,
    mangle_list,
    mutated_story,
    opens,
    story,
    strip_signatures,
)
from tests.audit.mutations import Files, list_anew, of_export
from tests.audit.test_epoch_exports import of_incident
from tests.audit.test_epochs import revoked_at
from tests.audit.two_verifiers import Asked, fresh, same

MUTATIONS = int(os.environ.get("SENTINEL_MUTATIONS", "300"))
BATCHES = 4
ASKED = Asked(root=ROOT.vkey)


@pytest.fixture(autouse=True)
def _keys_are_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run meets one log and a few keys; here are hundreds of logs of the same keys."""
    monkeypatch.setattr(single, "table", _TABLES)
    return


_TABLES = lru_cache(maxsize=24)(single.table.__wrapped__)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_both_verifiers_say_the_same_of_mutated_logs_whose_keys_change(
    batch: int, tmp_path: Path
) -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(batch, MUTATIONS, BATCHES):
        files, since, seconds = mutated_story(seed)
        asked = Asked(root=ROOT.vkey, since=since, seconds=seconds)
        verdicts[same(fresh(tmp_path / "log", files), asked, seed)] += 1
    assert verdicts["TAMPERED"] > MUTATIONS / BATCHES / 4
    assert verdicts["VALID"] > MUTATIONS / BATCHES / 20
    assert verdicts["refused"] > 0


def test_both_say_the_same_of_every_list_that_a_root_may_have_signed(tmp_path: Path) -> None:
    log, opened = story(random.Random(1)), Counter[bool]()
    for seed in range(MUTATIONS // 2):
        files, chance = files_of_story(log, log.epochs), random.Random(seed)
        mangle_list(files, chance)
        folder = fresh(tmp_path / "log", {"epochs.note": files["epochs.note"]})
        try:
            ASKED.keys(folder)
            good = True
        except single.Refused:
            good = False
        assert good == opens(files["epochs.note"]), f"case {seed}"
        opened[good] += 1
    assert opened[True] > 0
    assert opened[False] > 0


def exports(folder: Path) -> list[Files]:
    """Parts of logs whose keys change, as files in memory."""
    stolen = history(1)
    trusted = len(stolen.lines)
    stolen.happen()
    stolen.epochs, secret = revoked_at(1, trusted, stolen.epochs)
    stolen.take_over(secret)
    stolen.happen()
    seconded = history(1, epochs=list_of(second=SECOND), second=SECOND)
    wanted: list[tuple[EpochLog, Wanted]] = [
        (history(3), Wanted()),
        (history(3), Wanted(first=9, last=12)),
        (history(3), Wanted(first=4)),
        (stolen, Wanted(first=trusted)),
        (stolen, Wanted(first=trusted + 2)),
        (seconded, Wanted(first=3)),
        (of_incident(history(1)), Wanted(incident=INCIDENT)),
    ]
    made = []
    for number, (log, want) in enumerate(wanted):
        source = fresh(folder / f"log-{number}", files_of_story(log, log.epochs))
        target = folder / str(number)
        target.mkdir()
        take_out(source, target, want, ASKED.demands(source))
        write_manifest(target, signer(3, name="log.example/hub/export"))
        made.append(
            {
                f.relative_to(target).as_posix(): f.read_bytes()
                for f in target.rglob("*")
                if f.is_file()
            }
        )
    return made


def test_both_verifiers_say_the_same_of_mutated_exports_of_such_logs(tmp_path: Path) -> None:
    made = exports(tmp_path)
    verdicts: Counter[str] = Counter()
    for seed in range(MUTATIONS // 2):
        chance = random.Random(seed)
        files = dict(chance.choice(made))
        for _ in range(chance.choice([0, 1, 1, 2])):
            chance.choice([of_export, mangle_list, strip_signatures])(files, chance)
        if chance.random() < 0.7:
            list_anew(files)
        files.setdefault("epochs.note", b"")
        verdicts[same(fresh(tmp_path / "export", files), ASKED, seed)] += 1
    assert verdicts["TAMPERED"] > 0
    assert verdicts["VALID"] > 0
