"""The agent's settings: every key of agent.toml, with its unit and its default.

Those of the executor are in `agent/executor_settings.py`, apart, because it does without grpc.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from agent.executor_settings import ExecutorSettings, Role
from agent.limits import Limits, Megabytes, Samples, Seconds
from appliance.channel import Identity
from appliance.records import Condition
from appliance.settings import Settings
from vault.settings import VaultSite

__all__ = ["AgentSettings", "ExecutorSettings", "Limits"]


class AgentSettings(Settings, frozen=True, kw_only=True):
    """agent.toml."""

    hub: Annotated[str, msgspec.Meta(pattern=r"^[^\s:]+:[0-9]{1,5}$")]  # host:port
    identity: Identity  # this node's certificate, its key, and the CA it believes
    state_dir: Path  # spool and status; belongs to the agent
    executor_socket: Path  # where sentinel-executor listens
    hub_name: str = ""  # the DNS name the hub's certificate must carry; "": the host of `hub`
    role: Role | None = None  # what this host is for; rules may be only for some roles
    cycle_s: Seconds = 5.0  # one look at the host
    fire_after: Samples = 3  # bad samples in a row that make a finding
    clear_after: Samples = 3  # good samples in a row that end it
    hold_s: Seconds = 60.0  # after an order: how long the condition may still last
    hold_s_of: dict[Condition, Seconds] = msgspec.field(default_factory=dict)  # by condition
    spool_limit_mb: Megabytes = 64  # what waits for the hub; beyond it the oldest is dropped
    limits: Limits = Limits()
    vault: VaultSite | None = None  # where the certificate is renewed; none: by other means
    crl_required: bool = False  # without a current revocation list the hub is not spoken to

    def hold(self, condition: Condition) -> timedelta:
        """How long a condition may still last after an order; then its rollback is asked for.

        A setting of the host and not of the rule that allowed the command: it is the measurement
        that takes its time (a window, so many good samples), and the agent does not read policy.
        """
        return timedelta(seconds=self.hold_s_of.get(condition, self.hold_s))
