"""What answers as Vault may be anything: no token goes elsewhere, nonsense is one clear line."""

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.launch import free_port
from vault.door import Door
from vault.errors import VaultAwayError, VaultError


@dataclass
class Stranger:
    """A server that answers every request with the same."""

    url: str
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            one.seen.append({"path": self.path, **dict(self.headers)})
            self.send_response(one.status)
            for name, value in {**one.headers, "Content-Length": str(len(one.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(one.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    one = Stranger(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield one
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_redirect_is_not_followed_so_no_token_goes_elsewhere(stranger: Stranger) -> None:
    stranger.status, stranger.headers = 307, {"Location": f"{stranger.url}/elsewhere"}
    with pytest.raises(VaultError, match="no Vault's answer"):
        Door(url=stranger.url, token="a-token").read("sys/mounts")
    assert [one["path"] for one in stranger.seen] == ["/v1/sys/mounts"]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>proxy</html>", "no Vault's answer"),
        (200, b"[1]", "no Vault's answer"),
        (200, b'"yes"', "no Vault's answer"),
        (200, b"{}", "has no data"),
        (200, b'{"data": "all"}', "has no data"),
        (400, b"no", "Vault refused"),
        (403, b'{"errors": ["permission denied"]}', "Vault refused; .*permission denied"),
        (403, b"\xff" * 5000, "Vault refused"),
    ],
)
def test_nonsense_is_one_line_without_the_token(
    stranger: Stranger, status: int, body: bytes, why: str
) -> None:
    stranger.status, stranger.body = status, body
    with pytest.raises(VaultError, match=why) as raised:
        Door(url=stranger.url, token="a-token").read("sys/mounts")
    assert not isinstance(raised.value, VaultAwayError)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    assert "a-token" not in str(raised.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_is_starting_sealed_or_too_busy_is_away(
    stranger: Stranger, status: int
) -> None:
    stranger.status, stranger.body = status, b'{"errors": ["Vault is sealed"]}'
    with pytest.raises(VaultAwayError):
        Door(url=stranger.url, token="a-token").read("sys/mounts")


def test_a_token_with_a_line_in_it_makes_no_second_header(stranger: Stranger) -> None:
    with pytest.raises(VaultError):
        Door(url=stranger.url, token="a\r\nX-Evil: 1").read("sys/mounts")
    assert stranger.seen == []
