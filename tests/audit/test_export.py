"""What is carried away: the same bytes every time, checkable anywhere, no more than was meant."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from shutil import which

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit import proof
from audit.__main__ import main
from audit.entry import blob_digest, decode
from audit.note import open_note, parse_vkey
from tests.audit.builders import INCIDENT, ORIGIN, chain_of, draft, signer, uuid_of
from tests.audit.mutations import files_of, write
from tests.audit.test_two_verifiers import drafts_of_two_incidents

OTHER = uuid_of(77)  # an incident that is not closed
VKEY = signer().vkey
EXPORT = signer(3, name=f"{ORIGIN}/export")
TOOLS = ("bash", "basenc", "sha256sum", "openssl", "jq")
SALT = b"s" * 32
SECRET, HARMLESS = b"the prompt, with a password in it", b"what the model wrote"


def drafts_with_blobs() -> list:
    made = drafts_of_two_incidents()
    for at, field, data in ((7, "prompt_digest", SECRET), (10, "output_digest", HARMLESS)):
        body = {**made[at].body, field: blob_digest(SALT, data)}
        made[at] = msgspec.structs.replace(made[at], body=body)
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    lines = chain_of(drafts_with_blobs())
    files = files_of(lines)
    # Real folders have segments of 65,536 entries: all of these lie in the first one.
    seg = b"".join(b"%b\n" % line for line in lines)
    notes = b"".join(files[name] for name in sorted(files) if name.startswith("checkpoints/"))
    for data in (SECRET, HARMLESS):
        files[f"blobs/{blob_digest(SALT, data)}"] = SALT + data
    files = {
        name: data for name, data in files.items() if not name.startswith(("seg/", "checkpoints/"))
    }
    files |= {"seg/000000000000.jsonl": seg, "checkpoints/000000000000.notes": notes}
    write(files, folder)
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "export.pem"
    pem = EXPORT._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem)
    return file


def export(log: Path, out: Path, *words: object) -> int:
    return main(["export", str(log), "--out", str(out), *map(str, words)])


def unpack(out: Path, folder: Path) -> Path:
    with tarfile.open(out) as tar:
        tar.extractall(folder, filter="data")
    (inside,) = folder.iterdir()
    return inside


def alone(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The verifier that came with the export, by the bare interpreter."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "audit_verify.py", ".", *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def by_hand(folder: Path, *, vkey: str = VKEY) -> "subprocess.CompletedProcess[str]":
    """The recipe that stands in the export's own README."""
    (recipe,) = re.findall(
        r"^```bash\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return subprocess.run(
        ["bash", "-c", recipe],
        cwd=folder, capture_output=True, text=True, check=False,
        env={
            "PATH": os.environ["PATH"], "TMPDIR": str(folder.parent), "LC_ALL": "C.UTF-8",
            "VKEY": vkey,
        },
    )  # fmt: skip


