"""Whom a verifier trusts, from a policy file: one key of the log, or several after a rotation.

    # comment
    log VKEY                 a key of the log
    root VKEY                or the key that certifies the log's epochs
    second VKEY [FROM]       must sign beside it, from this size on
    quorum none

The form of C2SP tlog-policy as far as it is needed. Witnesses and their quorum are not checked yet;
a file that asks for them is refused, so that nobody believes they were.
"""

import msgspec

from audit.errors import TrustError, VkeyError
from audit.note import Vkey, parse_vkey


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """A key that must sign beside the log's own."""

    vkey: Vkey
    from_size: int = 0  # checkpoints of fewer entries may lack it


class Trusted(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy file says."""

    vkeys: tuple[Vkey, ...]  # of the log; none when a root key certifies them
    root: Vkey | None
    seconds: tuple[Second, ...]


def parse_trust(text: str) -> Trusted:  # noqa: C901 - one case a form of line
    """The keys a policy file names. Raises `TrustError` with the line that is wrong."""
    vkeys: list[Vkey] = []
    roots: list[Vkey] = []
    seconds: list[Second] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match line.split():
            case []:
                continue
            case [first, *_] if first.startswith("#"):
                continue
            case ["log", vkey, *_]:
                vkeys.append(_key(number, vkey))
            case ["root", vkey]:
                roots.append(_key(number, vkey))
            case ["second", vkey]:
                seconds.append(Second(vkey=_key(number, vkey)))
            case ["second", vkey, size] if size.isascii() and size.isdigit():
                seconds.append(Second(vkey=_key(number, vkey), from_size=int(size)))
            case ["quorum", "none"]:
                continue
            case [word, *_]:
                raise TrustError(f"line {number}: {word!r} cannot be checked by this version")
    if not vkeys and not roots:
        raise TrustError("no `log` line: whose log is it?")
    if len(roots) > 1 or (roots and vkeys):
        raise TrustError("expected `log` lines or one `root` line, not both")
    if len({vkey.name for vkey in vkeys}) > 1:
        raise TrustError("keys of more than one log")
    return Trusted(vkeys=tuple(vkeys), root=roots[0] if roots else None, seconds=tuple(seconds))


def parse_policy(text: str) -> list[Vkey]:
    """The log's pinned keys. Raises `TrustError` with the line that is wrong."""
    trusted = parse_trust(text)
    if trusted.root is not None or trusted.seconds:
        raise TrustError("`root` and `second` are checked by `sentinel-audit verify` only")
    return list(trusted.vkeys)


def _key(number: int, text: str) -> Vkey:
    try:
        return parse_vkey(text)
    except VkeyError as error:
        raise TrustError(f"line {number}: {error}") from error
