"""`sentinel-executor halt`, `resume`, `status` and `--show-keys`: what root does on the node.

They speak to the running executor over its socket; when it does not run, a halt is written into
its state, where the next start finds it. No hub, no agent and no signature is needed here.
"""

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from agent import keys
from agent.errors import SocketError
from agent.executor_settings import ExecutorSettings
from agent.executor_socket import Answer, Client
from agent.halts import Halts
from appliance.errors import RefusedError
from appliance.halt import Halt
from appliance.ids import uuid7

HALTED = "halted.json"
COMMANDS = ("serve", "halt", "resume", "status")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands beside serving orders."""
    parser.add_argument(
        "command",
        nargs="?",
        default="serve",
        choices=COMMANDS,
        help="serve orders (default), run nothing more, run again, or tell the state",
    )
    parser.add_argument("--reason", default="", help="why this node is halted, for who reads it")
    parser.add_argument(
        "--show-keys", action="store_true", help="print this node's own public keys, and end"
    )


def run(asked: argparse.Namespace, chosen: ExecutorSettings) -> int:
    """Run one of them; 0 done or running, 1 halted, 2 could not tell."""
    if asked.show_keys:
        return _show_keys(chosen)
    return {"halt": _halt, "resume": _resume, "status": _status}[asked.command](asked, chosen)


def _show_keys(chosen: ExecutorSettings) -> int:
    sys.stdout.writelines(f"{line}\n" for line in keys.shown(chosen.state_dir, chosen.node))
    return 0


def _halt(asked: argparse.Namespace, chosen: ExecutorSettings) -> int:
    import getpass  # noqa: PLC0415 - a terminal's libraries, which the executor does without

    reason = asked.reason or f"halted on the node by {getpass.getuser()}"
    halt = Halt(halt_id=uuid7(), reason=reason[:500])
    running = _ask(chosen, lambda client: client.halt_here(halt))
    if running is None:
        Halts(chosen.state_dir / HALTED).halt(halt, whose="node", now=datetime.now(UTC))
    sys.stdout.write(f"halted: {halt.reason}\n")
    return 0


def _resume(_: argparse.Namespace, chosen: ExecutorSettings) -> int:
    running = _ask(chosen, lambda client: client.resume_here())
    if running is None:
        Halts(chosen.state_dir / HALTED).lift_all()
    elif running.refused:
        raise RefusedError(running.reason)
    sys.stdout.write("this node runs what passes its checks\n")
    return 0


def _status(_: argparse.Namespace, chosen: ExecutorSettings) -> int:
    state = _ask(chosen, lambda client: client.state())
    if state is None:
        halts = Halts(chosen.state_dir / HALTED)
        sys.stdout.write("executor  does not run\n")
        sys.stdout.write(f"halted    {halts.reason}\n" if halts.in_force else "halted    no\n")
        return 1 if halts.in_force else 2
    mode = "dry run" if state.dry_run else "live"
    most = chosen.most_actions_per_hour
    sys.stdout.write(
        f"executor  runs, {mode}\n"
        f"halted    {state.halt_reason if state.halted else 'no'}\n"
        f"actions   {state.actions} in the last hour, at most {most}\n"
        f"reports   {state.last_report}\n"
    )
    return 1 if state.halted else 0


def _ask(chosen: ExecutorSettings, question: Callable[[Client], Answer]) -> Answer | None:
    """The running executor's answer, or None when none runs; anything else is an error."""
    if not os.access(chosen.state_dir, os.W_OK):
        raise RefusedError(f"{chosen.state_dir}: only its owner, root, may do this")
    try:
        return question(Client(chosen.socket))
    except SocketError as error:
        if isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
            return None
        raise
