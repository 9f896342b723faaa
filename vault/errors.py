"""What can go wrong with Vault, in words an operator can read."""

from appliance.errors import RefusedError, SentinelError


class VaultError(SentinelError):
    """Vault did not do what was asked: unreachable, sealed, or it refused."""

    code = "vault"


class VaultAwayError(VaultError):
    """Vault is absent, sealed or slow: what was asked may be asked again, as it is."""

    code = "vault-away"


class VaultDeniedError(VaultError):
    """Vault answered, and its answer is no."""

    code = "vault-denied"

    def __init__(self, because: str, *, status: int = 0) -> None:
        super().__init__(because)
        self.status = status


class JoinError(RefusedError):
    """A node was not enrolled; the text says which check refused, and what to do."""

    code = "join"


class StolenTokenError(JoinError):
    """The token was unwrapped before this node came: somebody else may hold what was in it."""

    code = "token-stolen"


class RevocationError(RefusedError):
    """A revocation list was not taken: unsigned, of another issuer, or older than ours."""

    code = "revocation"
