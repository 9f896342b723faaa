"""Become an ordered program, with less power: limits, capabilities, sockets, files; then execve.

Started by `agent/plain.py` where systemd does not run, as a program of its own with the standard
library only (`python -I -S confine.py SPEC FILE WORD…`), so that nothing has to happen between fork
and exec in a process with threads. What a spec says is decided there. Any step that the kernel
knows and refuses ends it: the program does not run with more than it was granted.

    1. limits (setrlimit)       3. no new privileges       5. kinds of socket (seccomp)
    2. capabilities             4. files (Landlock)        6. the program
"""

import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from typing import Any, NoReturn

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # one number on every machine
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 23, 24, 22, 38
_PR_SET_PDEATHSIG = 1

# landlock(7): rights on files that change something, and the version of the interface they came in.
_WRITE_FILE, _TRUNCATE, _IOCTL_DEV = 1 << 1, 1 << 14, 1 << 15
_CHANGES = (1 << 1, 1), (0x1FF << 4, 1), (1 << 13, 2), (1 << 14, 3), (1 << 15, 5)
_ON_FILES = _WRITE_FILE | _TRUNCATE | _IOCTL_DEV  # what can be granted for what is no folder
_TCP, _TCP_SINCE = 0b11, 4  # bind and connect
_SCOPE_ABSTRACT, _SCOPE_SIGNAL, _SCOPES_SINCE = 1, 2, 6
_ALWAYS_WRITABLE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty")

# seccomp(2): audit architecture, and the numbers of socket, io_uring_setup and x32's first call.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP, _X32 = 425, 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EPERM

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """The version of Landlock of this kernel; 0 when it has none."""
    return max(0, int(_libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)))


def has_seccomp() -> bool:
    """Whether kinds of socket can be refused on this machine."""
    return os.uname().machine in _MACHINES and os.access("/proc/sys/kernel/seccomp", os.F_OK)


def main(argv: list[str]) -> NoReturn:
    """Confine this process and become the program; 126 when that fails, as a shell says it."""
    import json  # noqa: PLC0415 - the executor, which asks this module what the kernel knows, does without

    try:
        spec = json.loads(argv[1])
        for name, value in spec["limits"].items():  # 1
            _limit(getattr(resource, name), value)
        if spec["capabilities"] is not None and os.geteuid() == 0:
            _keep_capabilities(frozenset(spec["capabilities"]))  # 2
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # when the executor is killed, so is this
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)  # 3
        if spec["landlock"] is not None and landlock_version():
            _landlock(spec["landlock"], landlock_version())  # 4
        if spec["families"] is not None and has_seccomp():
            _sockets_of(spec["families"])  # 5
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(
                number, signal.SIG_DFL
            )  # Python ignores them, and a program inherits that
        os.umask(spec["umask"])
        os.execv(argv[2], argv[3:])  # noqa: S606 - 6; no shell  # pragma: no cover
    except OSError as error:
        os.write(2, f"cannot start: {error}\n".encode())
        os._exit(126)


def _limit(which: int, value: int) -> None:
    _, most = resource.getrlimit(which)
    most = sys.maxsize if most == resource.RLIM_INFINITY else most
    least = min(value, most)
    hard = least + 1 if which == resource.RLIMIT_CPU and value < most else least  # SIGXCPU first
    resource.setrlimit(which, (least, hard))


def _keep_capabilities(kept: frozenset[int]) -> None:
    """What is not in the bounding set, root does not get at execve either (capabilities(7))."""
    header, sets = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    _checked(_libc.capget(header, sets), "capget")
    effective, permitted, _, *above = struct.unpack("6I", sets)
    bare = struct.pack("6I", effective, permitted, 0, *above[:2], 0)  # nothing to inherit
    _checked(_libc.capset(header, bare), "capset")
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
        if number not in kept:
            _prctl(_PR_CAPBSET_DROP, number)
        number += 1


def _landlock(grants: dict[str, Any], version: int) -> None:
    """Files: everything may be read, and changed only below what is granted."""
    changes = sum(right for right, since in _CHANGES if since <= version)
    tcp = 0 if grants["network"] else _TCP
    abstract = 0 if grants["sockets"] else _SCOPE_ABSTRACT
    signals = 0 if grants["signals"] else _SCOPE_SIGNAL
    attributes = struct.pack("Q", changes)
    attributes += struct.pack("Q", tcp) if version >= _TCP_SINCE else b""
    attributes += struct.pack("Q", abstract | signals) if version >= _SCOPES_SINCE else b""
    size = ctypes.c_size_t(len(attributes))
    rules = _checked(_libc.syscall(_LANDLOCK_CREATE, attributes, size, 0), "landlock")
    for path in (*grants["writes"], *_ALWAYS_WRITABLE):
        _grant(rules, path, changes)
    _checked(_libc.syscall(_LANDLOCK_RESTRICT, rules, 0), "landlock")
    os.close(rules)


def _grant(rules: int, path: str, changes: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there is not granted
    try:
        rights = changes if os.path.isdir(path) else changes & _ON_FILES  # noqa: PTH112 - no pathlib
        beneath = struct.pack("=Qi", rights, place)
        _checked(_libc.syscall(_LANDLOCK_ADD, rules, 1, beneath, 0), f"landlock: {path}")
    finally:
        os.close(place)


def _sockets_of(families: list[int]) -> None:
    """A filter that refuses socket(2) of other families, and io_uring, which could open one."""
    architecture, socket = _MACHINES[os.uname().machine]
    program = [
        (_LOAD, 0, 0, 4),  # the architecture
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, 0),  # the number of the call
        (_AT_LEAST, 3, 0, _X32),
        (_EQUAL, 2, 0, _IO_URING_SETUP),
        (_EQUAL, 2, 0, socket),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, 16),  # its first argument
        *((_EQUAL, len(families) - at, 0, family) for at, family in enumerate(families)),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HP", len(program), ctypes.addressof(buffer))
    _checked(_libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0), "seccomp")


def _prctl(what: int, value: int) -> None:
    _checked(_libc.prctl(what, value, 0, 0, 0), f"prctl {what}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


if __name__ == "__main__":
    main(sys.argv)
