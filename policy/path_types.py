"""Types for paths: what may be looked at, read, or deleted, after normalising the name.

Links are not followed here. The executor resolves the real path and looks again where it leads.
"""

import re

from policy.facts import Facts
from policy.fault import Check, Fault, Maker
from policy.places import Guard, is_below, normal_path

_TEXT = re.compile(r"[\x20-\x7e]{1,200}\Z")
# No `:` and no `=`: some programs read them as a host or an assignment.
_RELATIVE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@%+,/ -]{0,199}\Z")


def _named(value: str) -> Fault | None:
    """Reading takes a relative name, too: commands run in `/`, so it has one meaning."""
    return None if _RELATIVE.match(value) else _absolute(value)


def _goes_up(value: str, path: str) -> Fault | None:
    """`/var/run/../etc/x` is below `/var` by its name, and in `/etc` once the link is followed."""
    if ".." not in value.split("/"):
        return None
    message = f"{value} goes up with `..`, which a link could turn elsewhere"
    return Fault(code="dot-dot", message=message, hint=f"write {path}")


def _absolute(value: str) -> Fault | None:
    if value.startswith("/") and _TEXT.match(value):
        return None
    message = f"{value!r} is not an absolute path"
    return Fault(code="relative-path", message=message, hint="write the path from /")


def _secret(value: str, path: str) -> Fault:
    aka = "" if value == path else f" (that is {path})"
    return Fault(code="secret-path", message=f"{value}{aka} is in a place that holds secrets")


def _path_stat(_parameters: str) -> tuple[str, Check]:
    def check(value: str, _facts: Facts, guard: Guard) -> Fault | None:
        if fault := _named(value):
            return fault
        path = normal_path(value)
        if guard.secret.covers(path):
            return _secret(value, path)
        return _goes_up(value, path)

    return "an absolute path outside secret places", check


def _path_shown(_parameters: str) -> tuple[str, Check]:
    """For programs that show only the public part of what they open."""
    _, look = _path_stat("")

    def check(value: str, facts: Facts, guard: Guard) -> Fault | None:
        if value == "-":  # standard input: a pipe of ours, or nothing
            return None
        if fault := look(value, facts, guard):
            return fault
        if guard.devices.covers(normal_path(value)):
            return Fault(code="device-path", message=f"{value} is a device; reading it can block")
        return None

    return "an absolute path of a file outside secret places and devices", check


def _path_read(_parameters: str) -> tuple[str, Check]:
    expected, shown = _path_shown("")

    def check(value: str, facts: Facts, guard: Guard) -> Fault | None:
        if fault := shown(value, facts, guard):
            return fault
        if guard.mixed.covers(normal_path(value)):
            message = f"{value} may hold secrets beside what is public"
            hint = "a certificate: openssl x509 -noout -text -in FILE"
            return Fault(code="secret-path", message=message, hint=hint)
        return None

    return expected, check


def _tree_read(_parameters: str) -> tuple[str, Check]:
    _, read = _path_read("")

    def check(value: str, facts: Facts, guard: Guard) -> Fault | None:
        if fault := read(value, facts, guard):
            return fault
        path = normal_path(value)
        if any(places.has_below(path) for places in (guard.secret, guard.devices, guard.mixed)):
            message = f"below {path} there are places that hold secrets, or devices"
            return Fault(code="secret-path", message=message, hint="name a folder further down")
        return None

    return "a folder with no secret places or devices below it", check


def _roots(parameters: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`/a|/b;.log|.gz`: the roots, and the endings a file must have."""
    folders, _, endings = parameters.partition(";")
    roots = tuple(folders.split("|"))
    for root in roots:
        if not root.startswith("/") or normal_path(root) != root or root == "/":
            raise ValueError(f"{root!r} is no root: write a normal absolute path other than /")
    return roots, tuple(endings.split("|")) if endings else ()


def _path_under(parameters: str, *, itself: bool = False) -> tuple[str, Check]:
    roots, endings = _roots(parameters)
    expected = f"a path {'in' if itself else 'below'} {', '.join(roots)}"
    expected += f" ending in {', '.join(endings)}" if endings else ""

    def check(value: str, _facts: Facts, guard: Guard) -> Fault | None:
        if fault := _absolute(value):
            return fault
        path = normal_path(value)
        if not any(is_below(path, root) or (itself and path == root) for root in roots):
            aka = "" if value == path else f"{value} is {path}, which"
            return Fault(code="outside-roots", message=f"{aka or path} is not {expected}")
        if fault := _goes_up(value, path):
            return fault
        if endings and not path.endswith(endings):
            return Fault(code="outside-roots", message=f"{path} is not {expected}")
        if guard.secret.covers(path):
            return _secret(value, path)
        if guard.precious.covers(path):
            return Fault(code="precious-path", message=f"{path} is a record that must be kept")
        return None

    return expected, check


def _dir_under(parameters: str) -> tuple[str, Check]:
    return _path_under(parameters, itself=True)


def _path_in_evidence(parameters: str) -> tuple[str, Check]:
    expected, under = _path_under(parameters)
    expected = f"{expected}, listed in the evidence"

    def check(value: str, facts: Facts, guard: Guard) -> Fault | None:
        if fault := under(value, facts, guard):
            return fault
        if normal_path(value) not in facts.paths:
            message = f"{value} is not in the evidence of this incident"
            return Fault(code="not-in-evidence", message=message, hint="name a file it lists")
        return None

    return expected, check


MAKERS: dict[str, Maker] = {
    "path-stat": _path_stat,
    "path-read": _path_read,
    "path-shown": _path_shown,
    "tree-read": _tree_read,
    "path-under": _path_under,
    "dir-under": _dir_under,
    "path-in-evidence": _path_in_evidence,
}
