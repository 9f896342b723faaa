import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FromAgent(_message.Message):
    __slots__ = ("hello", "event", "order_taken", "order_stale", "log_seen", "trust_held", "node_state")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ORDER_TAKEN_FIELD_NUMBER: _ClassVar[int]
    ORDER_STALE_FIELD_NUMBER: _ClassVar[int]
    LOG_SEEN_FIELD_NUMBER: _ClassVar[int]
    TRUST_HELD_FIELD_NUMBER: _ClassVar[int]
    NODE_STATE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    event: Event
    order_taken: OrderTaken
    order_stale: OrderStale
    log_seen: LogSeen
    trust_held: TrustHeld
    node_state: NodeState
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., order_taken: _Optional[_Union[OrderTaken, _Mapping]] = ..., order_stale: _Optional[_Union[OrderStale, _Mapping]] = ..., log_seen: _Optional[_Union[LogSeen, _Mapping]] = ..., trust_held: _Optional[_Union[TrustHeld, _Mapping]] = ..., node_state: _Optional[_Union[NodeState, _Mapping]] = ...) -> None: ...

class FromHub(_message.Message):
    __slots__ = ("welcome", "ack", "order", "nack", "log_advance", "trust", "halt")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    NACK_FIELD_NUMBER: _ClassVar[int]
    LOG_ADVANCE_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    HALT_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    ack: Ack
    order: SealedOrder
    nack: Nack
    log_advance: LogAdvance
    trust: TrustBundle
    halt: Halt
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., order: _Optional[_Union[SealedOrder, _Mapping]] = ..., nack: _Optional[_Union[Nack, _Mapping]] = ..., log_advance: _Optional[_Union[LogAdvance, _Mapping]] = ..., trust: _Optional[_Union[TrustBundle, _Mapping]] = ..., halt: _Optional[_Union[Halt, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("agent_version", "protocol", "boot_id", "spooled", "dry_run")
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SPOOLED_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    agent_version: str
    protocol: int
    boot_id: str
    spooled: int
    dry_run: bool
    def __init__(self, agent_version: _Optional[str] = ..., protocol: _Optional[int] = ..., boot_id: _Optional[str] = ..., spooled: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("hub_version", "max_in_flight")
    HUB_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    hub_version: str
    max_in_flight: int
    def __init__(self, hub_version: _Optional[str] = ..., max_in_flight: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("event_ids",)
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, event_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Nack(_message.Message):
    __slots__ = ("event_id", "reason")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    reason: str
    def __init__(self, event_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SealedOrder(_message.Message):
    __slots__ = ("order_id", "envelope", "log_from", "consistency")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    LOG_FROM_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    envelope: bytes
    log_from: int
    consistency: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, order_id: _Optional[str] = ..., envelope: _Optional[bytes] = ..., log_from: _Optional[int] = ..., consistency: _Optional[_Iterable[bytes]] = ...) -> None: ...

class OrderTaken(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    def __init__(self, order_id: _Optional[str] = ...) -> None: ...

class OrderStale(_message.Message):
    __slots__ = ("order_id", "seen_size")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SEEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    seen_size: int
    def __init__(self, order_id: _Optional[str] = ..., seen_size: _Optional[int] = ...) -> None: ...

class LogAdvance(_message.Message):
    __slots__ = ("note", "log_from", "consistency", "decision")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    LOG_FROM_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    note: str
    log_from: int
    consistency: _containers.RepeatedScalarFieldContainer[bytes]
    decision: bytes
    def __init__(self, note: _Optional[str] = ..., log_from: _Optional[int] = ..., consistency: _Optional[_Iterable[bytes]] = ..., decision: _Optional[bytes] = ...) -> None: ...

class LogSeen(_message.Message):
    __slots__ = ("size", "root", "cosignature", "refusal", "kept", "vkey", "fork")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    VKEY_FIELD_NUMBER: _ClassVar[int]
    FORK_FIELD_NUMBER: _ClassVar[int]
    size: int
    root: str
    cosignature: str
    refusal: str
    kept: str
    vkey: str
    fork: str
    def __init__(self, size: _Optional[int] = ..., root: _Optional[str] = ..., cosignature: _Optional[str] = ..., refusal: _Optional[str] = ..., kept: _Optional[str] = ..., vkey: _Optional[str] = ..., fork: _Optional[str] = ...) -> None: ...

class TrustBundle(_message.Message):
    __slots__ = ("files",)
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    FILES_FIELD_NUMBER: _ClassVar[int]
    files: _containers.ScalarMap[str, bytes]
    def __init__(self, files: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class TrustHeld(_message.Message):
    __slots__ = ("versions", "refusal")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.ScalarMap[str, int]
    refusal: str
    def __init__(self, versions: _Optional[_Mapping[str, int]] = ..., refusal: _Optional[str] = ...) -> None: ...

class NodeState(_message.Message):
    __slots__ = ("halted", "reason", "result_key")
    HALTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESULT_KEY_FIELD_NUMBER: _ClassVar[int]
    halted: bool
    reason: str
    result_key: str
    def __init__(self, halted: _Optional[bool] = ..., reason: _Optional[str] = ..., result_key: _Optional[str] = ...) -> None: ...

class Halt(_message.Message):
    __slots__ = ("halt_id", "reason", "resume")
    HALT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    halt_id: str
    reason: str
    resume: bytes
    def __init__(self, halt_id: _Optional[str] = ..., reason: _Optional[str] = ..., resume: _Optional[bytes] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("event_id", "body")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    body: Body
    def __init__(self, event_id: _Optional[str] = ..., body: _Optional[_Union[Body, _Mapping]] = ...) -> None: ...

class Body(_message.Message):
    __slots__ = ("finding", "cleared", "persisting", "report", "dropped")
    FINDING_FIELD_NUMBER: _ClassVar[int]
    CLEARED_FIELD_NUMBER: _ClassVar[int]
    PERSISTING_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    finding: Finding
    cleared: Cleared
    persisting: Persisting
    report: Report
    dropped: Dropped
    def __init__(self, finding: _Optional[_Union[Finding, _Mapping]] = ..., cleared: _Optional[_Union[Cleared, _Mapping]] = ..., persisting: _Optional[_Union[Persisting, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., dropped: _Optional[_Union[Dropped, _Mapping]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("finding_id", "condition", "subject", "severity", "summary", "observed", "limit", "unit", "first_bad_at", "fired_at", "boot_id", "evidence", "role")
    FINDING_ID_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    FIRST_BAD_AT_FIELD_NUMBER: _ClassVar[int]
    FIRED_AT_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    finding_id: str
    condition: str
    subject: str
    severity: str
    summary: str
    observed: float
    limit: float
    unit: str
    first_bad_at: _timestamp_pb2.Timestamp
    fired_at: _timestamp_pb2.Timestamp
    boot_id: str
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    role: str
    def __init__(self, finding_id: _Optional[str] = ..., condition: _Optional[str] = ..., subject: _Optional[str] = ..., severity: _Optional[str] = ..., summary: _Optional[str] = ..., observed: _Optional[float] = ..., limit: _Optional[float] = ..., unit: _Optional[str] = ..., first_bad_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., fired_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., boot_id: _Optional[str] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ..., role: _Optional[str] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("process", "mount", "directory", "file", "unit", "metric", "log")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    MOUNT_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    process: Process
    mount: Mount
    directory: Directory
    file: File
    unit: Unit
    metric: Metric
    log: Log
    def __init__(self, process: _Optional[_Union[Process, _Mapping]] = ..., mount: _Optional[_Union[Mount, _Mapping]] = ..., directory: _Optional[_Union[Directory, _Mapping]] = ..., file: _Optional[_Union[File, _Mapping]] = ..., unit: _Optional[_Union[Unit, _Mapping]] = ..., metric: _Optional[_Union[Metric, _Mapping]] = ..., log: _Optional[_Union[Log, _Mapping]] = ...) -> None: ...

class Process(_message.Message):
    __slots__ = ("id", "pid", "started_ticks", "name", "command", "owner", "rss_bytes", "growth_bytes_per_s", "cpu_percent", "unit", "protected")
    ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STARTED_TICKS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    GROWTH_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    PROTECTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    pid: int
    started_ticks: int
    name: str
    command: str
    owner: str
    rss_bytes: int
    growth_bytes_per_s: float
    cpu_percent: float
    unit: str
    protected: str
    def __init__(self, id: _Optional[str] = ..., pid: _Optional[int] = ..., started_ticks: _Optional[int] = ..., name: _Optional[str] = ..., command: _Optional[str] = ..., owner: _Optional[str] = ..., rss_bytes: _Optional[int] = ..., growth_bytes_per_s: _Optional[float] = ..., cpu_percent: _Optional[float] = ..., unit: _Optional[str] = ..., protected: _Optional[str] = ...) -> None: ...

class Mount(_message.Message):
    __slots__ = ("id", "mount", "device", "fstype", "size_bytes", "used_bytes", "inodes", "inodes_used")
    ID_FIELD_NUMBER: _ClassVar[int]
    MOUNT_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    FSTYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    INODES_USED_FIELD_NUMBER: _ClassVar[int]
    id: str
    mount: str
    device: str
    fstype: str
    size_bytes: int
    used_bytes: int
    inodes: int
    inodes_used: int
    def __init__(self, id: _Optional[str] = ..., mount: _Optional[str] = ..., device: _Optional[str] = ..., fstype: _Optional[str] = ..., size_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ..., inodes: _Optional[int] = ..., inodes_used: _Optional[int] = ...) -> None: ...

class Directory(_message.Message):
    __slots__ = ("id", "path", "bytes", "files", "complete")
    ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    id: str
    path: str
    bytes: int
    files: int
    complete: bool
    def __init__(self, id: _Optional[str] = ..., path: _Optional[str] = ..., bytes: _Optional[int] = ..., files: _Optional[int] = ..., complete: _Optional[bool] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("id", "path", "bytes", "modified_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    path: str
    bytes: int
    modified_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., path: _Optional[str] = ..., bytes: _Optional[int] = ..., modified_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Unit(_message.Message):
    __slots__ = ("id", "unit", "active_state", "sub_state", "result", "exit_status", "restarts")
    ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_STATE_FIELD_NUMBER: _ClassVar[int]
    SUB_STATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    EXIT_STATUS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    unit: str
    active_state: str
    sub_state: str
    result: str
    exit_status: int
    restarts: int
    def __init__(self, id: _Optional[str] = ..., unit: _Optional[str] = ..., active_state: _Optional[str] = ..., sub_state: _Optional[str] = ..., result: _Optional[str] = ..., exit_status: _Optional[int] = ..., restarts: _Optional[int] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("id", "name", "value", "limit", "unit", "samples")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    value: float
    limit: float
    unit: str
    samples: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., value: _Optional[float] = ..., limit: _Optional[float] = ..., unit: _Optional[str] = ..., samples: _Optional[_Iterable[float]] = ...) -> None: ...

class Log(_message.Message):
    __slots__ = ("id", "source", "line")
    ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    id: str
    source: str
    line: str
    def __init__(self, id: _Optional[str] = ..., source: _Optional[str] = ..., line: _Optional[str] = ...) -> None: ...

class Cleared(_message.Message):
    __slots__ = ("finding_id", "cleared_at", "observed", "order_id")
    FINDING_ID_FIELD_NUMBER: _ClassVar[int]
    CLEARED_AT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    finding_id: str
    cleared_at: _timestamp_pb2.Timestamp
    observed: float
    order_id: str
    def __init__(self, finding_id: _Optional[str] = ..., cleared_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., observed: _Optional[float] = ..., order_id: _Optional[str] = ...) -> None: ...

class Persisting(_message.Message):
    __slots__ = ("finding_id", "order_id", "measured_at", "observed", "limit")
    FINDING_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    finding_id: str
    order_id: str
    measured_at: _timestamp_pb2.Timestamp
    observed: float
    limit: float
    def __init__(self, finding_id: _Optional[str] = ..., order_id: _Optional[str] = ..., measured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., observed: _Optional[float] = ..., limit: _Optional[float] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("report_id", "order_id", "outcome", "refused_step", "reason", "steps", "finished_at", "undo_of", "number", "previous", "log_size", "signature")
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSED_STEP_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    UNDO_OF_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    LOG_SIZE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    report_id: str
    order_id: str
    outcome: str
    refused_step: str
    reason: str
    steps: _containers.RepeatedCompositeFieldContainer[StepResult]
    finished_at: _timestamp_pb2.Timestamp
    undo_of: str
    number: int
    previous: str
    log_size: int
    signature: str
    def __init__(self, report_id: _Optional[str] = ..., order_id: _Optional[str] = ..., outcome: _Optional[str] = ..., refused_step: _Optional[str] = ..., reason: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[StepResult, _Mapping]]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., undo_of: _Optional[str] = ..., number: _Optional[int] = ..., previous: _Optional[str] = ..., log_size: _Optional[int] = ..., signature: _Optional[str] = ...) -> None: ...

class StepResult(_message.Message):
    __slots__ = ("index", "argv", "exit_status", "started_at", "duration_s", "output", "output_bytes", "output_sha256")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ARGV_FIELD_NUMBER: _ClassVar[int]
    EXIT_STATUS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SHA256_FIELD_NUMBER: _ClassVar[int]
    index: int
    argv: _containers.RepeatedCompositeFieldContainer[Argv]
    exit_status: int
    started_at: _timestamp_pb2.Timestamp
    duration_s: float
    output: str
    output_bytes: int
    output_sha256: str
    def __init__(self, index: _Optional[int] = ..., argv: _Optional[_Iterable[_Union[Argv, _Mapping]]] = ..., exit_status: _Optional[int] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration_s: _Optional[float] = ..., output: _Optional[str] = ..., output_bytes: _Optional[int] = ..., output_sha256: _Optional[str] = ...) -> None: ...

class Argv(_message.Message):
    __slots__ = ("words",)
    WORDS_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, words: _Optional[_Iterable[str]] = ...) -> None: ...

class Dropped(_message.Message):
    __slots__ = ("count", "first_at", "last_at")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_AT_FIELD_NUMBER: _ClassVar[int]
    count: int
    first_at: _timestamp_pb2.Timestamp
    last_at: _timestamp_pb2.Timestamp
    def __init__(self, count: _Optional[int] = ..., first_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
