"""The console as it really runs: gunicorn, TLS, its own process, and a browser before it."""

import base64
import hashlib
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.launch import free_port

START = "from appliance import journal, settings; from hub.console import serve, settings as s; "
RUN = (
    "import sys, pathlib; journal.start('sentinel-hub-console');"
    " sys.exit(serve.run(settings.load(pathlib.Path(sys.argv[1]), s.ConsoleSettings)))"
)


class Site:
    """One console process on a free port."""

    def __init__(self, folder: Path, dsn: str, *, more: str = "") -> None:
        self.port, self.ended = free_port(), False
        self.url = f"https://localhost:{self.port}"
        self.log = folder / "console.log"
        if not (folder / "tls.crt").exists():
            certify(folder)
        config = folder / "console.toml"
        config.write_text(
            f'dsn = "{dsn}"\nport = {self.port}\ncertificate = "{folder}/tls.crt"\n'
            f'key = "{folder}/tls.key"\nsession_key = "{folder}/session.key"\nrefresh_s = 1\n'
            f"threads = 4\n{more}"
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START + RUN, str(config)], stderr=log, stdout=log
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/alive", verify=False).text == "ok\n":
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(f"the console did not start:\n{self.log.read_text()}")

    def end(self) -> None:
        """Ask it to end, once: a second signal could meet an interpreter that is going already."""
        if not self.ended:
            self.process.terminate()
        self.ended = True

    def stop(self) -> int:
        self.end()
        return self.process.wait(timeout=15)


def trusted(folder: Path) -> str:
    """Chromium's option to trust this certificate's key: WebAuthn wants a page without errors."""
    certificate = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return f"--ignore-certificate-errors-spki-list={digest}"


def certify(folder: Path) -> None:
    """A self-signed certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(minutes=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
