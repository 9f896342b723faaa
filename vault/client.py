"""One request to Vault and its answer: bounded, without proxies or redirects, in few lines.

Nodes use it, where hvac with all it needs would be ten megabytes for three requests. What an
answer means is left to others; that it is small, JSON and came over TLS is made sure here.
"""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vault.errors import VaultDeniedError, VaultError
from vault.settings import VaultSite

MAX_ANSWER_BYTES = 16 * 1024 * 1024  # a list of all certificates of a large site; a CRL is smaller
TIMEOUT_S = 10.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Answer = dict[str, Any]


class Client:
    """Speaks to one Vault; `token` and `identity` are shown when they are given."""

    def __init__(
        self,
        site: VaultSite,
        *,
        token: str = "",
        identity: tuple[Path, Path] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._site, self._token, self._timeout_s = site, token, timeout_s
        parts = urlsplit(site.url)
        self._host, self._port = parts.hostname or "", parts.port
        if parts.scheme == "http" and self._host not in _LOOPBACK:
            raise VaultError(f"{site.url}: without TLS only a Vault on this machine is spoken to")
        self._tls = _context(site.ca, identity) if parts.scheme == "https" else None

    def call(
        self,
        method: str,
        path: str,
        body: Answer | None = None,
        *,
        what: str,
        token: str | None = None,
        wrap_s: int = 0,
    ) -> Answer:
        """The JSON of an answer; raises `VaultDeniedError` when Vault said no, in its words."""
        data = self.fetch(method, path, body, what=what, token=token, wrap_s=wrap_s)
        if not data.strip():
            return {}
        try:
            found = json.loads(data)
        except ValueError as error:
            raise VaultError(f"could not {what}: what answers is no Vault") from error
        if not isinstance(found, dict):
            raise VaultError(f"could not {what}: what answers is no Vault")
        return found

    def fetch(
        self,
        method: str,
        path: str,
        body: Answer | None = None,
        *,
        what: str,
        token: str | None = None,
        wrap_s: int = 0,
    ) -> bytes:
        """The bytes of an answer."""
        headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
        if shown := self._token if token is None else token:
            headers["X-Vault-Token"] = shown
        if self._site.namespace:
            headers["X-Vault-Namespace"] = self._site.namespace
        if wrap_s:
            headers["X-Vault-Wrap-TTL"] = f"{wrap_s}s"
        sent = None if body is None else json.dumps(body).encode()
        status, data = self._exchange(method, f"/v1/{path}", sent, headers, what)
        if status not in (200, 204):
            raise VaultDeniedError(
                f"Vault refused; could not {what}: {_because(data, status)}", status=status
            )
        return data

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], what: str
    ) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read(MAX_ANSWER_BYTES + 1)
        except ssl.SSLError as error:
            words = getattr(error, "verify_message", "") or error.reason or "TLS failed"
            raise VaultError(f"could not {what}: {self._site.url} is not believed: {words}") from (
                error
            )
        except (OSError, http.client.HTTPException) as error:
            raise VaultError(f"Vault does not answer; could not {what}") from error
        finally:
            connection.close()
        if len(data) > MAX_ANSWER_BYTES:
            raise VaultError(f"could not {what}: the answer has more than {MAX_ANSWER_BYTES} bytes")
        return answer.status, data

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._tls
        )


def _context(ca: Path | None, identity: tuple[Path, Path] | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if identity is not None:
            context.load_cert_chain(*identity)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (ca, *(identity or ())) if path)
        raise VaultError(f"{files}: cannot be used for TLS: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # a site's own Vault may have no newer
    return context


def _because(data: bytes, status: int) -> str:
    try:
        errors = json.loads(data)["errors"]
        words = " ".join(str(errors[0]).split()) if errors else ""
    except (ValueError, KeyError, TypeError, IndexError):
        words = ""
    return words[:300] or f"status {status}"
