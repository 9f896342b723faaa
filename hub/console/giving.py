"""Give a part of the audit log out: `sentinel-audit export`, in a process of its own.

It is the same command that an auditor types, so what leaves here is the same bytes. The archive is
made in a private folder and is nobody's until its `export.create` entry is committed; that entry
says who, when and why, is signed with the log, and stands for the custody record that the command
line writes beside an archive.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.journal import shown
from audit.errors import AuditRefusedError, ExportError
from audit.exported import Export, read_export
from hub.console.errors import NotGivenError
from hub.console.log_check import LogCheck

MOST_ENTRIES = 100_000  # in one archive; what is larger is made on the notary's machine
MOST_S = 300.0
MAX_FILE_BYTES = 64 * 1024 * 1024  # of the two files that are read from the archive
_HOME = Path(__file__).resolve().parents[2]  # so that it starts from an editable install, too
_ENDINGS = {0: "", 1: "-ALTERED", 2: "-INCOMPLETE"}  # what verifying the archive said

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What to give out: an incident, or a range of entries."""

    incident: str = ""
    first: int = 0
    last: int | None = None  # None: the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An archive that nobody has yet."""

    path: Path
    name: str
    export: Export
    manifest: bytes


@contextmanager
def made(log: LogCheck, part: Part, *, who: str, reason: str, size: int) -> Iterator[Made]:
    """Make it; it is gone when the block ends. Raises `NotGivenError`."""
    if log.folder is None:
        raise NotGivenError("This console was not given the log's files; nothing is exported here.")
    end = size if part.last is None else part.last + 1
    if not part.incident and end - part.first > MOST_ENTRIES:
        raise NotGivenError(
            f"More than {MOST_ENTRIES} entries: use `sentinel-hub export` on the notary's machine."
        )
    if not _one_at_a_time.acquire(blocking=False):
        raise NotGivenError("Another export is being made; try again when it is there.")
    folder = Path(tempfile.mkdtemp(prefix="sentinel-export-"))
    try:
        out = folder / "export.tar"
        status = _run([*_command(log, part, out), f"--who={who}", f"--reason={reason}"], out)
        yield _opened(out, status)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _one_at_a_time.release()


def _command(log: LogCheck, part: Part, out: Path) -> list[str]:
    try:
        command = ["export", str(log.folder), f"--out={out}", *log.key_options()]
    except (AuditRefusedError, OSError, UnicodeError) as error:
        raise NotGivenError(f"The export was not made: the log's key: {error}.") from error
    if part.incident:
        return [*command, f"--incident={part.incident}"]
    upto = [] if part.last is None else [f"--to={part.last}"]
    return [*command, f"--from={part.first}", *upto]


def _run(words: Sequence[str], out: Path) -> int:
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and a module of ours
            [sys.executable, "-m", "audit", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MOST_S,
            cwd=_HOME,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotGivenError(f"The export was not made: {shown(str(error), most=300)}.") from error
    if not out.exists() or done.returncode not in _ENDINGS:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise NotGivenError(f"The export was not made: {shown(''.join(last), most=300)}.")
    return done.returncode


def _opened(out: Path, status: int) -> Made:
    try:
        with tarfile.open(out) as archive:
            prefix = archive.getnames()[0].split("/")[0]
            manifest = _member(archive, f"{prefix}/MANIFEST.sha256")
            (out.parent / "export.json").write_bytes(_member(archive, f"{prefix}/export.json"))
        export = read_export(out.parent)
    except (OSError, tarfile.TarError, KeyError, IndexError, ExportError) as error:
        raise NotGivenError("The export was not made: its archive cannot be read.") from error
    if export is None:
        raise NotGivenError("The export was not made: it does not say what it is.")
    name = f"{prefix}{_ENDINGS[status]}.tar"
    return Made(path=out, name=name, export=export, manifest=manifest)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    return b"" if found is None else found.read(MAX_FILE_BYTES)
