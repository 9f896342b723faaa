"""The trust repository: a folder that signers pass around, with what is in force and in draft.

    metadata/N.root.json    every root; the newest counts     draft/root.json     being signed
    metadata/targets.json   what signers signed last          draft/targets.json  being signed
    targets/                the files it names                draft/*.json        the files it names

It holds no private key and no secret. Nobody believes a file because it lies here: each is
verified where it is used.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from appliance import tuf_client, tuf_repository
from appliance.errors import TrustError
from appliance.trust_files import MOST_ROOTS, TARGETS, root_name, root_version


class Folder:
    """Reads and writes a trust repository; every file is replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metadata, self._targets = path / "metadata", path / "targets"
        self._draft = path / "draft"

    def make(self) -> None:
        """A new repository; raises `TrustError` when there is one already."""
        if self.path.exists() and any(self.path.iterdir()):
            raise TrustError(f"{self.path}: there is something already; a root is made once")
        for folder in (self._metadata, self._targets, self._draft):
            folder.mkdir(parents=True, exist_ok=True)

    def roots(self) -> dict[int, bytes]:
        """Every complete root by its version, each signed by the one before."""
        found: dict[int, bytes] = {}
        for path in self._metadata.glob("*.root.json"):
            version = root_version(path.name)
            if version is not None:
                found[version] = _read(path)
        if not found:
            raise TrustError(f"{self.path}: no complete root; its root keys have to sign first")
        if sorted(found) != list(range(1, len(found) + 1)) or len(found) > MOST_ROOTS:
            raise TrustError(f"{self.path}: roots are missing, or there are too many")
        tuf_client.follow(found[1], found)
        return found

    def root(self) -> bytes:
        """The newest complete root."""
        roots = self.roots()
        return roots[max(roots)]

    def root_draft(self) -> bytes | None:
        """A root that waits for signatures."""
        return _read_if(self._draft / "root.json")

    def draft_root(self, data: bytes) -> None:
        """Keep a root that waits for signatures; once it has them it is complete."""
        self._draft.mkdir(exist_ok=True)
        _write(self._draft / "root.json", data)

    def complete_root(self, data: bytes) -> None:
        """From here on this root counts."""
        version = tuf_repository.version_of(data)
        _write(self._metadata / root_name(version), data)
        (self._draft / "root.json").unlink(missing_ok=True)

    def in_force(self) -> dict[str, bytes]:
        """`targets.json` and the targets of the last publication; empty before the first."""
        listed = _read_if(self._metadata / "targets.json")
        if listed is None:
            return {}
        return {"targets.json": listed} | {name: _read(self._targets / name) for name in TARGETS}

    def draft(self) -> dict[str, bytes]:
        """The same of the draft; empty when there is none. The files are those that it names."""
        listed = _read_if(self._draft / "targets.json")
        if listed is None:
            return {}
        files = {name: _read(self._draft / name) for name in TARGETS}
        for name, data in files.items():
            tuf_client.demand_target(tuf_repository.read_targets(listed), name, data)
        return {"targets.json": listed} | files

    def write_draft(self, files: Mapping[str, bytes]) -> None:
        """A new draft over whatever was one; signatures of the old one are gone with it."""
        self._draft.mkdir(exist_ok=True)
        (self._draft / "targets.json").unlink(missing_ok=True)
        for name in (*TARGETS, "targets.json"):  # the list last: without it there is no draft
            _write(self._draft / name, files[name])

    def signed_draft(self, listed: bytes) -> None:
        """The draft's list with one more signature."""
        _write(self._draft / "targets.json", listed)

    def settle(self) -> None:
        """The draft was published: it is what is in force now. Done again it does nothing."""
        draft = self.draft()
        for name in (*TARGETS, "targets.json") if draft else ():
            folder = self._metadata if name == "targets.json" else self._targets
            _write(folder / name, draft[name])
        if draft:
            (self._draft / "targets.json").unlink()
            for name in TARGETS:
                (self._draft / name).unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror}") from error


def _read_if(path: Path) -> bytes | None:
    return _read(path) if path.exists() else None


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise TrustError(f"{path}: cannot be written: {error.strerror}") from error
