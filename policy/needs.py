"""What a command is granted beyond the closed sandbox: a small vocabulary, and what argv adds.

A rule says `needs`; `agent/sandbox.py` turns the words into what systemd or the kernel let a
program do. Without a word a program reads files, and that is all: it writes nothing, opens no
socket, sees no device, signals nobody. Nothing is granted here; this module only names it.
"""

import re
from collections.abc import Iterable

from policy.places import normal_path

WORDS = {
    "tree": "sees /tmp, /var/tmp, homes and /dev as they are, not private or empty ones",
    "mounts": "sees this host's own mount table, not that of a sandbox",
    "processes": "sees what other processes have open, and their memory maps",
    "devices": "opens the host's devices",
    "kernel": "reads the kernel's log and its audit state",
    "names": "looks up names of users and hosts through local sockets",
    "services": "speaks to services of this host through local sockets",
    "interfaces": "asks the kernel about interfaces, sockets and packet filters",
    "network": "speaks to other hosts",
    "signals": "signals or slows down other processes",
    "itself": "signals itself, its way to end; the kernel cannot tell that from signalling another",
    "remount": "changes how file systems are mounted, or which swap is used",
    "operands": "writes what its operands name: a folder with all below it, or one file",
    "folders": "writes in the folders in which its operands lie",
    "owners": "gives files to their owners, and acts as another user",
    "whole-host": "runs what this host is configured to run: no sandbox, only limits",
}
"""Every word, and what it grants in words for people."""

WRITE = "write:"
"""`write:/var/log/journal`: that folder is writable; it need not be there."""

_FOLDER = re.compile(r"(?:/[A-Za-z0-9_.-]+)+\Z")
# Files that show the mount table of whoever reads them: in a sandbox, the sandbox's.
_OWN_TABLE = re.compile(r"/etc/mtab|/proc/(?:self/|thread-self/)?(?:mounts|mountinfo|mountstats)\Z")
_OF_A_PROCESS = re.compile(r"/proc/[1-9]")
# Where a private folder, an empty one or none stands in the sandbox, and the folders above them.
_HIDDEN = ("/tmp", "/var/tmp", "/home", "/root", "/run/user", "/dev")  # noqa: S108 - names only
_TOPS = frozenset((".", "..", "var", "run", *(top[1:] for top in _HIDDEN)))  # relative to `/`
_ABOVE_HIDDEN = frozenset({"/", "/var", "/run"})


def check_word(word: str) -> None:
    """Raises `ValueError` for a word that is not of the vocabulary."""
    folder = word.removeprefix(WRITE)
    if folder == word:
        if word not in WORDS:
            raise ValueError(f"needs: {word!r} is none of {', '.join(WORDS)} or {WRITE}/FOLDER")
    elif not _FOLDER.match(folder) or normal_path(folder) != folder:
        raise ValueError(f"needs: {word!r}: write a normal absolute path other than /")


def in_words(needs: Iterable[str]) -> list[str]:
    """Each need as a person reads it."""
    return [WORDS.get(word, f"writes in {word.removeprefix(WRITE)}") for word in needs]


def named_by(argv: tuple[str, ...]) -> set[str]:
    """What the paths among the arguments need, whatever the program is.

    `cat /proc/mounts` would show the sandbox's mounts, `du /tmp` an empty folder of its own. A
    relative path is one below `/`, where commands run.
    """
    found: set[str] = set()
    for word in argv[1:]:
        for part in (word, word.partition("=")[2]):
            if "/" in part or part in _TOPS:
                found |= _named_by(normal_path(part))
    return found


def _named_by(path: str) -> set[str]:
    if _OWN_TABLE.match(path):
        return {"mounts"}
    if _OF_A_PROCESS.match(path):
        return {"processes"}
    if path in _ABOVE_HIDDEN or any(path == top or path.startswith(f"{top}/") for top in _HIDDEN):
        return {"tree"}
    return set()


def writable(needs: Iterable[str], operands: Iterable[str]) -> tuple[str, ...]:
    """The folders and files that may be written: fixed ones, and those of the operands."""
    paths = [normal_path(word) for word in operands if word.startswith("/")]
    found: set[str] = set()
    for word in needs:
        if word.startswith(WRITE):
            found.add(word.removeprefix(WRITE))
        elif word == "operands":
            found.update(paths)
        elif word == "folders":
            found.update(path.rpartition("/")[0] or "/" for path in paths)
    return tuple(sorted(found))
