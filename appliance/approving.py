"""`sentinel approve`: a yes on a terminal, signed with the operator's own Ed25519 key.

It goes through `hub.approve`, as the console does. What is shown here is read from the very record
whose digest is computed here and signed: a console that shows one thing and has another signed can
do nothing to who approves on a terminal.
"""

import argparse
import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import envelope, records, settings
from appliance.errors import RefusedError, SettingsError
from appliance.journal import shown as visible
from appliance.operator_claim import fingerprint
from appliance.operator_key import credential, sign
from appliance.people import People
from appliance.records import JudgedStep, Mode, Shown
from hub import trust
from hub.approve import Answerer, approve
from hub.console.settings import ConsoleSettings
from hub.persist import waiting
from hub.persist.database import Database
from hub.secrets import dsn_of
from policy.explain import visible as ascii_only

_WORD_NEEDS_QUOTES = frozenset(" \t'\"\\|&;<>()$`*?[]#~=%!{}")


class UsageError(RefusedError):
    """The command line names too much or too little; `--help` says what it takes."""

    code = "usage"
    exit_status = 2


def run(asked: argparse.Namespace) -> int:
    """Make a key, list what waits, or say yes; 0 only when that was done."""
    if asked.what == "key":
        return _make_key(asked)
    if asked.file is not None:
        raise UsageError("only `sentinel approve key FILE` takes a second word")
    chosen = settings.load(asked.config, ConsoleSettings)
    with trust.database(dsn_of(chosen), trust_root=chosen.trust_root) as db:
        if asked.list:
            return _list(db)
        if asked.what is None or asked.key is None:
            raise UsageError("expected an incident and --key FILE, or --list; see --help")
        return _approve(db, asked, key=_load_key(asked.key))


def _make_key(asked: argparse.Namespace) -> int:
    if asked.file is None:
        raise UsageError("sentinel approve key FILE: expected a file to write the key to")
    try:
        asked.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = credential(envelope.make_key(asked.file))
    except FileExistsError as error:
        raise RefusedError(f"{asked.file} is there already; nothing was changed") from error
    except OSError as error:
        raise SettingsError(f"{asked.file}: cannot write: {error.strerror}") from error
    _say(f"Your key is in {asked.file}; nobody but you may read it.")
    _say("Add its public half in the console, under your name:\n")
    _say(f"  public key   {made.public_key}")
    _say(f"  fingerprint  {fingerprint(made)}\n")
    _say("An administrator compares the fingerprint with you. In people.toml it is:\n")
    _say("  [[person.credential]]")
    _say('  kind = "ed25519"')
    _say(f'  credential_id = "{made.credential_id}"')
    _say(f'  public_key = "{made.public_key}"')
    return 0


def _load_key(path: Path) -> Ed25519PrivateKey:
    """The operator's key; one that others can read is nobody's own."""
    try:
        if path.stat().st_mode & 0o077:
            raise RefusedError(f"{path}: others can read this key; chmod 600 it")
    except OSError as error:
        raise SettingsError(f"{path}: cannot read the key: {error.strerror}") from error
    return envelope.load_key(path)


def _list(db: Database) -> int:
    rows = waiting.for_a_yes(db, now=datetime.now(UTC))
    for row in rows:
        shown = records.from_builtins(row["shown"], Shown)
        said = f", yes from {row['approved_by']}" if row["approved_by"] else ""
        _say(
            f"{row['incident_id']}  {shown.not_after:%Y-%m-%d %H:%MZ}  {shown.node:<20} "
            f"{visible(row['summary'], most=80)} (needs {shown.approvals_needed}{said})"
        )
    if not rows:
        _say("nothing waits for a yes")
    return 0


def _approve(db: Database, asked: argparse.Namespace, *, key: Ed25519PrivateKey) -> int:
    now = datetime.now(UTC)
    found = waiting.shown_now(db, str(asked.what))
    shown = records.from_builtins(found.row["shown"], Shown)
    who = _owner(found.people, credential(key).credential_id)
    digest = records.digest_of(shown)
    _show(shown, found.row, given=found.given, who=who, now=now)
    if digest != found.row["shown_digest"]:
        raise RefusedError("the database names another digest than that of what it shows")
    if not asked.yes and not _asked("Say yes to exactly this? [y/N] "):
        _say("Nothing was approved.")
        return 1
    granted = approve(
        db,
        incident_id=str(asked.what),
        who=Answerer(name=who, role="viewer", session=f"{_user()} on a terminal"),
        shown_digest=digest,
        comment=asked.comment,
        now=datetime.now(UTC),
        signature=sign(key, operator=who, digest=digest),
    )
    if granted.enough:
        _say("Approved. The order leaves once this approval is in the audit log.")
    else:
        _say(
            f"Your yes counts: {granted.given} of {granted.needed}. Nothing runs before another"
            " operator says yes."
        )
    return 0


def _owner(people: People | None, credential_id: str) -> str:
    """Whose key this is, by the published list."""
    if people is None:
        raise RefusedError("nobody may approve yet: no list of people (people.json) is published")
    for person in people.persons:
        if credential_id in [one.credential_id for one in person.credentials]:
            return person.name
    raise RefusedError(f"the key {credential_id[:16]}… is nobody's in the published list of people")


def _show(
    shown: Shown, row: dict[str, Any], *, given: list[dict[str, Any]], who: str, now: datetime
) -> None:
    """Exactly what runs, from the record that is signed."""
    live = shown.mode is Mode.LIVE
    _say(f"{visible(row['summary'], most=200)}\n")
    _say(f"  you       {who}")
    _say(f"  node      {ascii_only(shown.node)}")
    _say(f"  mode      {'LIVE: it really runs' if live else 'dry run: nothing runs'}")
    _say(f"  ruling    {ascii_only(shown.ruling)}, policy {shown.policy_digest[:16]}…")
    _say(f"  until     {shown.not_after:%Y-%m-%d %H:%M:%SZ}, {_left(shown.not_after - now)}")
    if shown.author:
        _say(f"  author    {ascii_only(shown.author)}")
    said = ", ".join(str(one["operator"]) for one in given) or "nobody yet"
    _say(f"  needs     {shown.approvals_needed} people; yes so far: {said}")
    for number, step in enumerate(shown.steps, start=1):
        _say(f"\n  {number}. {ascii_only(step.command)}")
        _show_step(step)
    _say(f"\n  digest    {records.digest_of(shown)}\n")


def _show_step(step: JudgedStep) -> None:
    _say(f"     for      {visible(step.purpose, most=300)}")
    _say(f"     ruling   {ascii_only(step.ruling)} by {ascii_only(step.rule)}, {step.risk} risk")
    for argv in step.argv:
        _say(f"     runs     {_words(argv)}")
    if step.undo is None:
        _say("     undo     nothing undoes this")
    for argv in step.undo_argv:
        _say(f"     undo     {_words(argv)}")
    if step.undo is not None and not step.undo_argv:
        _say(f"     undo     {ascii_only(step.undo)} ({step.undo_ruling})")


def _words(argv: tuple[str, ...]) -> str:
    """An argument vector in which every word's beginning and end can be seen."""
    return " ".join(
        repr(word) if not word or _WORD_NEEDS_QUOTES & set(word) else ascii_only(word)
        for word in argv
    )


def _left(span: Any) -> str:
    minutes, seconds = divmod(max(0, int(span.total_seconds())), 60)
    return f"{minutes} min {seconds} s left"


def _asked(question: str) -> bool:
    """A yes typed at a terminal; anything else, and no terminal, is a no."""
    sys.stdout.write(question)
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
