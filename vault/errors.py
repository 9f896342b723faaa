"""What can go wrong with Vault, in words an operator can read."""

from appliance.errors import SentinelError


class VaultError(SentinelError):
    """Vault did not do what was asked: unreachable, sealed, or it refused."""

    code = "vault"


class VaultAwayError(VaultError):
    """Vault is absent, sealed or slow: what was asked may be asked again, as it is."""

    code = "vault-away"
