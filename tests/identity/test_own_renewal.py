"""Hub, console and database client renew their own certificates, each by its own right alone."""

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from appliance.channel import Identity, server_credentials
from appliance.errors import SettingsError
from appliance.launch import Launcher, _bao, free_port, port_is_open
from hub import own_certificates
from hub.own_certificates import OwnCertificates
from hub.persist.database import Database
from tests.hub.builders import outbox
from tests.identity.authority import AnyAuthority
from tests.identity.conftest import ROOT_TOKEN, Site, _unsealed
from tests.identity.running import Hub, eventually, transport
from tests.vault.servers import settings_file, setup
from vault import files
from vault.certificates import uris
from vault.client import Client
from vault.identity import make_key, request
from vault.own import Own, stand
from vault.renewal import due
from vault.settings import VaultSite

pytestmark = pytest.mark.vault
NAMES = {"hub": "localhost", "console": "localhost", "database": "sentinel"}
SOON = "20s"  # of a server's certificate, after the 30 s it begins before: due within nine seconds


@pytest.fixture(scope="module")
def ready(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Vault over TLS that `sentinel setup vault` made ready, and nobody else."""
    folder, port = tmp_path_factory.mktemp("own"), free_port()
    part = launcher.start(
        "vault-own",
        [_bao(), "server", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token",
         f"-dev-listen-address=127.0.0.1:{port}"],
        environment={"BAO_DEV_ROOT_TOKEN_ID": ROOT_TOKEN, "HOME": str(folder)},
    )  # fmt: skip
    launcher.wait(part, lambda: port_is_open(port))
    vault = VaultSite(url=f"https://127.0.0.1:{port}", ca=folder / "vault-ca.pem")
    admin = Client(vault, token=ROOT_TOKEN)
    launcher.wait(part, lambda: _unsealed(admin))
    site = Site(
        vault=vault, admin=admin, root_ca=folder / "root.pem", folder=folder, launcher=launcher
    )
    live_for(site, "720h")
    site.root_ca.write_bytes(admin.fetch("GET", "pki_root/ca/pem", what="read the root"))
    yield site
    launcher.stop(part)


@pytest.fixture
def site(ready: Site) -> Iterator[Site]:
    yield ready
    live_for(ready, "720h")


def live_for(site: Site, lifetime: str) -> None:
    """The setup run (again), with this lifetime for the certificates of servers."""
    words = f'url = "{site.vault.url}"\nca = "{site.vault.ca}"\n[lifetimes]\n'
    config = settings_file(site.folder, words + f'server = "{lifetime}"\n')
    assert setup(config, ROOT_TOKEN, "--apply") == 1  # the password is for a person to put there


def change(site: Site, role: str, **words: object) -> Callable[[], object]:
    """Change a role in Vault; what is given back puts it right again."""
    path = f"pki_int/roles/{role}"
    before = site.admin.call("GET", path, what="read")["data"]
    site.admin.call("POST", path, {**before, **words}, what="change")
    return lambda: site.admin.call("POST", path, before, what="restore")


def issue(site: Site, folder: Path, role: str, **words: object) -> Own:
    """A pair as an administrator makes it, four fifths of its life over."""
    folder.mkdir()
    own = Own(
        role=role,  # type: ignore[arg-type]
        certificate=folder / "cert.pem",
        key=folder / "key.pem",
        ca=site.root_ca if role == "hub" else None,
        signer="console" if role == "console" else "hub",
        signer_pair=(folder / "cert.pem", folder / "key.pem"),
        vault=site.vault,
    )
    restore = change(site, role, **({"not_before_duration": "4h", "ttl": "1h"} | words))
    name = NAMES[role]
    csr = request(
        make_key(own.key),
        name=name,
        uri=f"spiffe://sentinel/{role}" + ("/sentinel" if role == "database" else ""),
        dns=() if role == "database" else ["localhost"],
        addresses=() if role == "database" else ["127.0.0.1"],
    )
    body = {"csr": csr, "common_name": name}
    data = site.admin.call("POST", f"pki_int/sign/{role}", body, what="sign")["data"]
    own.certificate.write_text("\n".join([data["certificate"], *data["ca_chain"]]))
    restore()
    return own


def leaf(own: Own) -> x509.Certificate:
    return x509.load_pem_x509_certificate(own.certificate.read_bytes())


def both(own: Own) -> tuple[bytes, bytes]:
    return own.certificate.read_bytes(), own.key.read_bytes()


def names(one: x509.Certificate) -> set[str]:
    found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


@pytest.fixture(params=["hub", "console", "database"])
def own(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Own:
    made = issue(site, tmp_path / request.param, request.param)
    if request.param == "database":  # its own opens nothing in Vault
        pair = issue(site, tmp_path / "hub", "hub").signer_pair
        made = msgspec.structs.replace(made, signer_pair=pair)
    return made


def test_each_is_renewed_with_a_new_key_and_the_very_same_names(own: Own) -> None:
    before, pair = leaf(own), both(own)
    found = stand(own, now=datetime.now(UTC))
    assert (found.trouble, found.renewed) == ("", True)
    assert files.fit(own.certificate, own.key)
    assert names(leaf(own)) == names(before)
    assert leaf(own).serial_number != before.serial_number
    assert both(own)[1] != pair[1]
    assert own.key.stat().st_mode & 0o777 == 0o600
    again = stand(own, now=datetime.now(UTC))
    assert (again.trouble, again.renewed) == ("", False)


def test_with_vault_away_for_days_what_was_there_stays_and_then_recovers(own: Own) -> None:
    before = both(own)
    away = msgspec.structs.replace(own, vault=VaultSite(url="https://127.0.0.1:1"))
    found = stand(away, now=datetime.now(UTC))
    assert "Vault does not answer" in found.trouble
    assert (found.renewed, both(own)) == (False, before)
    assert stand(own, now=datetime.now(UTC)).renewed


def refused(own: Own, words: str) -> None:
    before = both(own)
    found = stand(own, now=datetime.now(UTC))
    assert words in found.trouble
    assert (found.renewed, both(own)) == (False, before)


def test_a_database_certificate_alone_opens_nothing_in_vault(site: Site, tmp_path: Path) -> None:
    refused(issue(site, tmp_path / "database", "database"), "Vault refused; could not sign on")


def test_one_process_renews_no_others_certificate(site: Site, tmp_path: Path) -> None:
    hub, console = (issue(site, tmp_path / role, role) for role in ("hub", "console"))
    mixed = msgspec.structs.replace(console, signer="hub", signer_pair=hub.signer_pair)
    refused(mixed, "Vault refused; could not have the certificate")
    refused(msgspec.structs.replace(mixed, signer="console"), "Vault refused; could not sign on")
    refused(msgspec.structs.replace(hub, role="console"), "and not spiffe://sentinel/console alone")


def test_a_certificate_with_other_names_or_uses_is_not_taken(site: Site, tmp_path: Path) -> None:
    own = issue(site, tmp_path / "hub", "hub")
    for words, said in (
        ({"use_csr_sans": False}, "other names"),
        ({"client_flag": False}, "other uses"),
    ):
        restore = change(site, "hub", **words)
        refused(own, said)
        restore()


def test_a_certificate_under_another_root_is_not_taken(site: Site, tmp_path: Path) -> None:
    own = issue(site, tmp_path / "hub", "hub")
    other = AnyAuthority().issue(tmp_path / "other").ca
    refused(msgspec.structs.replace(own, ca=other), "does not lead to the pinned root")
    only = issue(site, tmp_path / "console", "console")
    first = only.certificate.read_text().split("-----END CERTIFICATE-----")[0]
    only.certificate.write_text(first + "-----END CERTIFICATE-----\n")
    refused(only, "nothing is above it")


def test_two_processes_that_share_a_pair_renew_it_once(site: Site, tmp_path: Path) -> None:
    own = issue(site, tmp_path / "hub", "hub")

    def aside(_: int) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "vault.renew_own"],
            input=msgspec.json.encode(own, enc_hook=str), capture_output=True, check=True,
            timeout=120,
        )  # fmt: skip
        return json.loads(done.stdout)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(aside, range(2)))
    assert sorted(one["renewed"] for one in answers) == [False, True]
    assert [one["trouble"] for one in answers] == ["", ""]
    assert files.fit(own.certificate, own.key)


def test_killed_between_its_two_files_a_process_starts_again_with_the_new_pair(
    tmp_path: Path,
) -> None:
    authority = AnyAuthority()
    mine, new = authority.issue(tmp_path / "mine"), authority.issue(tmp_path / "new")
    new.certificate.rename(mine.certificate.with_name(mine.certificate.name + files.NEXT))
    new.key.rename(mine.key)
    with pytest.raises(SettingsError):
        server_credentials(mine)
    own_certificates.settle([as_own(mine)])
    assert files.fit(mine.certificate, mine.key)
    server_credentials(mine)


def test_the_client_certificate_in_a_connection_string_is_renewed_too(tmp_path: Path) -> None:
    mine = as_own(AnyAuthority().issue(tmp_path / "mine"))
    assert own_certificates.of_database(mine, "dbname=sentinel") == []
    assert own_certificates.of_database(mine, "dbname=sentinel sslcert=/c.pem") == []
    (found,) = own_certificates.of_database(mine, "postgresql:///s?sslcert=/c.pem&sslkey=/k.pem")
    assert (found.role, found.certificate, found.key) == (
        "database",
        Path("/c.pem"),
        Path("/k.pem"),
    )
    assert found.signer_pair == mine.signer_pair


def as_own(mine: Identity) -> Own:
    return Own(
        role="hub", certificate=mine.certificate, key=mine.key, ca=mine.ca, signer="hub",
        signer_pair=(mine.certificate, mine.key), vault=VaultSite(url="https://127.0.0.1:1"),
    )  # fmt: skip


def test_what_cannot_be_renewed_is_said_early_with_how_much_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = AnyAuthority().issue(
        tmp_path / "mine", starts=timedelta(days=-25), ends=timedelta(days=5)
    )
    stop = threading.Event()
    kept = OwnCertificates([as_own(mine)], stop)
    assert kept.warning() is None
    kept.start()
    try:
        assert eventually(lambda: kept.warning() is not None)
    finally:
        stop.set()
    assert (kept.warning() or "").startswith("certificate of hub not renewed, 4 days, 23:")
    assert "not renewed" in caplog.text


def shown(port: int) -> int:
    """The serial number of what a server shows to the next connection."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=60)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


@pytest.mark.postgres
def test_a_hub_renews_its_certificate_and_no_stream_ends(
    site: Site, dsn: str, database: Database, tmp_path: Path
) -> None:
    node = site.node(tmp_path / "node")
    live_for(site, SOON)
    hub = Hub(site, dsn, tmp_path)
    try:
        stream = transport(hub, node, tmp_path / "state")
        try:
            assert eventually(lambda: stream.connected), stream.trouble
            seen = {shown(hub.port)}
            assert eventually(lambda: len(seen | {shown(hub.port)}) > 1, within_s=120)
            assert stream.connected
            assert "node.disconnect" not in [row["type"] for row in outbox(database)]
        finally:
            stream.stop()
    finally:
        hub.stop()


@pytest.mark.postgres
def test_a_consoles_next_connection_shows_the_renewed_certificate(
    site: Site, launcher: Launcher, dsn: str, tmp_path: Path
) -> None:
    live_for(site, "720h")
    own = issue(site, tmp_path / "console", "console")
    before, port = leaf(own), free_port()
    assert due(before) < datetime.now(UTC)
    settings = tmp_path / "console.toml"
    settings.write_text(
        f'dsn = "{dsn}"\nbind = "127.0.0.1"\nport = {port}\n'
        f'certificate = "{own.certificate}"\nkey = "{own.key}"\n'
        f'session_key = "{tmp_path}/session.key"\n'
        f'[vault]\nurl = "{site.vault.url}"\nca = "{site.vault.ca}"\n'
    )
    words = [sys.executable, "-m", "hub", "console", "--config", str(settings)]
    part = launcher.start(f"console-{port}", words)
    try:
        launcher.wait(part, lambda: port_is_open(port), timeout_s=60)
        assert eventually(lambda: shown(port) != before.serial_number, within_s=120)
        assert uris(leaf(own)) == ["spiffe://sentinel/console"]
    finally:
        launcher.stop(part)
