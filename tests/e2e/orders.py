"""Honest orders for a real host, and the executor there that gets them over its own socket."""

import importlib.metadata
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from packaging.requirements import Requirement

from agent.executor_socket import Client
from appliance import records
from appliance.records import (
    FileEvidence,
    Finding,
    JudgedStep,
    MountEvidence,
    Order,
    ProcessEvidence,
    Report,
    UnitEvidence,
)
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader, judge
from policy.evidence import facts_of
from policy.verdict import Verdict
from tests.attacks.forge import NODE, Forge, changed
from tests.e2e.host import Host, wait_for

_REPOSITORY = Path(__file__).parents[2]
_CODE = ("agent", "appliance", "audit", "policy")
_LIBRARIES = ("msgspec", "cryptography", "bashlex", "tomli", "orjson", "webauthn")
_HOME = "/usr/lib/sentinel-test"
_STATE = "/var/lib/sentinel-executor"
_SOCKET = "/run/sentinel/executor.socket"
_PROBE = "/usr/local/sbin/sandbox-probe"

_UNIT = _REPOSITORY / "systemd" / "sentinel-executor.service"
# The shipped unit, but with the code of this repository and the host's interpreter.
_DROP_IN = f"""
[Service]
Environment=PYTHONPATH={_HOME} PYTHONDONTWRITEBYTECODE=1
ExecStart=
ExecStart=/usr/bin/python3.11 -m agent.executor_process --config /etc/sentinel/executor.toml
Restart=no
"""
_SETTINGS = f"""
node = "{NODE}"
socket = "{_SOCKET}"
state_dir = "{_STATE}"
order_key = "/etc/sentinel/order.pub"
audit_vkey = "/etc/sentinel/log.vkey"
policy = "{_HOME}/rules"
people = "/etc/sentinel/people.json"
most_actions_per_hour = 100
mode = "live"
run_in = "units"
[limits]
memory_mb = 64
tasks = 32
file_mb = 32
"""
# What a program that was taken over would try; each line of its rule grants one thing.
_RULES = """
[[type]]
name = "odd-text"
pattern = "[ -~]{1,200}"
expected = "anything"
script = true

[[command]]
name = "sandbox-probe"
paths = ["/usr/local/sbin/sandbox-probe"]
style = "subcommand"
why = "tries what a command must not do"
hint = "for tests"

[[command.form]]
names = ["closed"]
operands = ["text*"]

[[command.form]]
names = ["odd"]
operands = ["odd-text*"]

[[command.form]]
names = ["granted"]
operands = ["path-stat", "text*"]
needs = ["operands"]
effect = "destroy"
risk = "low"
undo = "none"

[[command.form]]
names = ["named"]
operands = ["text*"]
needs = ["names"]

[[command.form]]
names = ["interfaces"]
operands = ["text*"]
needs = ["interfaces"]

[[command.form]]
names = ["network"]
operands = ["text*"]
needs = ["network"]

[[command.form]]
names = ["served"]
operands = ["text*"]
needs = ["services"]

[[command.form]]
names = ["free"]
operands = ["text*"]
needs = ["whole-host"]
"""


