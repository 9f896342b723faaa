"""Where a site's Vault is, and under which names it has what a node or the hub asks of it."""

from pathlib import Path
from typing import Annotated

import msgspec

from appliance.settings import Settings

Mount = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,126}[A-Za-z0-9]$")]


class VaultSite(Settings, frozen=True, kw_only=True):
    """One Vault or OpenBao, and the mounts in it."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/]+$")]  # http: on this machine alone
    ca: Path | None = None  # of Vault's own certificate, in PEM; none: what the system believes
    namespace: str = ""  # where the mounts are, if they are in one
    pki: Mount = "pki_int"  # the mount that issues certificates
    pki_role: Mount = "node"  # the role there for nodes
    cert_auth: Mount = "cert"  # the mount that a certificate signs in at
    cert_role: Mount = "node"  # the role there for nodes
    enroll_role: Mount = "sentinel-enroll"  # the token role of those who join
