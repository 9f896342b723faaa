"""From rule files to a usable policy: compile, join, check every example, take the digest.

`parse_bundle` is pure. `read_folder` reads the files and is the only input of this room besides
the command line.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from policy.errors import PolicyError
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.places import Guard, Places
from policy.rules import Bundle, CommandRule, ForbidRule
from policy.specs import compile_file
from policy.types import Types
from policy.verdict import Ruling, Verdict
from policy.windows import Window

__all__ = ["SHIPPED_RULES", "Bundle", "bundle_or_refusal", "parse_bundle", "read_folder"]

SHIPPED_RULES = Path(__file__).parent / "rules.d"


def read_folder(path: Path = SHIPPED_RULES) -> dict[str, bytes]:
    """The rule files of a folder by name."""
    try:
        return {file.name: file.read_bytes() for file in sorted(path.glob("*.toml"))}
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", file=str(path), line=0) from error


def bundle_or_refusal(files: Mapping[str, bytes]) -> Bundle:
    """The policy of these files, or one that refuses everything and names the broken line."""
    try:
        return parse_bundle(files)
    except PolicyError as error:
        return refusal(error)


def refusal(error: PolicyError) -> Bundle:
    """The policy that refuses everything and names the broken line."""
    rule = f"{error.file}:{error.line}"
    return Bundle.refuse_all(f"the policy is broken: {error}", rule=rule)


def parse_bundle(files: Mapping[str, bytes], *, examples: bool = True) -> Bundle:
    """The policy of these files; raises `PolicyError` for the first thing that is wrong.

    `examples=False` leaves them out and forgets them: for a signed policy whose examples this very
    engine checked when it was signed (`policy.signed`).
    """
    if not files:
        raise PolicyError("there are no rule files", file="rules", line=0)
    commands: dict[str, CommandRule] = {}
    forbids: dict[str, tuple[ForbidRule, ...]] = {}
    places = Places()
    windows: tuple[Window, ...] = ()
    types = Types()
    for file in sorted(files):  # in this order, so a type may be used in later files
        rules = compile_file(file, files[file], types, examples=examples)
        for command in rules.commands:
            _add_command(commands, command)
        for forbid in rules.forbids:
            for name in sorted(forbid.names):
                forbids[name] = (*forbids.get(name, ()), forbid)
        places = places.joined(rules.places)
        windows += rules.windows
    if not places.secret:
        raise PolicyError("no file names secret places", file=min(files), line=1)
    bundle = Bundle(
        digest=files_digest(files),
        commands=commands,
        forbids=forbids,
        types=types,
        guard=Guard(places),
        windows=windows,
    )
    if examples:
        check_examples(bundle)
    return bundle


@functools.cache
def engine_digest() -> str:
    """SHA-256 over the sources of this room: which engine it is that finds the examples to hold."""
    here = Path(__file__).parent
    return files_digest(
        {str(file.relative_to(here)): file.read_bytes() for file in here.rglob("*.py")}
    )


def files_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over names and contents, each with its length so that no two sets look alike."""
    digest = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name]):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _add_command(commands: dict[str, CommandRule], command: CommandRule) -> None:
    earlier = commands.setdefault(command.name, command)
    if earlier is not command:
        raise _at(command.rule, f"{command.name} already has a rule in {earlier.rule}")


def check_examples(bundle: Bundle) -> int:
    """How many examples hold; the first that does not is a `PolicyError` at its rule."""
    count = 0
    for command in bundle.commands.values():
        count += check_command(bundle, command)
    for forbid in {rule.rule: rule for rules in bundle.forbids.values() for rule in rules}.values():
        for text in forbid.deny:
            _expect(bundle, forbid.rule, text, "forbidden")
        count += len(forbid.deny)
    return count


def check_command(bundle: Bundle, command: CommandRule) -> int:
    """How many examples of one program hold; the first that does not is a `PolicyError`."""
    for text in command.allow:
        _expect(bundle, command.rule, text, "")
    for text, code in command.deny:
        _expect(bundle, command.rule, text, code)
    return len(command.allow) + len(command.deny)


def _expect(bundle: Bundle, rule: str, text: str, code: str) -> None:
    """An `allow` example must be allowed; a `deny` example must not, and for this reason."""
    verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
    if not code:
        if verdict.ruling is not Ruling.ALLOW:
            raise _at(rule, f"example should be allowed: {text}: {_shown(verdict)}")
        return
    if code not in {reason.code for reason in verdict.reasons if reason.ruling > Ruling.ALLOW}:
        raise _at(rule, f"example should be refused with {code}: {text}: {_shown(verdict)}")


def _shown(verdict: Verdict) -> str:
    reason = verdict.reasons[0]
    return f"got {verdict.ruling.word} [{reason.code}] {reason.message}"


def _at(rule: str, message: str) -> PolicyError:
    file, _, line = rule.rpartition(":")
    return PolicyError(message, file=file, line=int(line))
