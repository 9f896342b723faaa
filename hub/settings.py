"""Settings of `sentinel-hub serve` and `sentinel-hub notary`, one TOML file each."""

from pathlib import Path
from typing import Annotated

import msgspec

from appliance.channel import Identity
from appliance.records import Mode
from appliance.settings import Settings
from vault.access import VaultAccess
from vault.settings import VaultSite

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class ServeSettings(Settings, frozen=True, kw_only=True):
    """`sentinel-hub serve`: the gRPC end of the agents' streams, judgement and dispatch."""

    dsn: str  # PostgreSQL connection string, without a password
    password: str | None = None  # where its password is: `vault:PATH#FIELD` or `credential:NAME`
    secrets: VaultAccess | None = None  # the Vault that `vault:` is in
    identity: Identity  # the hub's server certificate, its key, and the CA of the nodes
    order_key: Path  # Ed25519 private key (PEM) that signs orders
    log_origin: str  # the audit log's name, as in its checkpoints
    audit_vkey: Path  # the log's public key, or all of them, one a line: proofs are checked here
    trust_root: Path | None = None  # the site's TUF root: policy, people and keys come under it
    trust_key: Path | None = None  # Ed25519 private key (PEM) that keeps what is published fresh
    policy: Path | None = None  # folder of rules or signed policy file; none: the shipped rules
    policy_key: Path | None = None  # with it, only a policy file that this key signed (PEM)
    witnesses: Path | None = None  # C2SP tlog-policy; those with a URL are asked to cosign the log
    witness_ca: Path | None = None  # CA (PEM) of their TLS certificates; none: public ones
    bind: str = "0.0.0.0"  # noqa: S104 - agents come from other hosts
    port: Port = 7443
    mode: Mode = Mode.DRY_RUN  # "live" lets approved plans run where the node agrees
    answer_within_s: Seconds = 3600.0  # an unanswered plan expires then
    order_valid_s: Seconds = 300.0  # a node that gets the order later refuses it
    command_timeout_s: Seconds = 30.0  # of each command on the node
    report_within_s: Seconds = 600.0  # after the order's end; then the outcome is unknown
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256  # events per stream
    vault: VaultSite | None = None  # where nodes' certificates come from, and what is revoked
    crl: Path | None = None  # the last verified revocation list; none: our own rows alone count
    crl_every_s: Seconds = 3.0  # how often Vault is asked for it
    crl_required: bool = True  # with `crl`: without a current list no node is admitted
    tickets_every_s: Seconds = 30.0  # how often Vault is asked which joining tokens were opened
    joins_within_s: Seconds = 300.0  # an opened token without its node is an incident after this


class SecondSigner(Settings, frozen=True, kw_only=True):
    """An Ed25519 key of Vault's transit engine that signs each checkpoint beside the log's own."""

    url: str  # of Vault or OpenBao
    token: Path  # a token that may sign with this key and read it: a file, or `credential:NAME`
    vkey: (
        Path  # the key's public half, one vkey line named ORIGIN/second; what is not it is refused
    )
    key: str = "sentinel-audit"  # its name in Vault
    mount: str = "sentinel-transit"
    namespace: str = ""  # of Vault, where the mount is
    ca: Path | None = None  # of Vault's certificate, in PEM


class NotarySettings(Settings, frozen=True, kw_only=True):
    """`sentinel-hub notary`: the only writer of the audit log."""

    dsn: str  # PostgreSQL connection string, without a password
    password: str | None = None  # where its password is: `vault:PATH#FIELD` or `credential:NAME`
    secrets: VaultAccess | None = None  # the Vault that `vault:` is in
    folder: Path  # of the log: segments, checkpoints, torn writes
    origin: str  # the log's name, first line of every checkpoint
    key: Path | None = (
        None  # Ed25519 private key (PEM) that signs checkpoints; with `epochs`: epoch 0
    )
    epochs: Path | None = None  # the list of epoch keys, as the security officer certified it
    epoch_root: Path | None = None  # the vkey of the root key that certified it
    epoch_state: Path | None = None  # the secret of the current epoch; replaced at each rotation
    rotate_before_s: Seconds = 3600.0  # the key changes so long before its epoch ends
    trust_root: Path | None = None  # the site's TUF root: who may decide to go on after a fork
    second: SecondSigner | None = None  # Vault signs, too; while it does not, the log waits
    idle_checkpoint_s: Seconds = 60.0  # a time.status entry, so that silence is evidence
    group: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256  # entries per commit, at most