KINDS = {
    "whole": ((), 0, "26 entries, all there"),
    "range": (("--from", "9", "--to", "17"), 0, "entries 9 to 19, all there"),
    "incident": (("--incident", INCIDENT), 0, "all 9 entries to its closing, as signed"),
    "open incident": (("--incident", OTHER), 2, "but not its closing"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_verifies_by_both_verifiers(
    kind: str, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, status, sentence = KINDS[kind]
    assert export(log, tmp_path / "out.tar", *words) == status
    assert sentence in capsys.readouterr().out
    folder = unpack(tmp_path / "out.tar", tmp_path / "unpacked")
    assert main(["verify", str(folder), "--vkey", VKEY]) == status
    assert sentence in capsys.readouterr().out
    done = alone(folder, "--vkey", VKEY)
    assert (done.returncode, done.stderr) == (status, "")
    assert sentence in done.stdout


@pytest.mark.skipif(not all(map(which, TOOLS)), reason=f"needs {TOOLS}")
@pytest.mark.parametrize("kind", ["whole", "range", "incident"])
def test_the_recipe_says_yes_and_to_every_change_no(kind: str, log: Path, tmp_path: Path) -> None:
    export(log, tmp_path / "out.tar", *KINDS[kind][0])
    folder = unpack(tmp_path / "out.tar", tmp_path / "unpacked")
    done = by_hand(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("as signed\n")
    assert by_hand(folder, vkey=signer(2).vkey).returncode != 0
    entries = next(
        f for f in (folder / "entries.jsonl", *sorted(folder.glob("seg/*"))) if f.exists()
    )
    lines = entries.read_bytes().splitlines(keepends=True)
    entries.write_bytes(b"".join(lines[:-1]))
    assert by_hand(folder).returncode != 0  # the manifest
    for changed in (
        [lines[0].replace(b"maria", b"mario"), *lines[1:]],
        lines[1:],
        lines[:-1],
        [lines[1], lines[0], *lines[2:]],
        [lines[0], *lines],
    ):
        entries.write_bytes(b"".join(changed))
        relist(folder)
        assert by_hand(folder).returncode != 0  # the links and proofs
    entries.write_bytes(b"".join(lines))
    relist(folder)
    assert by_hand(folder).returncode == 0
    for proven in sorted(folder.glob("proofs/*"))[:1]:
        text = proven.read_text()
        proven.write_text(text.replace(text.split("\n")[2], text.split("\n")[3]))
        relist(folder)
        assert by_hand(folder).returncode != 0


def relist(folder: Path) -> None:
    """A manifest that fits, as a forger makes it."""
    names = "find . -type f ! -name 'MANIFEST*' | sed 's,^./,,' | LC_ALL=C sort"
    words = f"sha256sum $({names}) > MANIFEST.sha256"
    subprocess.run(["bash", "-c", words], cwd=folder, check=True)


@pytest.mark.parametrize("kind", ["whole", "range", "incident"])
def test_two_exports_of_the_same_part_are_the_same_bytes(
    kind: str, log: Path, tmp_path: Path, key: Path
) -> None:
    words = (*KINDS[kind][0], "--export-key", key)
    export(log, tmp_path / "one.tar", *words, "--reason", "the first time")
    os.utime(log / "checkpoint", (0, 0))
    export(log, tmp_path / "two.tar", *words, "--who", "somebody else")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


@pytest.mark.parametrize("kind", ["range", "incident"])
def test_the_same_part_is_the_same_bytes_after_the_log_has_grown(
    kind: str, log: Path, tmp_path: Path
) -> None:
    export(log, tmp_path / "one.tar", *KINDS[kind][0])
    more = files_of(chain_of([*drafts_with_blobs(), *(draft(n) for n in range(26, 34))]))
    seg = b"".join(more[name] for name in sorted(more) if name.startswith("seg/"))
    notes = b"".join(more[name] for name in sorted(more) if name.startswith("checkpoints/"))
    kept = log / "checkpoints/000000000000.notes"
    after = re.findall(rb".*?\n\n.*?\n\n", notes, re.DOTALL)[-2:]
    (log / "seg/000000000000.jsonl").write_bytes(seg)
    kept.write_bytes(kept.read_bytes() + b"".join(after))
    (log / "checkpoint").write_bytes(more["checkpoint"])
    assert main(["verify", str(log)]) == 0
    export(log, tmp_path / "two.tar", *KINDS[kind][0])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_an_archive_tells_nothing_of_the_machine_it_was_made_on(log: Path, tmp_path: Path) -> None:
    export(log, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, "", "", 0o644)}
    assert len({m.mtime for m in members}) == 1
    data = (tmp_path / "out.tar").read_bytes()
    assert str(tmp_path).encode() not in data
    assert os.uname().nodename.encode() not in data


def test_one_incident_is_shown_without_a_word_of_the_others(log: Path, tmp_path: Path) -> None:
    export(log, tmp_path / "out.tar", "--incident", INCIDENT)
    data = (tmp_path / "out.tar").read_bytes()
    lines = chain_of(drafts_with_blobs())
    for line in lines:
        entry = decode(line)
        assert (line in data) is (entry.incident == INCIDENT)
        if entry.incident != INCIDENT:
            assert entry.id.encode() not in data
    assert OTHER.encode() not in data
    folder = unpack(tmp_path / "out.tar", tmp_path / "unpacked")
    for file in folder.glob("proofs/*"):  # anybody's tool reads them
        seq = int(file.name.split(".")[0])
        assert proof.verify_inclusion(file.read_text(), lines[seq], VKEY).incident == INCIDENT


@pytest.mark.parametrize("at", range(9))
def test_an_entry_left_out_of_an_incident_is_missed(at: int, log: Path, tmp_path: Path) -> None:
    export(log, tmp_path / "out.tar", "--incident", INCIDENT)
    folder = unpack(tmp_path / "out.tar", tmp_path / "unpacked")
    lines = (folder / "entries.jsonl").read_bytes().splitlines(keepends=True)
    seq = json.loads(lines[at])["seq"]
    del lines[at]
    (folder / "entries.jsonl").write_bytes(b"".join(lines))
    (folder / f"proofs/{seq:012}.tlog-proof").unlink()
    relist(folder)
    expected = 2 if at == 8 else 1  # without the closing nothing is claimed
    assert main(["verify", str(folder), "--vkey", VKEY]) == expected
    assert alone(folder, "--vkey", VKEY).returncode == expected


def test_a_withheld_blob_is_nowhere_and_every_proof_holds(log: Path, tmp_path: Path) -> None:
    assert export(log, tmp_path / "all.tar") == 0
    assert SECRET in (tmp_path / "all.tar").read_bytes()
    assert export(log, tmp_path / "out.tar", "--redact", "prompt_digest") == 0
    data = (tmp_path / "out.tar").read_bytes()
    assert SECRET not in data
    assert HARMLESS in data
    folder = unpack(tmp_path / "out.tar", tmp_path / "unpacked")
    said = json.loads((folder / "export.json").read_bytes())["withheld"]
    assert said == [f"7 prompt_digest {blob_digest(SALT, SECRET)}"]
    assert "prompt_digest of entry 7" in (folder / "report.html").read_text()
    assert alone(folder, "--vkey", VKEY).returncode == 0


def test_a_blob_that_is_not_what_the_entry_committed_to_is_found(log: Path, tmp_path: Path) -> None:
    export(log, tmp_path / "out.tar")
    folder = unpack(tmp_path / "out.tar", tmp_path / "unpacked")
    (folder / "blobs" / blob_digest(SALT, HARMLESS)).write_bytes(SALT + b"something kinder")
    relist(folder)
    assert main(["verify", str(folder)]) == 1
    assert "committed to" in alone(folder).stdout


def test_the_manifest_is_signed_by_the_export_key_and_by_no_other(
    log: Path, tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(log, tmp_path / "out.tar", "--export-key", key)
    folder = unpack(tmp_path / "out.tar", tmp_path / "unpacked")
    for vkey, status in ((EXPORT.vkey, 0), (signer(4, name=f"{ORIGIN}/export").vkey, 1)):
        words = ["--vkey", VKEY, "--export-vkey", vkey]
        assert main(["verify", str(folder), *words]) == status
        assert alone(folder, *words).returncode == status
    record = (tmp_path / "out.tar.custody").read_text()
    text = open_note(record, [parse_vkey(EXPORT.vkey)]).text
    assert "part whole: entries 0 to 25" in text
    capsys.readouterr()
    relist(folder)  # the report rewritten, and the list of files with it
    (folder / "report.html").write_text("all is well")
    relist(folder)
    assert main(["verify", str(folder), "--export-vkey", EXPORT.vkey]) == 1
    assert "MANIFEST.note: its text is not of this manifest" in capsys.readouterr().out


def test_an_unsigned_export_says_so(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(log, tmp_path / "out.tar")
    assert "unsigned: no --export-key was given" in capsys.readouterr().out
    assert "unsigned" in (tmp_path / "out.tar.custody").read_text()
    folder = unpack(tmp_path / "out.tar", tmp_path / "unpacked")
    assert "**not signed**" in (folder / "README.md").read_text()
    assert main(["verify", str(folder), "--export-vkey", EXPORT.vkey]) == 1


def test_the_logs_own_key_does_not_sign_exports(log: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    pem = signer()._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own.write_bytes(pem)
    assert export(log, tmp_path / "out.tar", "--export-key", own) == 1
    assert not (tmp_path / "out.tar").exists()


def test_an_export_of_an_altered_log_is_made_and_says_that_it_is(log: Path, tmp_path: Path) -> None:
    seg = log / "seg/000000000000.jsonl"
    seg.write_bytes(seg.read_bytes().replace(b"maria", b"mario", 1))
    for number, words in enumerate(((), ("--from", "9"), ("--incident", INCIDENT))):
        out = tmp_path / f"{number}.tar"
        status = export(log, out, *words)
        folder = unpack(out, tmp_path / f"unpacked{number}")
        assert status == alone(folder).returncode == 1
        assert "Altered" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("--from", "26"),
        ("--from", "5", "--to", "4"),
        ("--to", "99"),
        ("--incident", uuid_of(5)),
        ("--export-key", "/nowhere"),
    ],
)
def test_a_part_that_is_not_there_leaves_no_archive(
    words: tuple[str, ...], log: Path, tmp_path: Path
) -> None:
    assert export(log, tmp_path / "out.tar", *words) in {1, 2}
    assert not list(tmp_path.glob("out.tar*"))
    assert not list(tmp_path.glob(".export-*"))


def test_an_archive_that_is_there_is_not_overwritten(log: Path, tmp_path: Path) -> None:
    (tmp_path / "out.tar").write_text("evidence")
    assert export(log, tmp_path / "out.tar") == 1
    assert (tmp_path / "out.tar").read_text() == "evidence"


def test_exporting_and_reporting_write_nothing_to_the_log(log: Path, tmp_path: Path) -> None:
    before = {f: f.read_bytes() for f in sorted(log.rglob("*")) if f.is_file()}
    export(log, tmp_path / "out.tar")
    main(["report", str(log), "--out", str(tmp_path / "page")])
    assert {f: f.read_bytes() for f in sorted(log.rglob("*")) if f.is_file()} == before


def test_a_report_is_a_page_and_a_pdf(log: Path, tmp_path: Path) -> None:
    assert main(["report", str(log), "--out", str(tmp_path / "page"), "--incident", INCIDENT]) == 0
    assert "<!doctype html>" in (tmp_path / "page.html").read_text()
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")


def test_a_member_of_an_archive_cannot_lead_out_of_its_folder(log: Path, tmp_path: Path) -> None:
    export(log, tmp_path / "out.tar")
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "out.tar").read_bytes())) as tar:
        assert all(m.isreg() and ".." not in m.name and m.name[0] != "/" for m in tar.getmembers())
