"""An export made on the hub is in the log before it is anywhere else."""

import hashlib
import json
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.__main__ import main as sentinel_audit
from hub.__main__ import main
from tests.hub.test_notary import NotaryProcess, until

pytestmark = pytest.mark.postgres


@pytest.fixture
def notary(tmp_path: Path, dsn: str) -> Iterator[NotaryProcess]:
    """A log with its first entry; the notary is stopped, the database is there."""
    made = NotaryProcess(tmp_path, dsn)
    made.start()
    until(lambda: (made.log / "checkpoint").exists() and (made.log / "log.vkey").exists())
    assert made.end(signal.SIGTERM) == 0
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)


def export(notary: NotaryProcess, *words: object) -> int:
    config = notary.folder / "notary.toml"
    return main(["export", "--config", str(config), *map(str, words)])


def test_the_log_tells_of_an_export_with_the_manifest_that_was_given_out(
    notary: NotaryProcess, tmp_path: Path
) -> None:
    out = tmp_path / "out.tar"
    assert export(notary, "--out", out, "--who", "karin", "--reason", "the yearly audit") == 0
    notary.start()
    until(lambda: notary.lines()[-1]["type"] == "export.create")
    entry = notary.lines()[-1]
    with tarfile.open(out) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (folder,) = (tmp_path / "unpacked").iterdir()
    manifest = (folder / "MANIFEST.sha256").read_bytes()
    assert entry["body"]["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert (entry["actor"]["id"], entry["body"]["reason"]) == ("karin", "the yearly audit")
    said = json.loads((folder / "export.json").read_bytes())
    assert (entry["body"]["first_seq"], entry["body"]["last_seq"]) == (said["first"], said["last"])
    assert sentinel_audit(["verify", str(folder)]) == 0


def test_what_cannot_be_recorded_is_not_exported(notary: NotaryProcess, tmp_path: Path) -> None:
    config = notary.folder / "notary.toml"
    text = config.read_text()
    config.write_text(text.replace('dsn = "', 'dsn = "connect_timeout=1 port=1 '))
    assert export(notary, "--out", tmp_path / "out.tar", "--who", "karin") != 0
    assert not list(tmp_path.glob("out.tar*"))


def test_an_export_on_the_hub_has_a_name_to_it(notary: NotaryProcess, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        export(notary, "--out", tmp_path / "out.tar")
    assert not list(tmp_path.glob("out.tar*"))