class Orders:
    """Makes orders with a forge's keys, and sees what the host's executor reports."""

    def __init__(self, host: Host, forge: Forge) -> None:
        self.host = host
        self.forge = forge
        rules = read_folder(SHIPPED_RULES) | {"99-probe.toml": _RULES.encode()}
        self._rules = rules
        self.bundle = parse_bundle(rules)

    def install(self) -> None:
        """Code, libraries, policy, keys and a service; then the executor runs."""
        for name in _CODE:
            self.host.put(_REPOSITORY / name, _HOME)
        for name in _with_what_they_need(_LIBRARIES):
            self._library(name)
        rules = self.forge.folder / "rules"
        rules.mkdir()
        for name, data in self._rules.items():
            (rules / name).write_bytes(data)
        self.host.put(rules, _HOME)
        public = self.forge.order_key.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        self.host.write("/etc/sentinel/order.pub", public.decode())
        self.host.write("/etc/sentinel/log.vkey", self.forge.signer.vkey)
        self.host.write("/etc/sentinel/executor.toml", _SETTINGS)
        people = records.to_json(self.forge.trust.people)
        self.host.write("/etc/sentinel/people.json", people.decode())
        self.host.write(f"/etc/systemd/system/{_UNIT.name}", _UNIT.read_text())
        self.host.write(f"/etc/systemd/system/{_UNIT.name}.d/test.conf", _DROP_IN)
        self.host.write(_PROBE, Path(__file__).with_name("probe.py").read_text(), mode="755")
        self.host.run("systemctl", "daemon-reload")
        self.start()

    def _library(self, name: str) -> None:
        """The files of an installed library, compiled ones included."""
        files = importlib.metadata.files(name) or []
        base = Path(str(importlib.metadata.distribution(name).locate_file("")))
        for top in {file.parts[0] for file in files if file.parts[0] not in {"..", "__pycache__"}}:
            if not top.endswith(".dist-info"):
                self.host.put(base / top, _HOME)

    def start(self) -> None:
        """Start the service, until its socket answers."""
        self.host.run("systemctl", "start", "sentinel-executor")
        wait_for((self.host.root / _SOCKET.lstrip("/")).exists)

    @property
    def client(self) -> Client:
        """The agent's side of the socket, through the host's own files."""
        return Client(self.host.root / _SOCKET.lstrip("/"))

    def finding(
        self,
        *,
        pids: tuple[int, ...] = (),
        units: tuple[str, ...] = (),
        mounts: tuple[str, ...] = (),
        files: tuple[str, ...] = (),
    ) -> Finding:
        """What an agent on the host would have found: these, as they are now."""
        now = datetime.now(UTC)
        evidence: list[Any] = [self._process(pid, number) for number, pid in enumerate(pids)]
        evidence += [
            UnitEvidence(
                id=f"e{100 + number}",
                unit=unit,
                active_state="failed",
                sub_state="failed",
                result="exit-code",
                exit_status=1,
                restarts=0,
            )
            for number, unit in enumerate(units)
        ]
        evidence += [
            MountEvidence(
                id=f"e{200 + number}",
                mount=mount,
                device="/dev/sda",
                fstype="ext4",
                size_bytes=2,
                used_bytes=1,
                inodes=2,
                inodes_used=1,
            )
            for number, mount in enumerate(mounts)
        ]
        evidence += [
            FileEvidence(id=f"e{300 + number}", path=path, bytes=1, modified_at=now)
            for number, path in enumerate(files)
        ]
        boot = (self.host.root / "proc/sys/kernel/random/boot_id").read_text().strip()
        return self.forge.finding(boot_id=boot, evidence=tuple(evidence))

    def _process(self, pid: int, number: int) -> ProcessEvidence:
        stat = (self.host.root / f"proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return ProcessEvidence(
            id=f"e{number + 1}",
            pid=pid,
            started_ticks=int(stat[19]),
            name="victim",
            command="victim",
            owner="root",
            rss_bytes=1,
            growth_bytes_per_s=0.0,
            cpu_percent=0.0,
        )

    def judged(self, finding: Finding, command: str) -> Verdict:
        """The node's own verdict."""
        return judge(command, bundle=self.bundle, facts=facts_of(finding), second=EchoReader())

    def order(self, command: str, *, timeout_s: float = 20, **named: Any) -> Order:
        """An honest, approved and logged order for one command."""
        finding = self.finding(**named)
        verdict = self.judged(finding, command)
        assert verdict.program is not None, command
        assert verdict.ruling.word == "allow", (command, verdict.reasons[0])
        step = JudgedStep(
            command=command,
            purpose="test",
            undo=None,
            ruling="allow",
            rule=verdict.reasons[0].rule,
            why="",
            program_digest=verdict.program.digest,
            argv=verdict.program.argvs,
            risk=verdict.risk,
        )
        people = self.forge.trust.people
        needed = people.needed([verdict.risk]) if people else 1
        shown = changed(
            self.forge.shown(finding, approvals_needed=needed),
            steps=(step,),
            policy_digest=self.bundle.digest,
        )
        said = [self.forge.approve(shown, by=place) for place in range(needed)]
        approvals = self.forge.logged(shown, *said)
        return self.forge.order(finding, shown=shown, approvals=approvals, timeout_s=timeout_s)

    def submit(self, order: Order) -> None:
        """Hand it to the executor on the host."""
        standing = self.client.witness().standing
        assert standing is not None
        proof = self.forge.proof(order, seen_size=standing.size)
        answer = self.client.submit(self.forge.seal(order), proof)
        assert not answer.refused, answer

    def report_on(self, order: Order, *, within_s: float = 60) -> Report:
        """The report, once it is there; confirmed."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for report in self.client.reports(wait_s=1):
                self.client.told(report.report_id)
                if report.order_id == order.order_id:
                    return report
        raise AssertionError("no report")

    def give(self, command: str, *, timeout_s: float = 20, **named: Any) -> Report:
        """Have one command run on the host; what came of it."""
        order = self.order(command, timeout_s=timeout_s, **named)
        self.submit(order)
        return self.report_on(order)


def _with_what_they_need(names: Iterable[str]) -> set[str]:
    """These libraries and, as their metadata says, those that they need here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        needs = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        waiting += [
            one.name for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    return found
