"""What a command has printed so far, for people who watch while it runs: unsigned and lossy.

The report that follows is signed and the truth; this is only the newest glimpse, and each replaces
the one before. It is bounded in size and rate, and nothing leaves that is not redacted: of what
has been read only finished lines are looked at, for half a secret is not known by its look.
"""

import time
from collections.abc import Callable

from agent.live import MOST_SHOWN, Live
from agent.run_program import Output

LEAST_S = 1.0  # between two glimpses: a command that prints without end keeps nobody busy


class LiveOutput:
    """Holds the newest glimpse, and tells whoever waits that there is one."""

    def __init__(self, tell: Callable[[], None] = lambda: None) -> None:
        self.tell = tell
        self.newest: Live | None = None

    def of(self, order_id: str, index: int, *, undoing: bool) -> Callable[[Output], None]:
        """What looks at the output of this command; to be called as often as one likes."""
        next_at, seen = time.monotonic() + LEAST_S, -1

        def look(output: Output) -> None:
            nonlocal next_at, seen
            now = time.monotonic()
            if now < next_at or output.total == seen:
                return
            next_at, seen = now + LEAST_S, output.total
            self.newest = Live(
                order_id=order_id,
                index=index,
                undoing=undoing,
                text=finished_lines(output),
                total=output.total,
            )
            self.tell()

        return look

    def end(self) -> None:
        """Nothing runs any more: the report tells what came of it."""
        self.newest = None


def finished_lines(output: Output) -> str:
    """The last finished lines, redacted first and cut then."""
    text = output.text().rpartition("\n")[0]
    if len(text) <= MOST_SHOWN:
        return text
    last = text[-MOST_SHOWN:]
    return last.partition("\n")[2] or last
