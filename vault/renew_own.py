"""`python -m vault.renew_own`: renew one certificate of the hub's machine if it is due.

A process of its own, as `vault.renew` is for nodes: one that hangs or dies takes no stream along.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import SentinelError
from vault.own import Own, stand


def main() -> int:
    """0: here is how it stands; 2: there is no certificate."""
    own = msgspec.json.decode(sys.stdin.buffer.read(), type=Own, dec_hook=_path)
    try:
        standing = stand(own, now=datetime.now(UTC))
    except SentinelError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    sys.stdout.buffer.write(msgspec.json.encode(standing))
    return 0


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


if __name__ == "__main__":
    sys.exit(main())
