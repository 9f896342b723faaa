"""Reading an export back: what it says it is, its manifest, and a part's place in the tree.

The counterpart of `audit/export.py`. Nothing in an export is believed: `export.json` only says
what to check, and every byte that counts leads to the signed root or to the manifest.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from audit import proof
from audit.checkpoint import open_checkpoint
from audit.entry import BLOB_PREFIX, Count, leaf_hash
from audit.errors import AuditRefusedError, ExportError, ProofError
from audit.folder import lines_of, segment_files
from audit.merkle import verify_inclusion
from audit.note import Vkey, open_note
from audit.verify import WHOLE, Before, Remarks

FORMAT = "sentinel-export/v1"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_UNLISTED = {"MANIFEST.sha256", "MANIFEST.note"}
_CHUNK_BYTES = 1 << 20
_ENCODER = msgspec.json.Encoder(order="sorted")

Kind = Literal["whole", "range", "incident"]


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What `export.json` says is in the folder."""

    format: Literal["sentinel-export/v1"] = "sentinel-export/v1"
    kind: Kind
    log: Annotated[str, msgspec.Meta(max_length=255)] = ""
    first: Count  # entry
    last: Count = 0
    entries: Count = 0
    size: Count = 0  # of the checkpoint
    incident: str | None
    withheld: tuple[str, ...] = ()  # blobs left out: `SEQ FIELD COMMITMENT`


def encode_export(export: Export) -> bytes:
    """The bytes of `export.json`."""
    return _ENCODER.encode(export) + b"\n"


def read_export(path: Path) -> Export | None:
    """What kind of export is in the folder, None for a log folder. Raises `ExportError`."""
    file = path / "export.json"
    if not file.exists():
        return None
    data = file.read_bytes()
    try:
        export = msgspec.json.decode(data, type=Export)
        read = msgspec.json.decode(data)
        if _ENCODER.encode(read) + b"\n" != data:
            raise ExportError("export.json: not in canonical form")
        if "format" not in read:  # what names no format is of none
            raise ExportError("export.json: not a sentinel-export/v1")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ExportError(f"export.json: {error}") from error
    if export.kind == "whole" and export.first:
        raise ExportError("export.json: a whole log begins with entry 0")
    if (export.kind == "incident") != (export.incident is not None):
        raise ExportError("export.json: an incident without its id, or an id without one")
    return export


def check_manifest(path: Path, signer: Vkey | None) -> Remarks:
    """Every file as MANIFEST.sha256 lists it, and who signed that list."""
    data = (path / "MANIFEST.sha256").read_bytes()
    problems, listed = [], set(_UNLISTED)
    for line in data.decode(errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        listed.add(name)
        problem = _listed_file(path, digest, name)
        if problem is not None:
            problems.append(problem)
    if signer is not None:
        problems += _signature(path, data, signer)
    there = {each.relative_to(path).as_posix() for each in path.rglob("*") if not each.is_dir()}
    more = [f"{name!r} is not in the manifest: nobody vouches for it" for name in there - listed]
    return Remarks(problems=tuple(problems), warnings=tuple(sorted(more)))


def manifest_text(origin: str, manifest: bytes) -> str:
    """What the export's key signs."""
    return f"{FORMAT}\n{origin}\n{hashlib.sha256(manifest).hexdigest()}\n"


def before_part(path: Path, vkeys: Sequence[Vkey], first: int, note: str) -> Before:
    """The tree before a part of a log, by the inclusion proof of the part's first entry.

    Raises `AuditRefusedError`; the proof is checked with the entry as it is there.
    """
    if first == 0:
        return WHOLE
    checkpoint = open_checkpoint(note, vkeys)
    lines = (line for file in segment_files(path)[:1] for line in lines_of(file))
    line = next(lines, b"\n")[:-1]
    steps = read_proof(path, first, note)
    peaks = verify_inclusion(first, checkpoint.size, leaf_hash(line), steps, checkpoint.root)
    return Before(size=first, peaks=tuple(peaks))


def unknown_before(first: int) -> Before:
    """Stands in for a tree that is not shown: no signed root will come of it."""
    return Before(size=first, peaks=(bytes(32),) * first.bit_count())


def read_proof(path: Path, seq: int, note: str) -> tuple[bytes, ...]:
    """The inclusion path of one entry, which must be under this checkpoint."""
    file = path / "proofs" / f"{seq:012}.tlog-proof"
    if not file.is_file():
        raise ProofError(f"entry {seq} comes without its proof")
    with file.open("rb") as stream:
        text = stream.read(proof.MAX_PROOF_CHARS + 1).decode(errors="replace")
    try:
        read = proof.parse(text)
    except ProofError as error:
        raise ProofError(f"the proof of entry {seq} is malformed") from error
    if read.index != seq:
        raise ProofError(f"the proof of entry {seq} is malformed")
    if read.note != note:
        raise ProofError(f"the proof of entry {seq} is under another checkpoint")
    return read.path


def file_digest(file: Path, prefix: bytes = b"") -> str:
    """Hex SHA-256 of a file, or of a prefix and the file."""
    digest = hashlib.sha256(prefix)
    with file.open("rb") as stream:
        for chunk in iter(partial(stream.read, _CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _listed_file(path: Path, digest: str, name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return f"MANIFEST.sha256: a line that names no file: {name[:80]!r}"
    if not (path / name).is_file():
        return f"{name} is missing"
    if file_digest(path / name) != digest:
        return f"{name} is not the file that the manifest lists"
    if name.startswith("blobs/") and name != f"blobs/{file_digest(path / name, BLOB_PREFIX)}":
        return f"{name} is not what its entry committed to"
    return None


def _signature(path: Path, manifest: bytes, signer: Vkey) -> list[str]:
    try:
        note = (path / "MANIFEST.note").read_bytes().decode(errors="replace")
        text = open_note(note, [signer]).text
    except AuditRefusedError as error:
        return [f"MANIFEST.note: {error}"]
    except OSError:
        return ["MANIFEST.note: not there, so the export is unsigned"]
    if text != manifest_text(signer.name, manifest):
        return ["MANIFEST.note: its text is not of this manifest"]
    return []
