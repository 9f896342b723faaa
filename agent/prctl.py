"""What the executor asks of the kernel and the C library for itself: less power, less memory."""

import ctypes
import os

from agent.errors import JournalError

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


def no_new_privileges() -> None:
    """From here on no set-user-id program gives this process or its children more (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise JournalError(f"the kernel refuses no_new_privs: {os.strerror(ctypes.get_errno())}")


_M_ARENA_MAX = -8  # malloc.h


def give_back_memory() -> None:
    """Return what reading the policy or an order freed (malloc_trim(3)): 2 MB of 40 on a node."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def adopt_orphans() -> None:
    """From here on what our children leave behind becomes our child, not init's (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise JournalError(f"the kernel adopts no orphans: {os.strerror(ctypes.get_errno())}")


def one_arena() -> None:
    """Let every thread allocate from one place (mallopt(3)): what a thread freed is used again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
