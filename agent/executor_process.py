"""`sentinel-executor` as a process: its settings, its limits, its two threads, and its end.

One thread serves the socket, the other runs orders. What a crash left open is told before either
starts.
"""

import argparse
import logging
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import executor_command, journal_file, keys, moment, only_one, prctl, units
from agent.errors import JournalError, UnitError
from agent.execution_journal import ExecutionJournal
from agent.executor import Executor
from agent.executor_settings import ExecutorSettings
from agent.executor_socket import Server
from agent.halts import Halts
from agent.notify import notify
from agent.order_store import OrderStore
from agent.plain import Plain
from agent.run_program import Place
from agent.trust import Trust, load_trust
from appliance import __version__, journal, report_chain, settings
from appliance.errors import SentinelError
from policy.worker import GuardedReader

_MAX_FILES = 1024

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve orders until SIGTERM; 0 when it ended as asked."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["clear-fork"]:
        from agent import clear_fork  # noqa: PLC0415 - a command for root; memory on every node

        return clear_fork.main(words[1:])
    parser = argparse.ArgumentParser(prog="sentinel-executor", description=__doc__)
    parser.add_argument("--version", action="version", version=f"sentinel {__version__}")
    default = Path("/etc/sentinel/executor.toml")
    parser.add_argument(
        "--config", type=Path, default=default, help=f"settings file (default: {default})"
    )
    parser.add_argument(
        "--check-config", action="store_true", help="read settings, keys and policy, and say so"
    )
    parser.add_argument("--verbose", action="store_true", help="log every step")
    executor_command.add_arguments(parser)
    asked = parser.parse_args(words)
    journal.start("sentinel-executor", verbose=asked.verbose)
    try:
        chosen = settings.load(asked.config, ExecutorSettings)
        if asked.show_keys or asked.command != "serve":
            return executor_command.run(asked, chosen)
        with GuardedReader() as second:
            trust = load_trust(chosen, second, checking=asked.check_config)
            if asked.check_config:
                refusal = trust.bundle.refusal if trust.keeper is None else ""
                sys.stdout.write(f"{asked.config}: {refusal or 'the settings are right'}\n")
                sys.stdout.write(f"{_place(chosen).words}\n")
                return 1 if refusal else 0
            return _serve(chosen, trust, second)
    except SentinelError as error:
        sys.stderr.write(f"sentinel-executor: {error}\n")
        return error.exit_status


def _serve(chosen: ExecutorSettings, trust: Trust, second: GuardedReader) -> int:
    prctl.no_new_privileges()
    prctl.one_arena()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_MAX_FILES, most), min(_MAX_FILES, most)))
    if trouble := trust.trouble(_now()):
        _log.error("%s; no live order runs until signed trust comes", trouble)
    elif trust.bundle.refusal:
        _log.error("%s; every order is refused until it is mended", trust.bundle.refusal)
    only_one.hold(chosen.state_dir)  # before the journal is read
    keys.witness_key(chosen.state_dir, chosen.node)  # made at the first start
    if fork := trust.log.fork:
        _log.critical("the audit log forked: %s; no order runs until clear-fork", fork.reason)
    executor = _executor(chosen, trust, second)
    if executor.halts.in_force:
        _log.warning("this node is halted: %s", executor.halts.reason)
    prctl.give_back_memory()
    server = Server(chosen.socket, executor, agent_user=chosen.agent_user)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    worker = threading.Thread(target=_until_it_fails, args=(executor, server), name="orders")
    worker.start()
    _log.info(
        "node %s, %s, policy %s; %s",
        trust.node,
        trust.mode.value,
        trust.bundle.digest[:16] or "none",
        executor.place.words,
    )
    notify("READY=1")
    server.serve()
    executor.stop()
    worker.join()
    executor.journal.close()
    return 1 if server.failed else 0


def _place(chosen: ExecutorSettings) -> Place:
    """Where commands run; raises `UnitError` when that is to be systemd and cannot be."""
    found = units.here(chosen.limits) if chosen.run_in != "processes" else None
    if found is None and chosen.run_in == "units":
        raise UnitError('run_in = "units", but systemd does not run here')
    return found or Plain(chosen.limits)


def _executor(chosen: ExecutorSettings, trust: Trust, second: GuardedReader) -> Executor:
    """The executor as the last one left it, with what a crash left open told."""
    file = chosen.state_dir / "journal.jsonl"
    gone = journal_file.shorten(file, keep=timedelta(days=chosen.journal_keep_days), now=_now())
    if gone:
        _log.info("the journal forgot %d orders that are over", gone)
    key = keys.load_or_make(chosen.state_dir / keys.RESULT)
    book = ExecutionJournal(file, key=key)
    place = _place(chosen)
    left = place.clear() if isinstance(place, units.Units) else []
    for unit in left:
        _log.warning("after a crash: %s was still there; it was ended", unit)
    for report in book.recover(
        now=moment.now(), log_size=trust.seen.size if trust.seen else 0, killed=left
    ):
        _log.warning("after a crash: order %s: %s", report.order_id, report.reason)
    return Executor(
        trust,
        book,
        Halts(chosen.state_dir / executor_command.HALTED),
        OrderStore(chosen.state_dir / "orders"),
        place=place,
        result_key=report_chain.spelled(key.public_key()),
        most_actions_per_hour=chosen.most_actions_per_hour,
        undo_within_s=chosen.undo_within_s,
        rest=lambda: _rest(second),
    )


def _rest(second: GuardedReader) -> None:
    """No order waits: a node keeps neither the second reader nor memory it does not use."""
    second.close()
    prctl.give_back_memory()


def _until_it_fails(executor: Executor, server: Server) -> None:
    """Run orders; whatever fails ends the executor, and the next start tells what it left."""
    try:
        executor.run()
    except JournalError as error:
        _log.critical("%s; nothing more is run", error)
        server.stop(failed=True)
    except BaseException:
        server.stop(failed=True)
        raise


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
