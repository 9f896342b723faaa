"""Exports of a log whose keys change, and the single-file verifier as a command on them."""

import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec

from audit import single
from audit.__main__ import main
from audit.chain import following
from audit.entry import Actor, EntryDraft, encode
from audit.epochs import EpochList, certify
from tests.audit.builders import INCIDENT, ORIGIN, uuid_of
from tests.audit.epoch_log import OTHER_ROOT, ROOT, SECOND, EpochLog, history, list_of
from tests.audit.test_epochs import revoked_at

VALID, TAMPERED = 0, 1


def written(log: EpochLog, folder: Path, epochs: EpochList | None = None) -> Path:
    """The log's folder, as a notary leaves it."""
    (folder / "seg").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "seg" / f"{0:012}.jsonl").write_bytes(b"".join(b"%b\n" % each for each in log.lines))
    kept = "".join(f"{note}\n" for note in log.notes)
    (folder / "checkpoints" / f"{0:012}.notes").write_text(kept)
    (folder / "checkpoint").write_text(log.notes[-1])
    (folder / "log.vkey").write_text(f"{log.epochs.epochs[0].vkey}\n")
    (folder / "root.vkey").write_text(f"{ROOT.vkey}\n")
    (folder / "epochs.note").write_text(certify(epochs or log.epochs, ROOT))
    return folder


def exported(log: Path, where: Path, *words: object) -> Path:
    """The unpacked export."""
    out = where / "out.tar"
    main(["export", str(log), "--out", str(out), "--root", ROOT.vkey, *map(str, words)])
    with tarfile.open(out) as tar:
        tar.extractall(where / "unpacked", filter="data")
    (folder,) = (where / "unpacked").iterdir()
    return folder


def verified(folder: Path, *words: str) -> int:
    return main(["verify", str(folder), "--root", ROOT.vkey, *words])


def alone(folder: Path, *words: str) -> tuple[int, str]:
    """What the single file says, as its user starts it."""
    done = subprocess.run(
        [sys.executable, "-I", single.__file__, str(folder), *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def of_incident(log: EpochLog) -> EpochLog:
    """An incident from its opening to its closing, over a change of keys."""
    who = Actor(kind="hub", id="hub", node=None, session=None)
    for number, kind in enumerate(("incident.open", "incident.close")):
        log.numbers += 1
        body = {"entries": number + 1} if kind == "incident.close" else {"text": "x"}
        entry = EntryDraft(
            id=uuid_of(log.numbers), at=log.now, type=kind, actor=who, incident=INCIDENT, body=body
        )
        log.put(encode(following(entry, log=ORIGIN, head=log.head, inc_seq=number)))
        log.sign()
        if number == 0:
            log.rotate()
    return log


def test_every_part_of_such_a_log_is_verified_wherever_it_begins(tmp_path: Path) -> None:
    log = history(3)
    folder = written(log, tmp_path / "log")
    assert verified(folder) == VALID
    for first in range(len(log.lines)):
        where = tmp_path / f"from-{first}"
        where.mkdir()
        assert verified(exported(folder, where, "--from", first)) == VALID, first


def test_a_part_that_begins_beside_a_change_from_a_revoked_key_is_verified(tmp_path: Path) -> None:
    log = history(1)
    trusted = len(log.lines)
    log.happen()
    log.epochs, secret = revoked_at(1, trusted, log.epochs)
    log.take_over(secret)
    log.happen()
    folder = written(log, tmp_path / "log")
    assert verified(folder) == VALID
    for first in range(1, len(log.lines)):
        where = tmp_path / f"from-{first}"
        where.mkdir()
        assert verified(exported(folder, where, "--from", first)) == VALID, first


def test_a_part_whose_entry_was_changed_or_whose_list_is_of_another_root_is_refused(
    tmp_path: Path,
) -> None:
    folder = exported(written(history(2), tmp_path / "log"), tmp_path, "--from", 6)
    (segment,) = (folder / "seg").iterdir()
    good = segment.read_bytes()
    segment.write_bytes(good.replace(b'"what":"test"', b'"what":"tesT"', 1))
    assert verified(folder) == TAMPERED
    segment.write_bytes(good)
    assert verified(folder) == VALID
    assert main(["verify", str(folder), "--root", OTHER_ROOT.vkey]) == TAMPERED


def test_a_part_that_skips_an_epoch_is_refused(tmp_path: Path) -> None:
    log = history(1)
    log.ratchet = log.ratchet.next()
    log.rotate()  # signed by epochs 2 and 3, where epoch 1 was in force
    log.happen()
    folder = exported(written(log, tmp_path / "log"), tmp_path, "--from", 6)
    assert verified(folder) == TAMPERED


def test_one_incident_alone_is_verified_and_not_under_a_revoked_key(tmp_path: Path) -> None:
    log = of_incident(history(1))
    folder = exported(written(log, tmp_path / "log"), tmp_path, "--incident", INCIDENT)
    assert verified(folder) == VALID
    epochs, _ = revoked_at(2, len(log.lines) - 1, log.epochs)
    newer = tmp_path / "newer.note"
    newer.write_text(certify(epochs, ROOT))
    assert verified(folder, "--epochs", str(newer)) == TAMPERED


def test_an_export_lacks_no_second_signature_that_its_list_demands(tmp_path: Path) -> None:
    log = history(1, epochs=list_of(second=SECOND), second=SECOND)
    folder = exported(written(log, tmp_path / "log"), tmp_path, "--from", 2)
    assert verified(folder) == VALID
    (kept,) = (folder / "checkpoints").iterdir()
    text = (folder / "checkpoint").read_text()
    bare = "".join(line for line in text.splitlines(True) if "/second " not in line)
    (folder / "checkpoint").write_text(bare)
    kept.write_text(kept.read_text().replace(text, bare))
    assert verified(folder) == TAMPERED


def test_the_single_file_verifies_what_a_root_certifies_as_the_installed_one_does(
    tmp_path: Path,
) -> None:
    log = history(2)
    folder = written(log, tmp_path / "log")
    (tmp_path / "part").mkdir()
    part = exported(folder, tmp_path / "part", "--from", 1)
    policy, root, thief = tmp_path / "policy", tmp_path / "root", tmp_path / "thief"
    policy.write_text(f"root {ROOT.vkey}\n")
    root.write_text(f"{ROOT.vkey}\n")
    bad = log.copy()
    bad.ratchet = bad.ratchet.next()  # without a word about it
    bad.happen()
    written(bad, thief)
    for words in ([], ["--root", ROOT.vkey], ["--root", str(root)], ["--policy", str(policy)]):
        for each, status in ((folder, VALID), (part, VALID), (thief, TAMPERED)):
            assert alone(each, *words)[0] == main(["verify", str(each), *words]) == status
    older = tmp_path / "older.note"
    older.write_text(
        certify(msgspec.structs.replace(log.epochs, epochs=log.epochs.epochs[:2]), ROOT)
    )
    words = ["--root", ROOT.vkey, "--epochs", str(older)]
    assert alone(folder, *words)[0] == main(["verify", str(folder), *words]) == TAMPERED
    words = ["--root", OTHER_ROOT.vkey]
    assert alone(folder, *words)[0] == main(["verify", str(folder), *words]) == TAMPERED
    policy.write_text(f"root {ROOT.vkey}\nsecond {SECOND.vkey}\n")
    words = ["--policy", str(policy)]
    assert alone(folder, *words)[0] == main(["verify", str(folder), *words]) == TAMPERED
