"""Plain requests to one Vault: read, list and write a path, and say in words what did not work.

Tells *away* (absent, sealed, slow, starting: ask again) from *refused* (a wrong token, a path that
is not there). No proxy, no redirect, no variable of the environment steers where a token goes.
What is asked, and what an answer means, is for `vault/setup` and `vault/secret.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac.exceptions import (
    BadGateway,
    InternalServerError,
    InvalidPath,
    RateLimitExceeded,
    VaultDown,
)
from hvac.exceptions import VaultError as HvacError

from vault.errors import VaultAwayError, VaultError

TIMEOUT_S = 5.0

_AWAY = (VaultDown, BadGateway, InternalServerError, RateLimitExceeded)  # 503: sealed or starting


class Door:
    """One Vault, one namespace of it, one token."""

    def __init__(
        self,
        *,
        url: str,
        token: str = "",
        namespace: str = "",
        ca: Path | None = None,
        client_certificate: tuple[Path, Path] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        if ca is not None and not ca.is_file():
            raise VaultError(f"{ca}: cannot read the CA of Vault's certificate")
        self.url, self.namespace = url, namespace
        session = requests.Session()
        session.trust_env = False
        session.verify = str(ca) if ca else True
        if client_certificate is not None:
            session.cert = (str(client_certificate[0]), str(client_certificate[1]))
        self._client = hvac.Client(
            url=url,
            token=token,  # "" and not None, or hvac looks for one in the environment
            namespace=namespace or None,
            verify=session.verify,
            cert=session.cert,
            timeout=timeout_s,
            allow_redirects=False,
            session=session,
        )

    def in_root_namespace(self) -> "Door":
        """The same Vault with the same token, where audit devices live."""
        if not self.namespace:
            return self
        session = self._client.session
        door = Door(url=self.url, token=self._client.token)
        door._client.adapter.session = session
        return door

    @property
    def token(self) -> str:
        """The token it shows."""
        return str(self._client.token or "")

    def with_token(self, token: str) -> None:
        """Use this token from now on."""
        self._client.token = token

    def read(self, path: str) -> dict[str, Any] | None:
        """The data at a path; None when there is nothing."""
        answer = self._ask("get", path)
        return None if answer is None else _data(answer, path)

    def list(self, path: str) -> list[str]:
        """The names below a path."""
        answer = self._ask("list", path)
        return [] if answer is None else [str(one) for one in _data(answer, path).get("keys", [])]

    def write(self, path: str, data: Mapping[str, Any], *, method: str = "post") -> dict[str, Any]:
        """Write; what Vault answers, `auth` for a log-in, `data` otherwise."""
        answer = self._ask(method, path, data)
        if answer is None:
            raise VaultError(f"Vault refused; could not write {path}: there is no such path")
        if isinstance(answer.get("auth"), dict):
            return dict(answer["auth"])
        return dict(answer.get("data") or {})

    def _ask(
        self, method: str, path: str, data: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        verb = "write" if data is not None else "read"
        with _words(self.url, f"{verb} {path}"):
            try:
                answer = self._client.adapter.request(
                    method, f"/v1/{path}", **({} if data is None else {"json": dict(data)})
                )
            except InvalidPath:
                return None
        if isinstance(answer, dict):
            return answer
        status = getattr(answer, "status_code", 0)
        if status == 204:  # noqa: PLR2004 - done, and nothing to say
            return {}
        raise VaultError(f"{self.url} answers something that is no Vault's answer ({status})")


def _data(answer: Mapping[str, Any], path: str) -> dict[str, Any]:
    data = answer.get("data")
    if not isinstance(data, dict):
        raise VaultError(f"Vault's answer about {path} has no data")
    return data


@contextmanager
def _words(url: str, what: str) -> Iterator[None]:
    """What hvac and the network raise, as one line that holds no token and no secret."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise VaultError(
            f"{url} is not the Vault we believe: its certificate is refused"
        ) from error
    except requests.Timeout as error:
        raise VaultAwayError(f"Vault at {url} is slow; could not {what}") from error
    except requests.RequestException as error:
        raise VaultAwayError(f"Vault does not answer at {url}; could not {what}") from error
    except _AWAY as error:
        sealed = "is sealed" if "sealed" in str(error).lower() else "is not ready"
        raise VaultAwayError(f"Vault at {url} {sealed}; could not {what}") from error
    except HvacError as error:
        raise VaultError(f"Vault refused; could not {what}: {_reason(error)}") from error


def _reason(error: HvacError) -> str:
    errors: Sequence[str] = error.errors or [str(error)]
    lines = [line.strip(" *\t") for text in errors for line in str(text).splitlines()]
    said = [line for line in lines if line and not line.endswith(":")]
    return (said or ["no reason given"])[0][:300]
