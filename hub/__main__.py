"""`sentinel-hub`: the hub's daemons, one subcommand each."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance import __version__, journal, settings
from appliance.errors import SentinelError
from audit import export_options

_DAEMONS = {
    "serve": "take the agents' streams, judge plans, release signed orders",
    "reason": "diagnose incidents and propose plans, with a local model where there is one",
    "notary": "write the signed audit log; the only process that holds its key",
    "console": "the operators' web console",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one daemon or command; 0 yes, 1 no, 2 could not tell."""
    asked = _parser().parse_args(argv)
    journal.start(f"sentinel-hub-{asked.command}", verbose=asked.verbose)
    try:
        if asked.command in _WITH_DATABASE:
            return _WITH_DATABASE[asked.command](_dsn(asked))
        if asked.command == "export":
            return _export(asked)
        return _COMMANDS[asked.command](asked.config, asked.check_config)
    except SentinelError as error:
        print(f"sentinel-hub {asked.command}: {error}", file=sys.stderr)
        return error.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sentinel-hub", description=__doc__)
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in _DAEMONS.items():
        daemon = commands.add_parser(name, help=what, description=what)
        default = Path(f"/etc/sentinel/{name}.toml")
        daemon.add_argument(
            "--config", type=Path, default=default, help=f"settings file (default: {default})"
        )
        daemon.add_argument(
            "--check-config", action="store_true", help="read the settings, say if they are right"
        )
        daemon.add_argument("--verbose", action="store_true", help="log every step")
    for name, what in (
        ("migrate", "bring the database to this version's schema"),
        ("commands", "print every command that was judged, for `sentinel-policy replay`"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        where = command.add_mutually_exclusive_group(required=True)
        where.add_argument("--dsn", help="PostgreSQL connection string, without a password")
        source = "settings of `serve`, which say where the database and its password are"
        where.add_argument("--config", type=Path, help=source)
        command.add_argument("--verbose", action="store_true", help="log every step")
    _add_export(commands)
    return parser


def _add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    what = "pack a part of the audit log as `sentinel-audit export`, and record that in the log"
    command = commands.add_parser("export", help=what, description=what)
    default = Path("/etc/sentinel/notary.toml")
    command.add_argument(
        "--config", type=Path, default=default, help=f"the notary's settings (default: {default})"
    )
    export_options.add_export(command, who_required=True)
    command.add_argument("--verbose", action="store_true", help="log every step")


def _serve(config: Path, check: bool) -> int:  # noqa: FBT001 - one table of same-shaped functions
    from hub import serve
    from hub.settings import ServeSettings

    chosen = settings.load(config, ServeSettings)
    if check:
        serve.check(chosen)
        return _fine(config)
    return serve.run(chosen)


def _reason(config: Path, check: bool) -> int:  # noqa: FBT001
    import signal
    import threading

    from hub import secrets
    from hub.reason.settings import ReasonSettings
    from hub.reason.worker import run

    chosen = settings.load(config, ReasonSettings)
    if check:
        secrets.check(chosen)
        return _fine(config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return run(chosen, stop)


def _notary(config: Path, check: bool) -> int:  # noqa: FBT001
    from hub import notary
    from hub.settings import NotarySettings

    chosen = settings.load(config, NotarySettings)
    if check:
        notary.check(chosen)
        return _fine(config)
    return notary.run(chosen)


def _console(config: Path, check: bool) -> int:  # noqa: FBT001
    from hub.console import serve
    from hub.console.settings import ConsoleSettings

    chosen = settings.load(config, ConsoleSettings)
    if check:
        serve.check(chosen)
        return _fine(config)
    return serve.run(chosen)


def _dsn(asked: argparse.Namespace) -> str:
    from hub import secrets
    from hub.persist.dsn import demand_without_secret
    from hub.settings import ServeSettings

    if asked.config is not None:
        return secrets.dsn_of(settings.load(asked.config, ServeSettings))
    dsn = str(asked.dsn)
    demand_without_secret(dsn, key="--dsn")  # everybody on this machine sees our command line
    return dsn


def _migrate(dsn: str) -> int:
    from hub.persist.in_force import tell_schema
    from hub.persist.migrate import migrate

    applied = migrate(dsn)
    if applied:
        tell_schema(dsn, applied)
    print(f"applied: {', '.join(applied)}" if applied else "the database is up to date")
    return 0


def _commands(dsn: str) -> int:
    from hub.persist.database import Database
    from hub.recorded import lines

    with Database(dsn, size=1) as db:
        for line in lines(db):
            sys.stdout.buffer.write(line)
    return 0


def _export(asked: argparse.Namespace) -> int:
    from hub import export
    from hub.settings import NotarySettings

    return export.run(settings.load(asked.config, NotarySettings), asked)


def _fine(config: Path) -> int:
    print(f"{config}: the settings are right")
    return 0


_COMMANDS: dict[str, Callable[[Path, bool], int]] = {
    "serve": _serve,
    "reason": _reason,
    "notary": _notary,
    "console": _console,
}
_WITH_DATABASE: dict[str, Callable[[str], int]] = {"migrate": _migrate, "commands": _commands}

if __name__ == "__main__":
    sys.exit(main())
