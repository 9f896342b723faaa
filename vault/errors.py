"""What can go wrong with Vault, in words an operator can read."""

from appliance.errors import SentinelError


class VaultError(SentinelError):
    """Vault did not do what was asked: unreachable, sealed, or it refused."""

    code = "vault"
