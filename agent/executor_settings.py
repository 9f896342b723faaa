"""The executor's settings: every key of executor.toml, with its unit and its default."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agent.command_limits import CommandLimits
from appliance.records import Mode
from appliance.settings import Settings

Role = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Actions = Annotated[int, msgspec.Meta(ge=0, le=100)]  # agent.journal_file keeps more orders
RunIn = Literal["auto", "units", "processes"]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class ExecutorSettings(Settings, frozen=True, kw_only=True):
    """executor.toml: what this node believes, and what it may do."""

    node: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]  # this node's certificate name
    socket: Path  # where the agent hands orders over
    state_dir: Path  # the execution journal and the last accepted checkpoint
    trust_root: Path | None = None  # the site's TUF root: policy, people and keys come under it
    order_key: Path | None = None  # without trust_root: the hub's order key, public half (PEM)
    audit_vkey: Path | None = None  # without trust_root: the audit log's keys, or their root key
    audit_epochs: Path | None = None  # with the root key as audit_vkey: the epochs it certified
    first_checkpoint: Path | None = None  # signed checkpoint to start from; none: the first to come
    policy: Path | None = None  # folder of rules or signed policy file; none: the shipped rules
    policy_key: Path | None = None  # with it, only a policy file that this key signed (PEM)
    policy_overlay: Path | None = None  # this node's own file over the policy; it only tightens
    people: Path | None = None  # people.json: who may say yes; none: every live order is refused
    role: Role | None = None  # as in agent.toml; an order for another role is refused
    mode: Mode = Mode.DRY_RUN  # "live" lets orders run that say so themselves
    agent_user: str | None = None  # who may hand orders over; none: the executor's own user
    most_timeout_s: Seconds = 300.0  # of one command, whatever the order says
    run_in: RunIn = "auto"  # auto: a unit for each command where systemd runs, else a process
    limits: CommandLimits = CommandLimits()
    most_actions_per_hour: Actions = 12  # commands that change something; rollbacks count, and run
    undo_within_s: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 3600.0  # after the order ended
    journal_keep_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30  # of orders that are over
