"""Make orders as a hub would, and as a hub that was taken over would."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.execution_journal import ExecutionJournal
from agent.executor import Executor
from agent.halts import Halts
from agent.log_proof import NO_PROOF, LogProof
from agent.order_store import OrderStore
from agent.proc import boot_id, started_ticks
from agent.trust import Trust
from appliance import envelope, records, report_chain
from appliance.ids import uuid7
from appliance.records import (
    Approval,
    Condition,
    FileEvidence,
    Finding,
    JudgedStep,
    Logged,
    Mode,
    Order,
    ProcessEvidence,
    Severity,
    Shown,
)
from audit import proof
from audit.checkpoint import parse_text
from audit.counting import parse_keys
from audit.entry import Actor, EntryDraft
from audit.errors import AuditRefusedError
from audit.merkle import Subtrees, prove_consistency
from audit.signer import LocalSigner
from hub.segments import IndexedState, SegmentLog
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader, judge
from policy.evidence import facts_of
from policy.facts import Facts
from policy.rules import Bundle
from tests.attacks.operators import Operator, SecurityKey, TerminalKey, people

NODE = "h1.test"
ORIGIN = "test.sentinel.internal/log"

_bundles: list[Bundle] = []


def shipped() -> Bundle:
    """The shipped policy, read once."""
    if not _bundles:
        _bundles.append(parse_bundle(read_folder(SHIPPED_RULES)))
    return _bundles[0]


@dataclass
class Forge:
    """A hub's keys and its log, and the node that knows their public halves."""

    folder: Path
    mode: Mode = Mode.LIVE
    order_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    audit_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    result_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    operators: list[Operator] = field(
        default_factory=lambda: [
            Operator("operator-1", keys=[TerminalKey(), SecurityKey()]),
            Operator("operator-2", role="admin", keys=[TerminalKey(), SecurityKey()]),
            Operator("viewer-1", role="viewer"),
        ]
    )

    def __post_init__(self) -> None:
        self.signer = LocalSigner(ORIGIN, self.audit_key)
        self.log = self.new_log("log")
        (self.folder / "state").mkdir()
        self.trust = Trust(
            node=NODE,
            role=None,
            mode=self.mode,
            order_key=self.order_key.public_key(),
            audit_keys=parse_keys(self.signer.vkey),
            bundle=shipped(),
            second=EchoReader(),
            checkpoint_file=self.folder / "state" / "checkpoint.json",
            most_timeout_s=30,
            people=people(*self.operators),
        )
        state = self.folder / "state"
        self.halts, self.store = Halts(state / "halted.json"), OrderStore(state / "orders")
        self.journal = ExecutionJournal(state / "journal.jsonl", key=self.result_key)
        self.executor = self.executor_on(self.journal)

    def executor_on(self, journal: ExecutionJournal) -> Executor:
        """The executor of this node, as a restart makes it anew."""
        self.journal = journal
        self.executor = Executor(
            self.trust,
            journal,
            self.halts,
            self.store,
            result_key=report_chain.spelled(self.result_key.public_key()),
        )
        return self.executor

    def restart(self) -> Executor:
        """Close the journal and open it as the next start does."""
        self.journal.close()
        path = self.folder / "state" / "journal.jsonl"
        return self.executor_on(ExecutionJournal(path, key=self.result_key))

    def new_log(self, name: str) -> SegmentLog:
        """An audit log under the same key, as a rollback or a fork would be."""
        return SegmentLog.open(
            self.folder / name,
            origin=ORIGIN,
            signer=self.signer,
            indexed=IndexedState(),
            next_inc_seq=lambda _: 0,
        )

    def finding(self, *pids: int, paths: tuple[Path, ...] = (), **changes: Any) -> Finding:
        """A finding whose evidence is these processes and files, as they are now."""
        now = datetime.now(UTC)
        evidence = [
            ProcessEvidence(
                id=f"e{number}",
                pid=pid,
                started_ticks=started_ticks(pid) or 1,
                name="victim",
                command="victim",
                owner="root",
                rss_bytes=1,
                growth_bytes_per_s=0.0,
                cpu_percent=0.0,
            )
            for number, pid in enumerate(pids, start=1)
        ]
        files = [
            FileEvidence(id=f"e{number}", path=str(path), bytes=1, modified_at=now)
            for number, path in enumerate(paths, start=len(pids) + 1)
        ]
        values = {
            "finding_id": uuid7(),
            "condition": Condition.PROCESS_MEMORY,
            "subject": "a process",
            "severity": Severity.WARNING,
            "summary": "it is too large",
            "observed": 2.0,
            "limit": 1.0,
            "unit": "MB",
            "first_bad_at": now,
            "fired_at": now,
            "boot_id": boot_id(),
            "evidence": (*evidence, *files),
        }
        return Finding(**{**values, **changes})

    def shown(
        self, finding: Finding, *commands: str, undos: tuple[str | None, ...] = (), **changes: Any
    ) -> Shown:
        """What an operator would be shown for these commands and their rollbacks."""
        facts = facts_of(finding)
        padded = (*undos, *(None for _ in commands))
        steps = tuple(
            self.step(command, undo, facts) for command, undo in zip(commands, padded, strict=False)
        )
        values = {
            "incident_id": uuid7(),
            "plan_id": uuid7(),
            "node": NODE,
            "finding_id": finding.finding_id,
            "evidence_digest": records.digest_of(finding),
            "steps": steps,
            "ruling": "allow",
            "policy_digest": shipped().digest,
            "mode": Mode.LIVE,
            "not_after": datetime.now(UTC) + timedelta(minutes=5),
            "nonce": uuid7(),
        }
        return Shown(**{**values, **changes})

    def step(self, command: str, undo: str | None, facts: Facts, **changes: Any) -> JudgedStep:
        """A command with its rollback, judged as an honest hub judges them."""
        verdict = judge(command, bundle=self.trust.bundle, facts=facts, second=EchoReader())
        taken = (
            judge(undo, bundle=self.trust.bundle, facts=facts, second=EchoReader())
            if undo
            else None
        )
        values = {
            "command": command,
            "purpose": "test",
            "undo": undo,
            "ruling": "allow",
            "rule": verdict.reasons[0].rule,
            "why": "",
            "program_digest": verdict.program.digest if verdict.program else "0" * 64,
            "argv": verdict.program.argvs if verdict.program else (),
            "undo_ruling": taken.ruling.word if taken else None,
            "undo_digest": taken.program.digest if taken and taken.program else None,
            "undo_argv": taken.program.argvs if taken and taken.program else (),
        }
        return JudgedStep(**{**values, **changes})

    def approve(self, shown: Shown, *, by: int = 0, key: int = 0, **changes: Any) -> Approval:
        """An operator's signed yes to it."""
        who, digest = self.operators[by], records.digest_of(shown)
        values = {
            "approval_id": uuid7(),
            "operator": who.name,
            "shown_digest": digest,
            "approved_at": datetime.now(UTC),
            "comment": "",
            "signature": who.sign(digest, key=key),
        }
        return Approval(**{**values, **changes})

    def record(
        self, shown: Shown, approval: Approval, *, log: SegmentLog | None = None, **changes: Any
    ) -> tuple[str, str]:
        """Write the approval's entry; its line and its proof."""
        log = log or self.log
        body = {
            "approval_id": approval.approval_id,
            "shown_digest": approval.shown_digest,
            "approval_digest": records.digest_of(approval),
        }
        values = {
            "id": uuid7(),
            "at": datetime.now(UTC),
            "type": "approval.grant",
            "actor": Actor(kind="operator", id=approval.operator, node=None, session=None),
            "incident": shown.incident_id,
            "body": body,
        }
        (made,) = log.append([EntryDraft(**{**values, **changes})])
        note = log.checkpoint()
        node = Subtrees(lambda seq: _leaf(log, seq))
        return made.line.decode(), proof.make(made.seq, note, node)

    def logged(self, shown: Shown, *approvals: Approval) -> tuple[Logged, ...]:
        """These approvals, each with its entry, and its proof under the last one's checkpoint."""
        lines = [self.record(shown, approval)[0] for approval in approvals]
        note, node = self.log.checkpoint(), Subtrees(lambda seq: _leaf(self.log, seq))
        first = self.log.size - len(lines)
        return tuple(
            Logged(approval=approval, entry=line, proof=proof.make(first + place, note, node))
            for place, (approval, line) in enumerate(zip(approvals, lines, strict=True))
        )

    def order(self, finding: Finding, *commands: str, **changes: Any) -> Order:
        """A whole honest order for these commands."""
        undos = changes.pop("undos", ())
        if not changes.keys() & {"shown", "approval", "logged", "approvals"}:
            changes |= self._by_enough_people(finding, *commands, undos=undos)
        shown = changes.pop("shown", None) or self.shown(finding, *commands, undos=undos)
        approval = changes.pop("approval", None) or self.approve(shown)
        line, text = changes.pop("logged", None) or self.record(shown, approval)
        values = {
            "order_id": uuid7(),
            "node": NODE,
            "shown": shown,
            "finding": finding,
            "approvals": (Logged(approval=approval, entry=line, proof=text),),
            "timeout_s": 10.0,
            "not_after": datetime.now(UTC) + timedelta(minutes=5),
        }
        return Order(**{**values, **changes})

    def _by_enough_people(
        self, finding: Finding, *commands: str, undos: tuple[str | None, ...]
    ) -> dict[str, Any]:
        """Approvals of a plan by as many people as its risk needs; nothing where one is enough."""
        facts, people = facts_of(finding), self.trust.people
        texts = [text for text in (*commands, *undos) if text]
        judged = [
            judge(text, bundle=self.trust.bundle, facts=facts, second=EchoReader())
            for text in texts
        ]
        needed = people.needed([one.risk for one in judged]) if people else 1
        if needed == 1:
            return {}
        shown = self.shown(finding, *commands, undos=undos, approvals_needed=needed)
        approvals = [self.approve(shown, by=place) for place in range(needed)]
        logged = self.logged(shown, *approvals)
        return {
            "shown": shown,
            "approval": approvals[0],
            "logged": (logged[0].entry, logged[0].proof),
            "approvals": logged,
        }

    def seal(self, order: Order, *, key: Ed25519PrivateKey | None = None) -> bytes:
        """The envelope, under the hub's order key unless another is given."""
        payload = records.to_json(order)
        return envelope.seal(payload, payload_type=envelope.ORDER_TYPE, key=key or self.order_key)

    def proof(self, order: Order, *, seen_size: int | None = None) -> LogProof:
        """The proof from what the node has seen, as far as the forge's own log has one."""
        try:
            note = proof.parse(order.approvals[0].proof).note
        except AuditRefusedError:
            return NO_PROOF
        size = parse_text(note[: note.rfind("\n\n") + 1]).size
        return self.proof_to(size, seen_size=seen_size)

    def proof_to(
        self, size: int, *, log: SegmentLog | None = None, seen_size: int | None = None
    ) -> LogProof:
        """The proof between what the node has seen and a size of a log."""
        log = log or self.log
        if seen_size is None:
            seen_size = self.trust.seen.size if self.trust.seen else 0
        before, after = sorted((seen_size, size))
        path: tuple[bytes, ...] = ()
        if 0 < before < after <= log.size:
            path = tuple(prove_consistency(before, after, Subtrees(lambda seq: _leaf(log, seq))))
        return LogProof(log_from=seen_size, path=path)

    def give(self, order: Order, *, with_proof: LogProof | None = None) -> records.Report:
        """Hand the order to the executor and let it run to its report."""
        proof = with_proof or self.proof(order)
        (report,) = self.work(lambda: self.executor.submit(self.seal(order), proof))
        return report

    def undo(self, order: Order) -> records.Report:
        """Ask for the rollback of an order, as the agent does, and let it run to its report."""
        (report,) = self.work(lambda: self.executor.undo(order.order_id))
        return report

    def work(self, ask: Callable[[], object]) -> list[records.Report]:
        """Ask, let the executor work off what waits; the reports that came of it."""
        before = {report.report_id for report in self.executor.untold()}
        ask()
        self.executor.stop()
        self.executor.run()
        return [one for one in self.executor.untold() if one.report_id not in before]


def _leaf(log: SegmentLog, seq: int) -> bytes:
    from audit.entry import leaf_hash  # noqa: PLC0415 - beside its one use

    return leaf_hash(log.line(seq))


def changed(record: Any, **changes: Any) -> Any:
    """The record with some fields other than they were."""
    return msgspec.structs.replace(record, **changes)


def wait_for(condition: Any, *, within_s: float = 10) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
