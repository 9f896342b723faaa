"""`sentinel`: the demo, and the administration of an appliance."""

import argparse
import sys
from collections.abc import Sequence

from appliance import __version__
from appliance.errors import SentinelError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 yes, 1 no, 2 could not tell."""
    parser = argparse.ArgumentParser(prog="sentinel", description=__doc__)
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _demo_parser(commands)
    _user_parser(commands)
    _policy_parser(commands)
    _fleet_parsers(commands)
    _approve_parser(commands)
    _setup_parser(commands)
    _log_parser(commands)
    asked = parser.parse_args(argv)
    try:
        return int(asked.run(asked))
    except SentinelError as error:
        print(f"sentinel {asked.command}: {error}", file=sys.stderr)
        return error.exit_status


def _demo_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from appliance.demo.options import add_arguments

    what = "the whole appliance on this machine, with a real fault, through all eight steps"
    demo = commands.add_parser("demo", help=what, description=what)
    add_arguments(demo)
    demo.set_defaults(run=_demo)


def _user_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from appliance import user_options

    what = "who may sign in to the console"
    user = commands.add_parser("user", help=what, description=what)
    user_options.add_arguments(user)
    user.set_defaults(run=_user)


def _policy_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from appliance.publishing import options

    what = "change what is in force: policy, people and keys, by several people's signatures"
    policy = commands.add_parser("policy", help=what, description=what)
    options.add_arguments(policy)
    policy.set_defaults(run=_policy)


def _policy(asked: argparse.Namespace) -> int:
    from appliance.publishing import command

    return command.run(asked)


def _fleet_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from appliance import fleet_options as options

    for name, what, add, run in (
        ("halt", options.HALT, options.add_halt, _halt),
        ("resume", options.RESUME, options.add_resume, _resume),
        ("node", options.NODE, options.add_node, _node),
    ):
        command = commands.add_parser(name, help=what, description=what)
        add(command)
        command.set_defaults(run=run)


def _halt(asked: argparse.Namespace) -> int:
    from appliance import fleet

    return fleet.halt(asked)


def _resume(asked: argparse.Namespace) -> int:
    from appliance import fleet

    return fleet.resume(asked)


def _node(asked: argparse.Namespace) -> int:
    from appliance import fleet, joining

    return joining.run(asked) if asked.what in joining.COMMANDS else fleet.node(asked)


def _approve_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from appliance import approve_options

    what = "say yes to a plan on a terminal, signed with your own key"
    approve = commands.add_parser("approve", help=what, description=what)
    approve_options.add_arguments(approve)
    approve.set_defaults(run=_approve)


def _approve(asked: argparse.Namespace) -> int:
    from appliance import approving

    return approving.run(asked)


def _setup_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from vault.setup import options

    what = "prepare what the appliance stands on"
    setup = commands.add_parser("setup", help=what, description=what)
    options.add_arguments(setup)
    setup.set_defaults(run=_setup)


def _setup(asked: argparse.Namespace) -> int:
    from vault.setup import command

    return command.run(asked)


def _log_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from appliance import log_options

    what = "the audit log: go on with one that was set back, by two administrators' decision"
    log = commands.add_parser("log", help=what, description=what)
    log_options.add_arguments(log)
    log.set_defaults(run=_log)


def _log(asked: argparse.Namespace) -> int:
    from appliance import log_fork

    return log_fork.run(asked)


def _user(asked: argparse.Namespace) -> int:
    from appliance import users

    return users.run(asked)


def _demo(asked: argparse.Namespace) -> int:
    from appliance.demo import command

    return command.run(asked)


if __name__ == "__main__":
    sys.exit(main())
