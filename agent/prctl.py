"""The one kernel switch the executor sets on itself, and its commands inherit (prctl(2))."""

import ctypes
import os

from agent.errors import JournalError

_PR_SET_NO_NEW_PRIVS = 38


def no_new_privileges() -> None:
    """From here on no set-user-id program gives this process or its children more."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise JournalError(f"the kernel refuses no_new_privs: {os.strerror(ctypes.get_errno())}")
