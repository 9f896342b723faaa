"""The nouns: findings, evidence, plans, orders and reports, as every part knows them.

Records are frozen and keyword-only; units are in the names. What they hold came from a host, a
model or a hub, so text has a bound here, and unknown fields are refused where bytes are read.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec

from appliance import canonical
from appliance.errors import RefusedError

MAX_EVIDENCE_BYTES = 256 * 1024  # a log storm on one host must not fill the hub's prompt
MAX_OUTPUT_BYTES = 64 * 1024  # of one command; the rest is counted and hashed, not kept
MAX_STEPS = 8  # a plan a person can read
MOST_APPROVALS = 4  # different people who say yes to one plan

Name = Annotated[str, msgspec.Meta(max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
EvidenceId = Annotated[str, msgspec.Meta(pattern="^e[1-9][0-9]{0,3}$")]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The manners all records share."""


R = TypeVar("R")


class Condition(StrEnum):
    """What can be wrong with a host; one finding is one condition of one subject."""

    HOST_MEMORY = "host_memory"  # the host runs out of memory
    PROCESS_MEMORY = "process_memory"  # one process is over its limit
    PROCESS_LEAK = "process_leak"  # one process grows steadily and does not stop
    DISK_SPACE = "disk_space"  # a filesystem is nearly full
    DISK_INODES = "disk_inodes"  # a filesystem is nearly out of inodes
    CPU_SATURATION = "cpu_saturation"  # the processors have no idle time left
    LOAD_SATURATION = "load_saturation"  # far more is runnable than there are processors
    UNIT_FAILED = "unit_failed"  # a systemd unit is in the state `failed`
    STOLEN_TOKEN = "stolen_token"  # noqa: S105 - the hub's own: others opened a joining token


HUB_ONLY = frozenset({Condition.STOLEN_TOKEN})
"""Conditions that no node reports: they are about a node, or about who says to be one."""


class Severity(StrEnum):
    """How soon a person should look."""

    WARNING = "warning"
    CRITICAL = "critical"


class ProcessEvidence(Record, frozen=True, kw_only=True, tag_field="kind", tag="process"):
    """One process; pid and start time together name it, a pid alone does not."""

    id: EvidenceId
    pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    started_ticks: Count  # clock ticks after boot, field 22 of /proc/PID/stat
    name: Name
    command: Text  # redacted on the node
    owner: Name
    rss_bytes: Count
    growth_bytes_per_s: float
    cpu_percent: float  # of one processor
    unit: Name | None = None  # the systemd unit it belongs to
    protected: Name | None = None  # why it must not be signalled, or None


class MountEvidence(Record, frozen=True, kw_only=True, tag_field="kind", tag="mount"):
    """One mounted filesystem."""

    id: EvidenceId
    mount: Text
    device: Text
    fstype: Name
    size_bytes: Count
    used_bytes: Count
    inodes: Count
    inodes_used: Count


class DirectoryEvidence(Record, frozen=True, kw_only=True, tag_field="kind", tag="directory"):
    """A directory and what is below it on the same filesystem."""

    id: EvidenceId
    path: Text
    bytes: Count
    files: Count
    complete: bool  # False: the walk reached its bound, the figures are at least so much


class FileEvidence(Record, frozen=True, kw_only=True, tag_field="kind", tag="file"):
    """A large file."""

    id: EvidenceId
    path: Text
    bytes: Count
    modified_at: datetime


class UnitEvidence(Record, frozen=True, kw_only=True, tag_field="kind", tag="unit"):
    """A systemd unit as `systemctl show` tells it."""

    id: EvidenceId
    unit: Name
    active_state: Name
    sub_state: Name
    result: Name
    exit_status: int
    restarts: Count


class MetricEvidence(Record, frozen=True, kw_only=True, tag_field="kind", tag="metric"):
    """The measured value that fired, and its last samples, oldest first."""

    id: EvidenceId
    name: Name
    value: float
    limit: float
    unit: Name
    samples: Annotated[tuple[float, ...], msgspec.Meta(max_length=120)]


class LogEvidence(Record, frozen=True, kw_only=True, tag_field="kind", tag="log"):
    """A journal line, as data; control characters are shown, never passed on."""

    id: EvidenceId
    source: Name
    line: Text


Evidence = (
    ProcessEvidence
    | MountEvidence
    | DirectoryEvidence
    | FileEvidence
    | UnitEvidence
    | MetricEvidence
    | LogEvidence
)


