#!/usr/bin/python3.11 -I
"""What a program that was taken over would try; it prints what it could do, one line each.

Runs on a host as an ordered command: `sandbox-probe MODE [PATH] TRY…`.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def write(path: str) -> None:
    """Create or append to a file."""
    with open(path, "a") as file:
        file.write("x")


def connect(where: str) -> None:
    """Reach a server: `127.0.0.1:80` or the path of a socket."""
    if where.startswith("/"):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(where)
        return
    host, _, port = where.rpartition(":")
    with contextlib.suppress(ConnectionRefusedError):  # it was let out, and nobody listens
        socket.create_connection((host, int(port)), 2).close()


def send(where: str) -> None:
    """Send one datagram."""
    host, _, port = where.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", (host, int(port)))


def mount(path: str) -> None:
    """Mount something."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", path.encode(), b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")


def memory(pid: str) -> None:
    """Open another process's memory to write."""
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))


def stop(pid: str) -> None:
    """Signal another process."""
    os.kill(int(pid), signal.SIGTERM)


def order(unit: str) -> None:
    """Have systemd act."""
    subprocess.run(["/usr/bin/systemctl", "start", unit], check=True, capture_output=True)


def hog(megabytes: str) -> None:
    """Take memory, all of it used."""
    kept = bytearray(int(megabytes) << 20)
    for place in range(0, len(kept), 4096):
        kept[place] = 1


def fork(count: str) -> None:
    """Start processes that stay."""
    for _ in range(int(count)):
        if os.fork() == 0:
            time.sleep(600)


def fill(path: str) -> None:
    """Write a file of 64 MB."""
    with open(path, "wb") as file:
        file.writelines(bytes(1 << 20) for _ in range(64))


def leave(path: str) -> None:
    """Leave a process in a session of its own; its pid goes into a file."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(3):
                os.close(number)
            Path(path).write_text(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    while not Path(path).exists() or not Path(path).read_text():
        time.sleep(0.01)


def scratch(name: str) -> None:
    """Write where temporary files belong, without having been told the place."""
    write("/".join(("", "tmp", name)))


def sleep(seconds: str) -> None:
    """Take time."""
    time.sleep(float(seconds))


def show(path: str) -> None:
    """Print a file or a folder's names."""
    print(*(os.listdir(path) if os.path.isdir(path) else [Path(path).read_text().strip()]))


def words(text: str) -> None:
    """Print a word as it came, and the environment's names."""
    print(text, *sorted(os.environ))


TRIES = {
    one.__name__: one
    for one in (
        *(write, connect, send, mount, memory, stop, order, hog),
        *(fork, fill, leave, scratch, sleep, show, words),
    )
}


def main(argv: list[str]) -> None:
    """Each `NAME=VALUE` is tried; what failed says how."""
    if argv[1] == "odd":
        print("sandbox-probe", *argv[1:])
        return
    for word in argv[2:]:
        name, _, value = word.partition("=")
        if name not in TRIES:
            continue
        try:
            TRIES[name](value)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: {type(error).__name__} {error}")
        else:
            print(f"{name}: done")
        sys.stdout.flush()


main(sys.argv)
