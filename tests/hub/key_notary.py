"""`sentinel-hub notary` over epochs, and the commands of the documents, as a person types them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from tests.hub.test_notary import NotaryProcess

LOG = "site.example/log"
README = (Path(__file__).parents[2] / "audit" / "README.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def command(starts: str) -> str:
    """The one block of audit/README.md that has this in it."""
    (found,) = (block for block in COMMANDS if starts in block)
    return found


class Officer:
    """A folder in which the documents' commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shim = folder / "bin" / "sentinel-audit"
        shim.parent.mkdir(exist_ok=True)
        root = Path(__file__).parents[2]
        words = f"PYTHONPATH={root} exec {sys.executable} -m audit"
        shim.write_text(f'#!/bin/sh\n{words} "$@"\n')
        shim.chmod(0o755)

    def run(self, text: str, *, status: int = 0) -> str:
        """Run a block; its output."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status, (text, done.stdout, done.stderr)
        return done.stdout + done.stderr


class EpochNotary(NotaryProcess):
    """The notary with the settings of the documents, and perhaps more."""

    def __init__(self, folder: Path, dsn: str, more: str = "") -> None:
        super().__init__(folder, dsn)
        self._config.write_text(
            f'dsn = "{dsn}"\nfolder = "{self.log}"\norigin = "{LOG}"\n'
            f'epochs = "{folder}/epochs.note"\nepoch_root = "{folder}/root.vkey"\n'
            f'epoch_state = "{folder}/epoch.state"\nidle_checkpoint_s = 0.5\n{more}'
        )

    def stop(self) -> None:
        assert self.end(signal.SIGTERM) == 0, self.said()

    def last_note(self) -> str:
        path = self.log / "checkpoint"
        return path.read_text() if path.exists() else ""

    def types(self) -> list[str]:
        return [line["type"] for line in self.lines()]

    def epoch(self) -> int:
        state: dict[str, Any] = msgspec.json.decode((self.folder / "epoch.state").read_bytes())
        return int(state["epoch"])
