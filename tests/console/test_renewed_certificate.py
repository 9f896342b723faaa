"""The console's certificate is renewed while it runs: the next connection shows the new one."""

import ssl
import sys
from pathlib import Path

import pytest

from appliance.launch import Launcher, free_port, port_is_open
from tests.console.site import certify

pytestmark = pytest.mark.postgres


def test_a_renewed_certificate_counts_without_a_restart(
    launcher: Launcher, dsn: str, tmp_path: Path
) -> None:
    certify(tmp_path)
    port, settings = free_port(), tmp_path / "console.toml"
    settings.write_text(
        f'dsn = "{dsn}"\nbind = "127.0.0.1"\nport = {port}\n'
        f'certificate = "{tmp_path}/tls.crt"\nkey = "{tmp_path}/tls.key"\n'
        f'session_key = "{tmp_path}/session.key"\n'
    )
    words = [sys.executable, "-m", "hub", "console", "--config", str(settings)]
    part = launcher.start(f"console-{port}", words)
    try:
        launcher.wait(part, lambda: port_is_open(port), timeout_s=60)

        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", port), timeout=30)

        before = shown()
        assert shown() == before
        certify(tmp_path)
        after = shown()
        assert after != before
        (tmp_path / "tls.key").write_text("half a key")  # in the middle of a replacement
        assert shown() == after
    finally:
        launcher.stop(part)
