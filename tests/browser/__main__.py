"""Make sure that a Chromium is here; install Debian's package when we may.

python -m tests.browser
"""

import os
import shutil
import subprocess
import sys

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """0 when there is a browser now."""
    if any(shutil.which(program) for program in PROGRAMS):
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends"]):
            argv = ["apt-get", *words] + (["chromium"] if words[0] == "install" else [])
            subprocess.run(argv, env=environment, check=False, stdout=subprocess.DEVNULL)
    if any(shutil.which(program) for program in PROGRAMS):
        return 0
    sys.stderr.write("the console's tests need Chromium: install the package `chromium`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
