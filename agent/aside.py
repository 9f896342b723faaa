"""Ask one question of a process of its own: a module of ours, bytes in, bytes out, then it is gone.

The executor stays small and has few libraries in it: what checks WebAuthn signatures or TUF
metadata lives only as long as its question. No answer, a late one or a bad end is an error, and
who asked refuses.
"""

import subprocess
import sys
from pathlib import Path

from agent.errors import AsideError

MAX_ANSWER_BYTES = 4 * 1024 * 1024
_HOME = Path(__file__).resolve().parent.parent  # so that it starts from an editable install, too


def ask(module: str, question: bytes, *, timeout_s: float = 20.0) -> bytes:
    """The answer of `python -m module`; raises `AsideError` when there is none worth reading."""
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and a module of ours
            [sys.executable, "-m", module],
            input=question,
            capture_output=True,
            timeout=timeout_s,
            cwd=_HOME,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AsideError(f"{module} gave no answer: {error}") from error
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise AsideError(f"{module} ended with status {done.returncode}: {''.join(last)[:300]}")
    if len(done.stdout) > MAX_ANSWER_BYTES:
        raise AsideError(f"{module} answered with more than {MAX_ANSWER_BYTES} bytes")
    return done.stdout
