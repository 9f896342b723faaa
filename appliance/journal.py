"""Logs a person can read at 3 a.m.: one line an event, level first for systemd's journal.

<6>2026-01-31T03:00:00Z sentinel-hub: event stored node=h1 condition=disk_space
"""

import logging
import sys
import time

_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def start(program: str, *, verbose: bool = False) -> None:
    """Send this process's log to standard error, each line with its priority and program."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(program))
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True
    )
    logging.captureWarnings(capture=True)


def shown(text: str, *, most: int = 500) -> str:
    """Text from outside on one line, control characters visible, bounded."""
    plain = text.translate(_CONTROL)
    return plain if len(plain) <= most else f"{plain[:most]}… ({len(plain)} characters)"


class _Lines(logging.Formatter):
    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 6)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        text = shown(record.getMessage(), most=4000)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"<{priority}>{moment} {self._program}: {text}"
