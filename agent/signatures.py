"""A process of its own that checks people's signatures for the executor: claims in, troubles out.

python -m agent.signatures

It holds the large library that WebAuthn needs and lives as long as one question. What it cannot
read it does not answer, and the executor refuses.
"""

import sys

from appliance import records
from appliance.errors import RefusedError
from appliance.operator_claim import Answers, Claim, Claims, SignatureError
from appliance.operator_signature import verify

_MOST_BYTES = 256 * 1024


def main() -> int:
    """Answer one question; 0 when it was one."""
    try:
        asked = records.from_json(sys.stdin.buffer.read(_MOST_BYTES), Claims)
    except RefusedError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    answer = Answers(troubles=tuple(_trouble(claim) for claim in asked.claims))
    sys.stdout.buffer.write(records.to_json(answer))
    return 0


def _trouble(claim: Claim) -> str:
    try:
        verify(claim)
    except SignatureError as error:
        return str(error) or "the signature is not good"
    return ""


if __name__ == "__main__":
    sys.exit(main())