class Finding(Record, frozen=True, kw_only=True, tag_field="type", tag="finding"):
    """An anomaly that lasted long enough to be believed, with what was seen at that moment."""

    finding_id: Name
    condition: Condition
    subject: Text  # a mount, a unit, "host", or "pid 4711 (leaky)"
    severity: Severity
    summary: Text  # one sentence for a person
    observed: float
    limit: float
    unit: Name
    first_bad_at: datetime
    fired_at: datetime
    boot_id: Name  # pid and start time mean something only within one boot
    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(max_length=256)]
    role: Name | None = None  # what this host is for, by its own settings: "database"


class Cleared(Record, frozen=True, kw_only=True, tag_field="type", tag="cleared"):
    """The condition of a finding has ended; `order_id` when our own order preceded it."""

    finding_id: Name
    cleared_at: datetime
    observed: float
    order_id: Name | None = None


class Persisting(Record, frozen=True, kw_only=True, tag_field="type", tag="persisting"):
    """An order ran, the hold time passed, and the detector still sees the condition."""

    finding_id: Name
    order_id: Name
    measured_at: datetime
    observed: float
    limit: float


class Outcome(StrEnum):
    """What became of an order on the node."""

    REFUSED = "refused"  # a check said no; nothing ran
    DRY_RUN = "dry_run"  # every check passed; nothing ran, by setting
    SUCCEEDED = "succeeded"  # every command ended with status 0
    FAILED = "failed"  # a command failed; those after it did not run
    TIMED_OUT = "timed_out"  # the deadline came; the process group was killed
    UNKNOWN = "outcome_unknown"  # a crash in the middle; a person must look


class StepResult(Record, frozen=True, kw_only=True):
    """One command of an order as it ran."""

    index: Count
    argv: tuple[tuple[Text, ...], ...]  # the argument vectors, in the order they stand
    exit_status: int | None = None  # None: killed before it ended
    started_at: datetime
    duration_s: float
    output: Annotated[str, msgspec.Meta(max_length=MAX_OUTPUT_BYTES)]
    output_bytes: Count  # all of it, kept or not
    output_sha256: Digest  # over all of it


class Report(Record, frozen=True, kw_only=True, tag_field="type", tag="report"):
    """The executor's word on one order; each order has exactly one last report."""

    report_id: Name
    order_id: Name
    outcome: Outcome
    refused_step: Text | None = None  # the numbered check that refused
    reason: Text = ""
    steps: Annotated[tuple[StepResult, ...], msgspec.Meta(max_length=MAX_STEPS)] = ()
    finished_at: datetime
    undo_of: Name | None = None  # the report this one undoes; then `steps` are the undo commands
    number: Count = 0  # of this node's reports, from 1 and dense: a missing one shows
    previous: Name = ""  # SHA-256, in hex, of the report before this one; empty for the first
    log_size: Count = 0  # of the newest checkpoint that this node has accepted
    signature: Name = ""  # the executor's own Ed25519 signature, base64, over all the rest


class Dropped(Record, frozen=True, kw_only=True, tag_field="type", tag="dropped"):
    """The spool was full: so many events were not kept since the last such count."""

    count: Count
    first_at: datetime
    last_at: datetime


Body = Finding | Cleared | Persisting | Report | Dropped


class Event(Record, frozen=True, kw_only=True):
    """One thing a node tells the hub. The node's name is in its certificate, not here."""

    event_id: Name
    body: Body


class Step(Record, frozen=True, kw_only=True):
    """One command of a plan, with what it is for and what undoes it."""

    command: Text
    purpose: Text
    undo: Text | None = None  # None: nothing undoes it, and the console says so


class ModelRun(Record, frozen=True, kw_only=True):
    """How the model's part was produced, enough to do it again."""

    name: Name
    sha256: Digest
    seed: int
    parameters: dict[str, int | str]
    prompt_sha256: Digest
    output_sha256: Digest
    prompt_tokens: Count
    output_tokens: Count
    prompt_ms: Count
    output_ms: Count


class Candidate(Record, frozen=True, kw_only=True):
    """One possible culprit in the deterministic ranking, best first."""

    evidence_id: EvidenceId
    label: Text
    cause: Name  # a key of the catalogue
    score: Count  # 0..100
    why: Text


class Plan(Record, frozen=True, kw_only=True):
    """A proposal: the deterministic diagnosis, the model's choice, and commands to judge."""

    plan_id: Name
    incident_id: Name
    origin: Name  # "model", "catalogue" or "operator"
    diagnosis: Text
    candidates: Annotated[tuple[Candidate, ...], msgspec.Meta(max_length=16)]
    culprit: EvidenceId | None  # None: abstained
    confidence_percent: Annotated[int, msgspec.Meta(ge=0, le=100)]
    citations: tuple[EvidenceId, ...]
    steps: Annotated[tuple[Step, ...], msgspec.Meta(max_length=MAX_STEPS)]
    expected_effect: Text
    model: ModelRun | None
    model_error: Text | None = None  # why the model has no part in it
    author: Name | None = None  # the operator who wrote the commands


