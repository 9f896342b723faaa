"""Whom a verifier trusts, from a policy file: one key of the log, or several after a rotation.

    # comment
    log VKEY
    quorum none

The form of C2SP tlog-policy as far as it is needed. Witnesses and their quorum are not checked yet;
a file that asks for them is refused, so that nobody believes they were.
"""

from audit.errors import TrustError, VkeyError
from audit.note import Vkey, parse_vkey


def parse_policy(text: str) -> list[Vkey]:
    """The log's keys. Raises `TrustError` with the line that is wrong."""
    vkeys: list[Vkey] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match line.split():
            case []:
                continue
            case [first, *_] if first.startswith("#"):
                continue
            case ["log", vkey, *_]:
                vkeys.append(_key(number, vkey))
            case ["quorum", "none"]:
                continue
            case [word, *_]:
                raise TrustError(f"line {number}: {word!r} cannot be checked by this version")
    if not vkeys:
        raise TrustError("no `log` line: whose log is it?")
    if len({vkey.name for vkey in vkeys}) > 1:
        raise TrustError("keys of more than one log")
    return vkeys


def _key(number: int, text: str) -> Vkey:
    try:
        return parse_vkey(text)
    except VkeyError as error:
        raise TrustError(f"line {number}: {error}") from error
