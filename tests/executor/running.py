"""Run a line of the executable language as the executor would, with what it is granted."""

import shutil
from pathlib import Path

from agent.command_limits import CommandLimits
from agent.execute import Ran, run_step
from agent.order_check import Runnable
from agent.plain import Plain
from agent.run_program import Command
from agent.sandbox import sandbox
from policy.reader import read


def runnable(
    text: str, *, needs: tuple[str, ...] = (), writes: tuple[Path, ...] = (), file: str = ""
) -> Runnable:
    """Each program found by its name, as one that passed every check."""
    program = read(text)
    granted = sandbox(needs, [str(path) for path in writes])
    commands = tuple(
        Command(
            name=f"test-0-{place}",
            file=file or str(shutil.which(argv[0])),
            argv=argv,
            sandbox=granted,
        )
        for place, argv in enumerate(program.argvs)
    )
    return Runnable(index=0, program=program, commands=commands, processes=())


def ran(
    text: str,
    *,
    timeout_s: float = 10,
    limits: CommandLimits | None = None,
    needs: tuple[str, ...] = (),
    writes: tuple[Path, ...] = (),
) -> Ran:
    """What came of it, where systemd does not run."""
    step = runnable(text, needs=needs, writes=writes)
    return run_step(step, timeout_s=timeout_s, place=Plain(limits))
