"""`sentinel-audit` on a folder, as an auditor types it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from audit import proof
from audit.__main__ import main
from audit.report import Report
from tests.audit.builders import INCIDENT, WHO, draft, make_log, note_of, rewrite, signer

DRAFTS = [
    draft(0),
    draft(1),
    draft(2, incident=INCIDENT, type="incident.open", body={"node": "web1", "text": "a\x1b[2Jb"}),
    draft(3, incident=INCIDENT, type="approval.grant", outcome="granted"),
    draft(4, type="auth.logout", actor=msgspec.structs.replace(WHO, id="jonas")),
]
LOG = make_log(drafts=DRAFTS, every=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("seg", "checkpoints"):
        (tmp_path / part).mkdir()
    (tmp_path / "seg/000000000000.jsonl").write_bytes(b"".join(b"%b\n" % x for x in LOG.lines))
    notes = "".join(f"{note}\n" for note in LOG.notes)
    (tmp_path / "checkpoints/000000000000.notes").write_text(notes)
    (tmp_path / "checkpoint").write_text(LOG.notes[-1])
    (tmp_path / "log.vkey").write_text(signer().vkey + "\n")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


def change(folder: Path) -> None:
    lines = [*LOG.lines[:1], rewrite(LOG.lines[1], outcome="changed"), *LOG.lines[2:]]
    (folder / "seg/000000000000.jsonl").write_bytes(b"".join(b"%b\n" % line for line in lines))


def test_a_valid_log_leaves_0_and_says_where_the_key_came_from(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "verify", folder)
    assert status == 0
    assert out.startswith("VALID: 5 entries, all there and as signed\n")
    assert signer().vkey in out
    assert "came from the log folder itself" in out


def test_with_a_pinned_key_there_is_nothing_to_compare(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pinned, policy = tmp_path / "pinned", tmp_path / "policy"
    pinned.write_text(signer().vkey)
    policy.write_text(f"log {signer().vkey}\nquorum none\n")
    for words in (("--vkey", signer().vkey), ("--vkey-file", pinned), ("--policy", policy)):
        status, out, _ = run(capsys, "verify", folder, *words)
        assert status == 0
        assert "log folder itself" not in out


def test_a_tampered_log_leaves_1_and_names_the_entry(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder)
    status, out, _ = run(capsys, "verify", folder)
    assert status == 1
    assert out.startswith("TAMPERED: entry 1 is not the one that was signed")
    assert "000000000000  INVALID" in out


def test_another_pinned_key_leaves_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "verify", folder, "--vkey", signer(2).vkey)
    assert status == 1
    assert "none of the keys we trust" in out


def test_json_is_the_whole_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder)
    status, out, _ = run(capsys, "verify", folder, "--json")
    answer = json.loads(out)
    assert status == 1
    assert (answer.pop("key_from"), answer.pop("live")) == ("log folder", False)
    report = msgspec.convert(answer, Report)
    assert (report.first_bad, report.exit_status) == (1, 1)


def test_the_checkpoint_of_the_last_audit_must_fit(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text(LOG.notes[0])
    assert run(capsys, "verify", folder, "--since", kept)[0] == 0
    kept.write_text(note_of([*LOG.lines, LOG.lines[-1]]))
    status, out, _ = run(capsys, "verify", folder, "--since", kept)
    assert status == 1
    assert "missing" in out


def test_an_unsigned_tail_leaves_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "checkpoint").unlink()
    kept = "".join(f"{note}\n" for note in LOG.notes[:-1])
    (folder / "checkpoints/000000000000.notes").write_text(kept)
    status, out, _ = run(capsys, "verify", folder)
    assert status == 2
    assert out.startswith("INCOMPLETE: the last 1 entries are not signed yet")


def test_what_cannot_be_read_leaves_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("verify", tmp_path), ("show", tmp_path / "nowhere"), ("prove", tmp_path, 3)):
        status, _, err = run(capsys, *words)
        assert status == 2
        assert err.count("\n") == 1
        assert err.startswith("sentinel-audit: ")


@pytest.mark.parametrize("words", [[], ["verify"], ["examine", "."], ["prove", ".", "x"]])
def test_a_command_that_is_not_understood_leaves_3(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 3


def test_show_filters_and_a_terminal_is_safe_from_the_log(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "show", folder)[1].count("\n") == 5
    assert run(capsys, "show", folder, "--incident", INCIDENT)[1].count("\n") == 2
    assert run(capsys, "show", folder, "--type", "auth.")[1].count("\n") == 2
    assert run(capsys, "show", folder, "--type", "auth.login")[1].count("\n") == 1
    assert "jonas" in run(capsys, "show", folder, "--actor", "jonas")[1]
    assert run(capsys, "show", folder, "--since-seq", 3)[1].count("\n") == 2
    status, out, _ = run(capsys, "show", folder, "--type", "node.enroll")
    assert (status, out) == (1, "")
    shown = run(capsys, "show", folder, "--type", "incident.open")[1]
    assert "\x1b" not in shown
    assert "a\ufffd[2Jb" in shown


def test_show_json_is_the_stored_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", folder, "--json", "--since-seq", 2)
    assert out.encode().splitlines() == LOG.lines[2:]


def test_prove_writes_a_proof_that_verifies(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, text, _ = run(capsys, "prove", folder, 3)
    assert status == 0
    assert proof.verify_inclusion(text, LOG.lines[3], signer().vkey).type == "approval.grant"
    target = tmp_path / "three.tlog-proof"
    assert run(capsys, "prove", folder, 3, "--output", target)[0] == 0
    assert target.read_text() == text
    assert (tmp_path / "three.entry").read_bytes() == LOG.lines[3]


def test_prove_refuses_an_entry_that_is_not_there_and_a_log_that_was_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seq in (5, -1):
        status, out, err = run(capsys, "prove", folder, seq)
        assert (status, out) == (2, "")
        assert "5 are signed" in err
    change(folder)
    status, out, err = run(capsys, "prove", folder, 3)
    assert (status, out) == (1, "")
    assert "does not lead to the signed root" in err


def test_help_is_there_at_once_and_says_what_the_exit_status_means() -> None:
    words = [sys.executable, "-m", "audit", "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime  # a busy machine may be slow
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1
    assert "1  tampered" in done.stdout
    assert "rich" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    words = f"{sys.executable} -m audit show {folder} | true"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
