"""What the subcommands share: policies, facts and readers from the command line."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import SettingsError
from policy.bundle import SHIPPED_RULES
from policy.errors import PolicyError
from policy.evaluate import EchoReader, SecondReader
from policy.facts import Facts, decode_facts
from policy.rules import Bundle
from policy.source import Source, demand, load
from policy.worker import GuardedReader

YES, NO, COULD_NOT_TELL = 0, 1, 2


def add_policy(parser: argparse.ArgumentParser) -> None:
    """The options that say which policy."""
    parser.add_argument(
        "--policy", type=Path, default=SHIPPED_RULES, metavar="PATH",
        help="folder of rules, or a signed policy file with --key (default: the shipped rules)",
    )  # fmt: skip
    add_key(parser)
    parser.add_argument(
        "--overlay", type=Path, metavar="FILE", help="a node's own file, which only tightens"
    )


def add_key(parser: argparse.ArgumentParser) -> None:
    """The option that says whose signature a policy file must carry."""
    parser.add_argument(
        "--key", type=Path, metavar="PEM", help="public key that must have signed the policy file"
    )


def add_judging(parser: argparse.ArgumentParser) -> None:
    """Policy, facts and reader."""
    add_policy(parser)
    parser.add_argument("--facts", type=Path, metavar="FILE", help="JSON facts about the host")
    add_reader(parser)


def add_reader(parser: argparse.ArgumentParser) -> None:
    """The option that leaves the second reader out."""
    parser.add_argument(
        "--no-worker",
        action="store_true",
        help="strict reader alone, for measuring; such a verdict must not be acted upon",
    )


def facts_of(path: Path | None) -> Facts:
    """The facts of a file; none when there is no file."""
    if path is None:
        return Facts()
    try:
        return decode_facts(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error


def policy_or_refusal(options: argparse.Namespace) -> Bundle:
    """The policy asked for; a broken one refuses everything and says so here, too."""
    bundle = load(_source(options)).bundle
    if bundle.refusal:
        print(f"sentinel-policy: {bundle.refusal}", file=sys.stderr)
    return bundle


def policy_or_error(options: argparse.Namespace) -> Bundle:
    """The policy asked for; raises `PolicyError`."""
    return demand(_source(options), examples=True).bundle


def policy_at(path: Path, key: Path | None) -> Bundle:
    """The policy of a folder, or of a signed file; raises `PolicyError`."""
    if path.is_dir():
        return demand(Source(policy=path)).bundle
    if key is None:
        raise PolicyError("a policy file needs --key PEM", file=str(path), line=0)
    return demand(Source(policy=path, key=key)).bundle


def _source(options: argparse.Namespace) -> Source:
    return Source(policy=options.policy, key=options.key, overlay=options.overlay)


@contextlib.contextmanager
def reader(options: argparse.Namespace) -> Iterator[SecondReader]:
    """The second reader: guarded, or none of its own with `--no-worker`."""
    with GuardedReader() as worker:
        yield EchoReader() if options.no_worker else worker
