"""Pack an export: manifest, signature, one deterministic archive, and the record of custody.

The same part gives the same bytes: names in order, no owner, mode 0644, the time of the last entry
as every file's time, no compression (whose output differs between versions). Who exported, when and
why is not in the archive but beside it, in a custody record that later hands can add to.
"""

import tarfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from audit.exported import Export, file_digest, manifest_text
from audit.note import Signer, sign

MANIFEST = "MANIFEST.sha256"
NOTE = "MANIFEST.note"
CUSTODY = "sentinel-custody/v1"


class Custody(msgspec.Struct, frozen=True, kw_only=True):
    """Who took what out, when and why."""

    archive: str  # file name
    sha256: str
    bytes_: int
    export: Export
    who: str
    where: str
    at: datetime
    reason: str
    version: str


def write_manifest(folder: Path, signer: Signer | None) -> bytes:
    """List every file of the folder, and sign the list when there is a key. Returns the list."""
    names = sorted(name for name in _names(folder) if name not in {MANIFEST, NOTE})
    manifest = "".join(f"{file_digest(folder / name)}  {name}\n" for name in names).encode()
    (folder / MANIFEST).write_bytes(manifest)
    if signer is not None:
        origin = signer.vkey.split("+")[0]
        (folder / NOTE).write_text(sign(manifest_text(origin, manifest), signer))
    return manifest


def pack(folder: Path, archive: Path, *, prefix: str, at: datetime) -> str:
    """Write the archive; returns its SHA-256 in hex."""
    with (
        archive.open("wb") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in sorted(_names(folder)):
            member = tarfile.TarInfo(f"{prefix}/{name}")
            member.size = (folder / name).stat().st_size
            member.mtime = int(at.timestamp())
            member.mode = 0o644
            with (folder / name).open("rb") as content:
                tar.addfile(member, content)
    return file_digest(archive)


def custody_record(custody: Custody, signer: Signer | None) -> str:
    """One text: a signed note when there is a key, else the same text, which says so."""
    export = custody.export
    what = f"entries {export.first} to {export.last}"
    if export.incident is not None:
        what = f"incident {export.incident}, {export.entries} entries"
    lines = [
        CUSTODY,
        f"archive {_one_line(custody.archive)}",
        f"sha256 {custody.sha256}",
        f"bytes {custody.bytes_}",
        f"log {export.log}",
        f"part {export.kind}: {what}, under the checkpoint of {export.size} entries",
        f"withheld {len(export.withheld)}",
        f"exported by {_one_line(custody.who)}",
        f"on {_one_line(custody.where)}",
        f"at {custody.at.strftime('%Y-%m-%dT%H:%M:%SZ')}",
        f"reason {_one_line(custody.reason) or 'none given'}",
        f"with sentinel {custody.version}",
    ]
    if signer is None:
        return "\n".join([*lines, "unsigned: no export key was given", ""])
    return sign("\n".join([*lines, ""]), signer)


def _names(folder: Path) -> Iterable[str]:
    return (each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[
        :500
    ]
