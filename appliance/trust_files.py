"""Signed trust as it travels and is kept: names, bounds, and what is believed of it.

A site's trust is a set of files: TUF metadata, and the targets that it vouches for. Each file is
packed (zlib), so that the policy fits one message of the wire. Whether a set may be believed is
the business of `appliance.tuf_client`; nothing here is checked but form and size.
"""

import hashlib
import re
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from appliance.errors import TrustError
from appliance.records import Name, Record, Text

POLICY, PEOPLE, KEYS = "policy.json", "people.json", "keys.json"
TARGETS = (POLICY, PEOPLE, KEYS)
ROLES = ("root", "targets", "snapshot", "timestamp")
ONLINE = ("timestamp.json", "snapshot.json", "targets.json")

MAX_PACKED_BYTES = 900 * 1024  # all files of a set: one message of the wire holds a megabyte
MAX_POLICY_BYTES = 16 * 1024 * 1024  # as in policy/signed.py
MAX_FILE_BYTES = 1024 * 1024  # of any other file, unpacked
MOST_ROOTS = 64  # rotations that a node installed with the first root can follow

Files = Mapping[str, bytes]
"""File name → packed bytes."""

_ROOT = re.compile(r"([1-9][0-9]{0,8})\.root\.json")


class RoleState(Record, frozen=True, kw_only=True):
    """One role of what is believed: which version, until when, and by whose word."""

    version: int
    expires: datetime
    threshold: int
    keys: dict[Name, Text]  # key id → the name its keeper gave it
    signed_by: tuple[Name, ...]  # key ids whose signature held


class Belief(Record, frozen=True, kw_only=True):
    """A set of files that was verified, by role."""

    roles: dict[Name, RoleState]

    @property
    def versions(self) -> dict[str, int]:
        """The version of each role."""
        return {name: role.version for name, role in self.roles.items()}

    @property
    def ends(self) -> tuple[str, datetime]:
        """The role that expires first, and when."""
        return min(
            ((name, role.expires) for name, role in self.roles.items()), key=lambda one: one[1]
        )

    def expired(self, now: datetime) -> str:
        """Why this must not be acted upon at this moment; empty when it may."""
        role, ends = self.ends
        return f"trust expired: {role} ended {ends:%Y-%m-%d %H:%M}Z" if now >= ends else ""

    def ends_soon(self, now: datetime) -> str:
        """What signers have to renew within a fortnight; empty when there is time."""
        late = [
            f"{name} ends {self.roles[name].expires:%Y-%m-%d}"
            for name in ("root", "targets")
            if name in self.roles and self.roles[name].expires - now < timedelta(days=14)
        ]
        return ", ".join(late)


class Kept(Record, frozen=True, kw_only=True):
    """A set of files as a node keeps it."""

    at: datetime  # when it was accepted
    files: dict[str, bytes]


class Question(Record, frozen=True, kw_only=True):
    """What is asked of a process that verifies: is this set to be believed?"""

    root: bytes  # pinned, not packed
    files: dict[str, bytes]
    kept: dict[str, bytes] | None
    now: datetime


class Verdict(Record, frozen=True, kw_only=True):
    """Its answer: what is believed, or why not."""

    belief: Belief | None = None
    refusal: Annotated[str, msgspec.Meta(max_length=4096)] = ""


def pack(data: bytes) -> bytes:
    """A file as it travels."""
    return zlib.compress(data, 9)


def unpack(name: str, packed: bytes) -> bytes:
    """A file's own bytes; raises `TrustError` when it is damaged or larger than it may be."""
    most = MAX_POLICY_BYTES if name == POLICY else MAX_FILE_BYTES
    machine = zlib.decompressobj()
    try:
        data = machine.decompress(packed, most + 1)
    except zlib.error as error:
        raise TrustError(f"{name}: damaged on its way: {error}") from error
    if len(data) > most:
        raise TrustError(f"{name}: more than {most} bytes")
    if not machine.eof or machine.unused_data:
        raise TrustError(f"{name}: cut off, or something follows it")
    return data


def root_name(version: int) -> str:
    """The file name of one root."""
    return f"{version}.root.json"


def root_version(name: str) -> int | None:
    """The version that a root's file name says; None when it is no root's."""
    found = _ROOT.fullmatch(name)
    return int(found[1]) if found else None


def demand_bounded(files: Files) -> None:
    """Nothing but files we know, and no more of them than one message holds."""
    roots = 0
    for name in files:
        if root_version(name) is not None:
            roots += 1
        elif name not in (*ONLINE, *TARGETS):
            raise TrustError(f"{name[:80]!r} is no file of signed trust")
    total = sum(map(len, files.values()))
    if roots > MOST_ROOTS or total > MAX_PACKED_BYTES:
        raise TrustError(
            f"{total} bytes with {roots} roots; at most {MAX_PACKED_BYTES} and {MOST_ROOTS}"
        )


def merged(kept: Files | None, offered: Files) -> dict[str, bytes]:
    """The offered files over the kept ones; a root that was believed stays as it was."""
    roots = {name: data for name, data in (kept or {}).items() if root_version(name) is not None}
    return {**(kept or {}), **offered, **roots}


def digest_of(files: Files) -> str:
    """SHA-256, in hex, over all names and packed bytes."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(b"%s\0%d\0" % (name.encode(), len(files[name])))
        whole.update(files[name])
    return whole.hexdigest()
