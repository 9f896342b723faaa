"""Run reading commands on a host twice, free and in their sandbox; print where they differ.

Reads JSON lines on standard input: what `test_reading_forms.py` makes of the policy's examples.
"""

import json
import os
import subprocess
import sys

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
    "PAGER": "cat",
    "SYSTEMD_PAGER": "cat",
}


def status(argv: list[str], file: str | None = None) -> str:
    """How it ended."""
    try:
        done = subprocess.run(
            argv, executable=file, stdin=subprocess.DEVNULL, capture_output=True, timeout=20,
            env=ENVIRONMENT, cwd="/", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "too late"
    last = done.stderr.decode("utf-8", "replace").strip()[-200:]
    return f"{done.returncode} {last}" if done.returncode else "0"


def main() -> None:
    """One line for each command that ends otherwise in its sandbox, then how many were tried."""
    tried = 0
    for line in sys.stdin:
        one = json.loads(line)
        files = [path for path in one["paths"] if os.access(path, os.X_OK)]
        if not files:
            continue
        tried += 1
        client = ["systemd-run", "--pipe", "--wait", "--quiet", "--collect", "--description=x"]
        client += [f"--property={text}" for text in one["properties"]]
        client += [f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()]
        words = [word.replace("$", "$$") for word in one["argv"][1:]]
        free = status(one["argv"], files[0])
        confined = status([*client, "--", files[0], *words])
        if free.split()[0] != confined.split()[0]:
            print(json.dumps([one["text"], free, confined]))
    print(json.dumps(tried))


main()
