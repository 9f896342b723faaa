"""The executor's own keys: made at its first start, known to nobody else, shown by their halves.

A key file is the node's alone. Lost, a new one is made, and whoever pinned the old public half has
to be told; copied, somebody else can speak as this node.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.durable import write_durably
from agent.errors import JournalError
from appliance import report_chain
from appliance.envelope import load_key, private_pem
from appliance.errors import EnvelopeError, SettingsError
from audit.cosignature import WitnessKey
from audit.note import is_name

WITNESS = "witness.key"
RESULT = "result.key"


def load_or_make(path: Path) -> Ed25519PrivateKey:
    """The private key in this file (PEM, mode 0600); made, synced and kept when there is none."""
    if not path.exists():
        _make(path)
    try:
        return load_key(path)
    except EnvelopeError as error:
        raise JournalError(str(error)) from error


def witness_key(folder: Path, node: str) -> tuple[Ed25519PrivateKey, WitnessKey]:
    """The key with which this node cosigns checkpoints, under the node's own name."""
    if not is_name(node):
        raise SettingsError(f"node: {node!r} cannot be the name of a witness: a space or a plus")
    key = load_or_make(folder / WITNESS)
    return key, WitnessKey(name=node, key=key.public_key().public_bytes_raw())


def shown(folder: Path, node: str) -> Iterator[str]:
    """A line for each key: its kind, and its public half as others pin it."""
    result = report_chain.spelled(load_or_make(folder / RESULT).public_key())
    yield f"witness {witness_key(folder, node)[1]}"
    yield f"result  {result}  SHA-256 {report_chain.fingerprint(result)}"


def _make(path: Path) -> None:
    # From the kernel, not `generate()`: OpenSSL's own generator costs the executor half a megabyte.
    key = Ed25519PrivateKey.from_private_bytes(os.urandom(32))
    write_durably(
        path, private_pem(key).encode()
    )  # a crash before leaves no key, and the next start makes one
