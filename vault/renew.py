"""`python -m vault.renew`: renew one certificate if it is due; a question in, its answer out.

A process of its own, so that the agent carries neither this nor its libraries for the two days
between one renewal and the next.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import SentinelError
from vault.renewal import Question, stand


def main() -> int:
    """0: here is how it stands; 2: there is no certificate."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question, dec_hook=_path)
    try:
        standing = stand(question, now=datetime.now(UTC))
    except SentinelError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    sys.stdout.buffer.write(msgspec.json.encode(standing))
    return 0


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


if __name__ == "__main__":
    sys.exit(main())
