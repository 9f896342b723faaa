"""A real `sentinel-witness` in a process of its own, and requests to it as a log makes them."""

import http.client
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from appliance import envelope
from audit.add_checkpoint import body
from audit.cosignature import WitnessKey, parse_witness
from tests.agent.trees import VKEY, Tree

NAME = "audit.site/witness"


@dataclass
class WitnessProcess:
    """Started again on the same folder it is the same witness."""

    folder: Path
    logs: tuple[str, ...] = (str(VKEY),)
    name: str = NAME
    before: str = ""  # Python that runs in the process first: a fault
    settings: str = ""  # more lines of its file
    process: "subprocess.Popen[str] | None" = None
    port: int = field(default=0)

    def __post_init__(self) -> None:
        if not (self.folder / "witness-site.key").exists():
            envelope.make_key(self.folder / "witness-site.key")
        self.write(port=0)

    def write(self, *, port: int) -> None:
        logs = ", ".join(f'"{one}"' for one in self.logs)
        self.config.write_text(
            f'name = "{self.name}"\nkey = "{self.folder}/witness-site.key"\n'
            f'state_dir = "{self.folder}/witness"\nlogs = [{logs}]\nport = {port}\n'
            f"{self.settings}"
        )

    @property
    def config(self) -> Path:
        return self.folder / "witness.toml"

    @property
    def key(self) -> WitnessKey:
        return parse_witness(self.run("--show-key").stdout.strip())

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "audit.witness_command", "--config", str(self.config), *words],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def start(self) -> None:
        code = (
            f"{self.before}\nimport sys\nfrom audit.witness_command import main\nsys.exit(main())"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "--config", str(self.config)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.write(port=self.port)  # a restart listens at the same place

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(20)
        self.close()
        return status

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()

    def post(self, data: bytes, *, path: str = "/add-checkpoint") -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, data)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()
        finally:
            connection.close()

    def add(self, old: int, tree: Tree) -> tuple[int, str, bytes]:
        """The honest request for this tree from that size."""
        return self.post(body(old, tree.proof(old, tree.size).path, tree.note()))

    def memory(self) -> dict[str, bytes]:
        files = (self.folder / "witness").glob("*.json")
        return {file.name: file.read_bytes() for file in files}
