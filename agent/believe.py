"""The question of signed trust, answered in a process of its own: `agent.aside` starts it.

One `Question` comes in on standard input, one `Verdict` goes out; both are MessagePack. It keeps
nothing. The executor asks so that python-tuf is never in the process that runs commands.
"""

import sys

import msgspec

from appliance import tuf_client
from appliance.errors import TrustError
from appliance.trust_files import Question, Verdict


def answer(question: bytes) -> bytes:
    """Whether the set of files may be believed, and what it says of its roles."""
    asked = msgspec.msgpack.decode(question, type=Question)
    try:
        belief = tuf_client.verify(asked.root, asked.files, kept=asked.kept, now=asked.now)
        verdict = Verdict(belief=belief)
    except TrustError as error:
        verdict = Verdict(refusal=str(error)[:4096])
    return msgspec.msgpack.encode(verdict)


if __name__ == "__main__":
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
