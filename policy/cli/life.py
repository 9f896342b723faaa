"""`sign`, `verify`, `replay`: for whoever publishes a policy."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.envelope import load_key, load_public_key, make_key
from appliance.errors import SettingsError
from policy.bundle import parse_bundle, read_folder
from policy.cli.common import NO, YES, policy_at, reader
from policy.errors import PolicyError
from policy.evaluate import SecondReader
from policy.replay import Change, Recorded, decode, replay, told
from policy.rules import Bundle
from policy.signed import InForce, open_signed, sign

_SHOWN_EVERY = 500  # commands between two lines of progress


def run_key(options: argparse.Namespace) -> int:
    """A new key for signing policies: FILE (mode 0600), and its public half beside it."""
    try:
        make_key(options.file)
    except OSError as error:
        raise SettingsError(f"{options.file}: cannot write: {error.strerror}") from error
    print(f"{options.file}: keep it offline; nodes and hub get {options.file.with_suffix('.pub')}")
    return YES


def run_sign(options: argparse.Namespace) -> int:
    """Sign a folder of rules; with `--against`, only when nothing got looser or that is accepted.

    The file appears whole or not at all: it is written beside its place and moved there.
    """
    files = read_folder(options.rules)
    before = _before(options)
    sequence = options.sequence or (before.sequence + 1 if before else 1)
    if before and sequence <= before.sequence:
        message = f"sequence {sequence} is not above {before.sequence}, which is signed already"
        raise PolicyError(message, file=str(options.out), line=0)
    if not _accepted(options, parse_bundle(files)):
        return NO
    data = sign(files, sequence=sequence, key=load_key(options.private_key))
    temporary = options.out.with_name(options.out.name + ".new")
    try:
        temporary.write_bytes(data)
        temporary.replace(options.out)
    except OSError as error:
        raise SettingsError(f"{options.out}: cannot write: {error.strerror}") from error
    bundle = parse_bundle(files)
    print(f"{options.out}: sequence {sequence}, {len(bundle.commands)} commands, {bundle.digest}")
    return YES


def _before(options: argparse.Namespace) -> InForce | None:
    """The policy that already stands where the new one will."""
    if not options.out.exists():
        return None
    public = load_key(options.private_key).public_key()
    return open_signed(options.out.read_bytes(), key=public, name=options.out.name).in_force


def _accepted(options: argparse.Namespace, new: Bundle) -> bool:
    if options.against is None:
        return True
    if options.commands is None:
        raise SettingsError("--against needs --commands FILE with the recorded commands")
    old = policy_at(options.against, options.key)
    with reader(options) as second:
        looser = _compare(options.commands, old, new, second)
    if looser and not options.accept_looser:
        print(f"not signed: {looser} got looser; read them, then say --accept-looser")
    return not looser or bool(options.accept_looser)


def run_verify(options: argparse.Namespace) -> int:
    """Who signed a policy file, its sequence and digest, and that its rules hold."""
    data = _bytes(options.file)
    signed = open_signed(data, key=load_public_key(options.key), name=options.file.name)
    bundle = parse_bundle(signed.files)
    print(f"signed by {signed.key_id}")
    print(f"sequence {signed.sequence}, {len(bundle.commands)} commands, policy {bundle.digest}")
    return YES


def run_replay(options: argparse.Namespace) -> int:
    """Recorded commands under two policies; 1 when one of them got looser."""
    old, new = policy_at(options.old, options.key), policy_at(options.new, options.key)
    with reader(options) as second:
        return NO if _compare(options.commands, old, new, second) else YES


def _compare(path: Path | None, old: Bundle, new: Bundle, second: SecondReader) -> int:
    """Print each change and the sum; how many got looser."""
    changes: list[Change] = []
    count = 0
    for change in replay(_records(path), old=old, new=new, second=second):
        count += 1
        if change:
            changes.append(change)
            print(told(change))
        if sys.stderr.isatty() and count % _SHOWN_EVERY == 0:
            print(f"\r{count} commands", end="", file=sys.stderr, flush=True)
    looser = sum(change.looser for change in changes)
    print(f"{count} commands: {looser} looser, {len(changes) - looser} tighter")
    return looser


def _records(path: Path | None) -> Iterator[Recorded]:
    """The lines of a record, from a file or from standard input."""
    with contextlib.ExitStack() as closing:
        try:
            lines = closing.enter_context(path.open("rb")) if path else sys.stdin.buffer
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield decode(line, number)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
