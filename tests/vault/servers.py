"""Real servers as a site has them: with an audit device; one on disk, with TLS and a seal."""

import ipaddress
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance import __main__ as sentinel
from appliance.launch import Launcher, Part, _bao, free_port, port_is_open
from vault.door import Door
from vault.errors import VaultAwayError

TOKEN = "an-administrators-token"


@dataclass
class DevServer:
    """In memory and unsealed, with an audit device."""

    folder: Path
    launcher: Launcher
    name: str = "bao-audited"
    port: int = field(default_factory=free_port)
    part: Part | None = None
    token: str = TOKEN

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def start(self) -> "DevServer":
        config = self.folder / "bao.hcl"
        config.write_text(audit_words(self.audit_log))
        words = [_bao(), "server", "-dev", "-dev-no-store-token", f"-config={config}"]
        self.part = self.launcher.start(
            self.name,
            [*words, f"-dev-listen-address=127.0.0.1:{self.port}"],
            environment={"BAO_DEV_ROOT_TOKEN_ID": self.token, "HOME": str(self.folder)},
        )
        self.launcher.wait(self.part, lambda: port_is_open(self.port))
        return self

    def door(self, token: str | None = None, *, namespace: str = "") -> Door:
        return Door(url=self.url, token=token or self.token, namespace=namespace)

    def requests(self) -> list[tuple[str, str]]:
        """Operation and path of every request that was answered."""
        entries = [json.loads(line) for line in self.audit_log.read_text().splitlines()]
        return [
            (one["request"]["operation"], one["request"]["path"])
            for one in entries
            if one["type"] == "response"
        ]


@dataclass
class SealedServer:
    """On disk, over TLS, initialised with three keys of which two unseal it."""

    folder: Path
    launcher: Launcher
    name: str = "bao-sealed"
    port: int = field(default_factory=free_port)
    cluster_port: int = field(default_factory=free_port)
    part: Part | None = None
    keys: list[str] = field(default_factory=list)
    token: str = ""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def start(self) -> "SealedServer":
        """Start it; sealed, once it was initialised."""
        config = self.folder / "bao.hcl"
        if not config.exists():
            certificate(self.folder)
            (self.folder / "raft").mkdir()
            config.write_text(self._config())
        self.part = self.launcher.start(
            self.name,
            [_bao(), "server", f"-config={config}"],
            environment={"HOME": str(self.folder)},
        )
        self.launcher.wait(self.part, lambda: port_is_open(self.port), timeout_s=60)
        return self

    def stop(self) -> None:
        assert self.part is not None
        self.launcher.stop(self.part)

    def initialise(self) -> None:
        """The key ceremony: three shares, two of them unseal."""
        door = Door(url=self.url, ca=self.ca, timeout_s=60)
        answer = door._client.adapter.request(
            "put", "/v1/sys/init", json={"secret_shares": 3, "secret_threshold": 2}
        )
        self.keys, self.token = answer["keys_base64"], answer["root_token"]

    def unseal(self) -> None:
        door = Door(url=self.url, ca=self.ca, timeout_s=60)
        for key in self.keys[:2]:
            door._client.adapter.request("put", "/v1/sys/unseal", json={"key": key})
        deadline = time.monotonic() + 60
        while not self._active():  # it is its own only voter, and still has to be elected
            assert time.monotonic() < deadline, "it did not become active"
            time.sleep(0.05)

    def _active(self) -> bool:
        try:
            self.door().read("sys/mounts")
        except VaultAwayError:
            return False
        return True

    def seal(self) -> None:
        self.door().write("sys/seal", {})

    def door(self, token: str | None = None) -> Door:
        return Door(url=self.url, ca=self.ca, token=token or self.token, timeout_s=30)

    def _config(self) -> str:
        return f"""
disable_mlock = true
storage "raft" {{
  path = "{self.folder}/raft"
  node_id = "one"
}}
listener "tcp" {{
  address = "127.0.0.1:{self.port}"
  tls_cert_file = "{self.folder}/tls.crt"
  tls_key_file = "{self.folder}/tls.key"
}}
api_addr = "{self.url}"
cluster_addr = "https://127.0.0.1:{self.cluster_port}"
{audit_words(self.audit_log)}
"""


def audit_words(file: Path) -> str:
    return f'audit "file" "sentinel" {{\n  options {{ file_path = "{file}" }}\n}}\n'


def certificate(folder: Path) -> None:
    """Vault's own certificate, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(made.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "tls.key").write_bytes(pem)


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "setup.toml"
    path.write_text(text)
    return path


def setup(config: Path, token: str, *words: str) -> int:
    """`sentinel setup vault`, with the token in a file."""
    file = config.parent / "token"
    file.write_text(token)
    argv = ["setup", "vault", "--config", str(config), "--token-file", str(file), *words]
    return sentinel.main(argv)
