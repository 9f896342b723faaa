"""Which file a program is: one that only root can change, with every folder and link on the way.

Because nobody else can change a name on the way, what was checked is what is started: there is no
moment between check and start in which another could put something in its place.
"""

import os
import stat
from collections.abc import Sequence

from agent.errors import OrderRefusedError

_MOST_LINKS = 40  # as the kernel's own limit (path_resolution(7))
_STEP = "10 program"


def system_file(paths: Sequence[str]) -> str:
    """The first of a rule's files that is here and can be run; under its own name, unresolved.

    Programs of many names (`lvs`, `ip6tables`) see by it which they are.
    """
    for path in paths:
        if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113 - names, not paths
            demand_own(path)
            return path
    raise OrderRefusedError(_STEP, f"none of {', '.join(paths) or 'no file'} is here")


def demand_own(path: str) -> None:
    """Refuse a file that another than root could change, or lead elsewhere."""
    names, here, links = path.split("/")[:0:-1], "/", 0
    _demand_root("/")
    while names:
        name = names.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            here = os.path.dirname(here)  # noqa: PTH120 - `here` has no link left in it
            continue
        found = os.path.join(here, name)  # noqa: PTH118
        if stat.S_ISLNK(_look(found).st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OrderRefusedError(_STEP, f"{path} is a link without an end")
            target = os.readlink(found)  # noqa: PTH115
            here = "/" if target.startswith("/") else here
            names += target.split("/")[::-1]
        else:
            _demand_root(found)
            here = found


def _demand_root(path: str) -> None:
    found = _look(path)
    if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OrderRefusedError(_STEP, f"{path} can be changed by others")


def _look(path: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise OrderRefusedError(_STEP, f"{path} cannot be looked at: {error.strerror}") from error
