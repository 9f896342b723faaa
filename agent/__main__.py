"""`sentinel-agent`: watches this node, tells the hub, hands orders to the executor."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from appliance import __version__, journal, settings
from appliance.errors import SentinelError

_COMMANDS = {
    "run": "watch this node until stopped",
    "status": "what the running agent knows; 0: well, 1: not, 2: no agent",
    "enroll": "join: make this node's key, have it certified, pin what the site believes",
    "check": "one look at this host now: what is measured, and what is over its limit",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 yes, 1 no, 2 could not tell."""
    asked = _parser().parse_args(argv)
    journal.start("sentinel-agent", verbose=asked.verbose)
    try:
        return {"run": _run, "status": _status, "check": _check, "enroll": _enroll}[asked.command](
            asked
        )
    except SentinelError as error:
        print(f"sentinel-agent {asked.command}: {error}", file=sys.stderr)
        return error.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sentinel-agent", description=__doc__)
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in _COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        default = Path("/etc/sentinel/agent.toml")
        command.add_argument(
            "--config", type=Path, default=default, help=f"settings file (default: {default})"
        )
        command.add_argument("--verbose", action="store_true", help="log every step")
        if name == "enroll":
            _enroll_options(command)
        if name == "run":
            command.add_argument(
                "--check-config",
                action="store_true",
                help="read settings and certificates, say if they are right",
            )
    return parser


def _enroll_options(command: argparse.ArgumentParser) -> None:
    default = Path("/etc/sentinel/executor.toml")
    command.add_argument(
        "--executor-config", type=Path, default=default,
        help=f"for this node's name, and where it pins what (default: {default})",
    )  # fmt: skip
    command.add_argument("--vault", metavar="URL", help="another address than the ticket says")
    command.add_argument("--vault-ca", type=Path, metavar="PEM", help="of Vault's own certificate")
    command.add_argument("--expect", metavar="SITE", help="refuse another site than this one")
    how = command.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--token-file", type=Path, metavar="FILE", help="ticket of `sentinel node add`"
    )
    how.add_argument("--token-stdin", action="store_true", help="the ticket on standard input")
    how.add_argument("--offline", type=Path, metavar="FILE", help="write a request, no more")
    how.add_argument("--answer", type=Path, metavar="FILE", help="of `sentinel node sign`")


def _enroll(asked: argparse.Namespace) -> int:
    from agent import enroll
    from agent.executor_settings import ExecutorSettings
    from agent.settings import AgentSettings

    chosen = settings.load(asked.config, AgentSettings)
    node = enroll.Node.of(chosen, settings.load(asked.executor_config, ExecutorSettings))
    if asked.offline:
        enroll.write_request(node, asked.offline)
    elif asked.answer:
        enroll.with_answer(node, enroll.answer_from(asked.answer), expected=asked.expect)
    else:
        ticket = enroll.ticket_from(None if asked.token_stdin else asked.token_file)
        site = chosen.vault or enroll.site_of(node, ticket)
        changed = {"url": asked.vault, "ca": asked.vault_ca}
        site = msgspec.structs.replace(site, **{k: v for k, v in changed.items() if v})
        enroll.with_ticket(node, ticket, site, expected=asked.expect)
    return 0


def _run(asked: argparse.Namespace) -> int:
    from agent.settings import AgentSettings
    from appliance.channel import channel_credentials

    chosen = settings.load(asked.config, AgentSettings)
    if asked.check_config:
        channel_credentials(chosen.identity)
        print(f"{asked.config}: the settings are right")
        return 0
    # gRPC's own lines have another form and say less than ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from agent.loop import Agent

    agent = Agent(chosen)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()
    return 0


def _status(asked: argparse.Namespace) -> int:
    from agent import status
    from agent.settings import AgentSettings

    found = status.read(settings.load(asked.config, AgentSettings).state_dir)
    print("\n".join(status.lines(found)))
    return 0 if status.is_well(found) else 1


def _check(asked: argparse.Namespace) -> int:
    from agent.look import look
    from agent.settings import AgentSettings

    lines, bad = look(settings.load(asked.config, AgentSettings))
    print("\n".join(lines))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