class Mode(StrEnum):
    """Whether an order is rehearsed or run."""

    DRY_RUN = "dry_run"
    LIVE = "live"


class JudgedStep(Record, frozen=True, kw_only=True):
    """A command with its verdict, as an operator is shown it."""

    command: Text
    purpose: Text
    undo: Text | None
    ruling: Name  # allow, review or block
    rule: Text  # file:line
    why: Text
    program_digest: Digest | None  # of the canonical program, where there is one
    argv: tuple[tuple[Text, ...], ...] = ()  # its argument vectors: what really runs
    risk: Name = "low"  # as the policy names it; the quorum depends on it
    undo_ruling: Name | None = None
    undo_digest: Digest | None = None
    undo_argv: tuple[tuple[Text, ...], ...] = ()


class Shown(Record, frozen=True, kw_only=True):
    """Exactly what an operator is shown and says yes to; its digest binds the approval."""

    incident_id: Name
    plan_id: Name
    node: Name
    finding_id: Name
    evidence_digest: Digest
    steps: tuple[JudgedStep, ...]
    ruling: Name
    policy_digest: Digest
    policy_sequence: Count = 0  # of the signed policy; 0: rules from a folder
    mode: Mode
    not_after: datetime
    author: Name | None = None  # the operator who wrote or edited it; they may not approve it
    approvals_needed: Annotated[int, msgspec.Meta(ge=1, le=MOST_APPROVALS)] = 1
    nonce: Name = ""  # so that the same plan shown twice is two plans


class WebAuthnSignature(Record, frozen=True, kw_only=True, tag_field="kind", tag="webauthn"):
    """An assertion by a security key, smart card or platform key; all in base64url."""

    credential_id: Annotated[str, msgspec.Meta(max_length=1400)]
    authenticator_data: Text
    client_data: Text
    signature: Text


class KeySignature(Record, frozen=True, kw_only=True, tag_field="kind", tag="ed25519"):
    """A signature made on a terminal with an operator's own Ed25519 key."""

    credential_id: Digest  # SHA-256 of the raw public key
    signature: Name  # base64


OperatorSignature = WebAuthnSignature | KeySignature


class Approval(Record, frozen=True, kw_only=True):
    """A named operator's yes to one digest, with their own signature over it."""

    approval_id: Name
    operator: Name
    shown_digest: Digest
    approved_at: datetime
    comment: Text
    signature: OperatorSignature | None = None  # None: a site with approval by password only


class Logged(Record, frozen=True, kw_only=True):
    """An approval, its entry of the audit log, and the proof that the entry is in it."""

    approval: Approval
    entry: Annotated[str, msgspec.Meta(max_length=60000)]  # the entry, as its line
    proof: Annotated[str, msgspec.Meta(max_length=16384)]  # C2SP tlog-proof


class Order(Record, frozen=True, kw_only=True):
    """What the hub lets one node run, once."""

    order_id: Name
    node: Name  # the certificate name that may open it
    shown: Shown
    finding: Finding  # the evidence that commands may refer to
    approvals: Annotated[tuple[Logged, ...], msgspec.Meta(min_length=1, max_length=MOST_APPROVALS)]
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)]  # for each command
    not_after: datetime  # a late order is refused, not run late


def to_json(record: Any) -> bytes:
    """A record as compact JSON with sorted keys."""
    return msgspec.json.encode(record, order="sorted")


def from_json(data: bytes | str, kind: type[R]) -> R:
    """Read a record strictly; raises `RefusedError` naming the field that is wrong."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"not a valid {getattr(kind, '__name__', 'record')}: {error}") from error


def from_builtins(value: Any, kind: type[R]) -> R:
    """Read a record from decoded JSON, as strictly."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise RefusedError(f"not a valid {getattr(kind, '__name__', 'record')}: {error}") from error


def digest_of(record: Any) -> str:
    """SHA-256, in hex, over the canonical bytes of a record; floats are written as text there."""
    return canonical.digest(_without_floats(msgspec.to_builtins(record)))


def _without_floats(value: Any) -> Any:
    match value:
        case float():
            return repr(value)
        case dict():
            return {key: _without_floats(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_floats(item) for item in value]
        case _:
            return value
