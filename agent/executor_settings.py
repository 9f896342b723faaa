"""The executor's settings: every key of executor.toml, with its unit and its default."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agent.sandbox import CommandLimits
from appliance.records import Mode
from appliance.settings import Settings

Role = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
RunIn = Literal["auto", "units", "processes"]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class ExecutorSettings(Settings, frozen=True, kw_only=True):
    """executor.toml: what this node believes, and what it may do."""

    node: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]  # this node's certificate name
    socket: Path  # where the agent hands orders over
    state_dir: Path  # the execution journal and the last accepted checkpoint
    order_key: Path  # the hub's order key, public half (PEM)
    audit_vkey: Path  # the audit log's key, one vkey line
    policy: Path | None = None  # folder of rules or signed policy file; none: the shipped rules
    policy_key: Path | None = None  # with it, only a policy file that this key signed (PEM)
    policy_overlay: Path | None = None  # this node's own file over the policy; it only tightens
    role: Role | None = None  # as in agent.toml; an order for another role is refused
    mode: Mode = Mode.DRY_RUN  # "live" lets orders run that say so themselves
    agent_user: str | None = None  # who may hand orders over; none: the executor's own user
    most_timeout_s: Seconds = 300.0  # of one command, whatever the order says
    run_in: RunIn = "auto"  # auto: a unit for each command where systemd runs, else a process
    limits: CommandLimits = CommandLimits()
