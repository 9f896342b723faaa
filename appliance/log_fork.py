"""`sentinel log fork`: two administrators decide that a log which was set back goes on.

One file goes from desk to desk: what was seen, what is there now, why, and who has signed. It is
signed where the keys are, without a database, and given to the notary on the hub. Nothing here is
believed by anybody: the notary judges it, and then every node.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from appliance import records, settings
from appliance.envelope import load_key
from appliance.errors import RefusedError, SettingsError
from appliance.fork_statement import ForkSignature, ForkStatement, SignedFork
from appliance.ids import uuid7
from appliance.journal import shown
from appliance.operator_key import sign as sign_with
from audit.checkpoint import parse_text, split_notes
from audit.errors import ForkError
from audit.note import split_note
from hub.console.settings import ConsoleSettings
from hub.fork_decisions import ANSWER, MAX_REQUEST_BYTES, REQUEST, Answer, answered
from hub.persist.database import Database
from hub.persist.witness import given_up_notes, newest_checkpoint
from hub.secrets import dsn_of
from hub.settings import NotarySettings

LOOK_EVERY_S = 0.2


def run(asked: argparse.Namespace) -> int:
    """One step of the ceremony; 0 only when that was done."""
    steps = {"propose": _propose, "show": _show, "sign": _sign, "submit": _submit}
    return steps[asked.step](asked)


def _propose(asked: argparse.Namespace) -> int:
    chosen = settings.load(asked.config, ConsoleSettings)
    with Database(dsn_of(chosen), size=1) as db, db.transaction() as work:
        newest, seen = newest_checkpoint(work), given_up_notes(work)
    if newest is None:
        raise ForkError("the log has no checkpoint yet")
    seen += [_text(path) for path in asked.give_up]
    seen = list({split_note(note)[0]: note for note in seen}.values())
    if not seen:
        raise ForkError("every node follows the log, and no checkpoint was named with --give-up")
    statement = ForkStatement(
        statement_id=uuid7(),
        log=parse_text(split_note(newest.note)[0]).origin,
        given_up=tuple(seen),
        go_on=newest.note,
        reason=asked.reason,
        at=datetime.now(UTC),
    )
    signed = records.from_json(records.to_json(SignedFork(statement=statement)), SignedFork)
    _write(asked.file, signed, new=True)
    _say_all(signed)
    _say(f"\n{asked.file}: not signed by anybody yet")
    return 0


def _show(asked: argparse.Namespace) -> int:
    _say_all(_read(asked.file))
    return 0


def _sign(asked: argparse.Namespace) -> int:
    key, signed = load_key(asked.key), _read(asked.file)
    if asked.operator in [one.operator for one in signed.signatures]:
        raise ForkError(f"{asked.operator} has signed it already")
    _say_all(signed)
    if not asked.yes and not _asked("Sign exactly this? [y/N] "):
        _say("Nothing was signed.")
        return 1
    made = ForkSignature(
        operator=asked.operator,
        signature=sign_with(
            key, operator=asked.operator, digest=signed.statement.digest, act="fork"
        ),
    )
    _write(asked.file, structs.replace(signed, signatures=(*signed.signatures, made)), new=False)
    _say(f"{asked.file}: signed by {asked.operator}, {len(signed.signatures) + 1} of 2 or more")
    return 0


def _submit(asked: argparse.Namespace) -> int:
    signed = _read(asked.file)
    folder = settings.load(asked.config, NotarySettings).folder
    (folder / ANSWER).unlink(missing_ok=True)
    # From here on a restart of the notary finds it, too.
    _write(folder / REQUEST, signed, new=False)
    answer = _answer(folder, signed.statement.digest, within_s=asked.wait_s)
    if answer is None:
        _say("The notary has not answered. It will when it runs; see `fork.answer` beside the log.")
        return 2
    if answer.entry is None:
        raise ForkError(f"the notary refused it: {answer.why}")
    _say(
        f"It is entry {answer.entry} of the log. Nodes go on when they have checked it themselves."
    )
    return 0


def _answer(folder: Path, digest: str, *, within_s: float) -> Answer | None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = answered(folder)
        if found is not None and found.statement in (None, digest):
            return found
        time.sleep(LOOK_EVERY_S)
    return None


def _say_all(signed: SignedFork) -> None:
    said = signed.statement
    _say(f"The log {shown(said.log)} goes on, and leaves a history that was signed and seen.\n")
    for note in said.given_up:
        _say_place("given up", note)
    _say_place("goes on from", said.go_on)
    _say(f"  why           {shown(said.reason)}")
    _say(f"  written       {said.at:%Y-%m-%d %H:%M:%S}Z")
    _say(f"  digest        {said.digest}")
    names = ", ".join(shown(one.operator) for one in signed.signatures) or "nobody yet"
    _say(f"  signed by     {names} (whose keys these are, notary and nodes check)")


def _say_place(what: str, note: str) -> None:
    place = parse_text(split_note(note)[0])
    _say(f"  {what:<13} {place.size} entries, root {place.root.hex()}")


def _read(path: Path) -> SignedFork:
    try:
        data = path.read_bytes()[: MAX_REQUEST_BYTES + 1]
    except OSError as error:
        raise SettingsError(f"{path}: cannot read: {error.strerror}") from error
    if len(data) > MAX_REQUEST_BYTES:
        raise RefusedError(f"{path}: more than {MAX_REQUEST_BYTES} bytes")
    return records.from_json(data, SignedFork)


def _text(path: Path) -> str:
    """The first note of a file: one checkpoint, or what a node's evidence begins with."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot read: {error.strerror}") from error
    notes = split_notes(data)[0] or split_notes(data + b"\n")[0]
    if not notes:
        raise ForkError(f"{path}: there is no signed note in it")
    return notes[0]


def _write(path: Path, signed: SignedFork, *, new: bool) -> None:
    """Whole or not at all; a file that is there is another statement, and is kept."""
    if new and path.exists():
        raise RefusedError(f"{path} is there already")
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.write_bytes(records.to_json(signed) + b"\n")
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot write: {error.strerror}") from error


def _asked(question: str) -> bool:
    sys.stdout.write(question)
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
