"""The whole appliance with its secrets in a Vault that is absent at first, then sealed, then there.

Afterwards everything that was written is searched for each secret: settings, logs, spools, the
audit log, the database, PostgreSQL's own files, Vault's audit log, the process list, what was said.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from appliance.demo.assembly import Assembly, Wanted
from appliance.demo.site import Site
from appliance.launch import Launcher
from appliance.records import Mode
from hub.persist.database import Database
from tests.journeys.appliance import Running, wait_for
from tests.vault.servers import SealedServer, settings_file, setup

pytestmark = [
    pytest.mark.journey,
    pytest.mark.vault,
    pytest.mark.xdist_group("one fault at a time"),
]

PARTS = ("notary", "serve", "reason", "console")
PASSWORD = "Planted-7f3a'b c\\d-database-password"  # what a connection string has to quote
USER = "planted"
WAITING = "waiting for vault:database#password"


@dataclass(kw_only=True)
class WithVault(Assembly):
    """Its hub has the database's password and the session key in Vault."""

    server: SealedServer
    meanwhile: Callable[[Site], None]
    waited: bool = False
    chosen: Site | None = None

    def _start_postgres(self) -> str:
        dsn = super()._start_postgres()
        assert self.postgres is not None
        demand_a_password(self.postgres.folder / "data" / "pg_hba.conf", dsn)
        return dsn

    def _start_hub(self, chosen: Site) -> None:
        for name in PARTS:
            point_to_vault(chosen, name, self.server)
        self.server.stop()  # from here on there is no Vault
        super()._start_hub(chosen)

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        if not self.waited:
            self.waited = True
            self.meanwhile(self.site_now())
        super()._wait(name, ready)

    def site_now(self) -> Site:
        assert self.chosen is not None
        return self.chosen

    def _publish(self, chosen: Site) -> None:
        self.chosen = chosen
        super()._publish(chosen)


def demand_a_password(rules: Path, dsn: str) -> None:
    """One role that PostgreSQL lets in by its password alone; it keeps a verifier, not the word."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        verifier = connection.pgconn.encrypt_password(
            PASSWORD.encode(), USER.encode(), b"scram-sha-256"
        ).decode()
        connection.execute(f"CREATE ROLE {USER} LOGIN SUPERUSER PASSWORD '{verifier}'")
        rules.write_text(f"local all {USER} scram-sha-256\n" + rules.read_text())
        connection.execute("SELECT pg_reload_conf()")


def point_to_vault(site: Site, name: str, server: SealedServer) -> None:
    """The settings name where the secrets are."""
    file = site.settings(name)
    text = file.read_text().replace("user=sentinel", f"user={USER}")
    own = f'session_key = "{site.root}/console/session.key"'
    text = text.replace(own, 'session_key = "vault:session#key"')
    role = {"serve": "hub"}.get(name, name)
    door = server.door()
    path = f"auth/sentinel-approle/role/{role}"
    role_id = (door.read(f"{path}/role-id") or {})["role_id"]
    file.write_text(
        f'password = "vault:database#password"\n{text}\n[secrets]\nurl = "{server.url}"\n'
        f'ca = "{server.ca}"\nrole_id = "{role_id}"\nsecret_id = "{server.folder}/{role}.id"\n'
    )


@dataclass
class Planted:
    """The secrets, by what they are."""

    server: SealedServer
    words: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """As an administrator does it, once."""
        config = settings_file(
            self.server.folder, f'url = "{self.server.url}"\nca = "{self.server.ca}"\n'
        )
        assert setup(config, self.server.token, "--apply") == 1
        door = self.server.door()
        door.write("sentinel-kv/data/database", {"data": {"password": PASSWORD}})
        self.words = {
            "the database's password": PASSWORD,
            "the session key": (door.read("sentinel-kv/data/session") or {})["data"]["key"],
            "the administrator's token": self.server.token,
        }
        for role in ("hub", *PARTS[2:], "notary"):
            made = door.write(f"auth/sentinel-approle/role/{role}/secret-id", {})["secret_id"]
            (self.server.folder / f"{role}.id").write_text(made)
            self.words[f"the secret_id of {role}"] = made


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    """A Vault of its own, outside of the appliance's folder; not a part that the demo knows."""
    folder, logs = tmp_path / "vault", tmp_path / "vault-logs"
    folder.mkdir()
    logs.mkdir()
    launcher = Launcher(logs)
    server = SealedServer(folder, launcher).start()
    server.initialise()
    server.unseal()
    one = Planted(server)
    one.prepare()
    yield one
    launcher.stop_all()


def said(site: Site, name: str) -> str:
    return (site.root / "logs" / f"{name}.log").read_text()


def test_all_starts_without_vault_goes_on_when_it_is_there_and_no_secret_is_written_anywhere(
    tmp_path: Path, planted: Planted, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "site"
    (root / "logs").mkdir(parents=True)
    wanted = Wanted(
        root=root, mode=Mode.LIVE, model=None, console_port=None, hub_port=None, vault_port=None
    )
    server = planted.server

    def absent_then_sealed_then_there(site: Site) -> None:
        for name in PARTS:
            wait_for(lambda name=name: WAITING in said(site, name), within_s=60, why=name)  # type: ignore[misc]
            assert "does not answer" in said(site, name)
        server.start()
        restart(assembly, "console")  # the others found it absent, this one finds it sealed
        wait_for(lambda: "is sealed" in said(site, "console"), within_s=60, why="the console")
        server.unseal()

    assembly = WithVault(
        wanted=wanted, launcher=Launcher(root / "logs"), say=lambda *_: None,
        server=server, meanwhile=absent_then_sealed_then_there,
    )  # fmt: skip
    running: Running | None = None
    try:
        site = assembly.start()
        with Database(site.dsn, size=1) as db:
            assembly.first_operator(db)
        planted.words["the operator's password"] = assembly.password
        running = Running(assembly, site)
        running.start_fault()
        running.approve()
        assert running.until("resolved", "unresolved") == "resolved"
        for name in PARTS:
            assert said(site, name).count(WAITING) == (2 if name == "console" else 1)
            assert said(site, name).count("is there, going on") == 1
        errors = provoke(site)
        dump = dumped(assembly)
        processes = process_list()
        assert running.verify() == 0
    finally:
        if running is not None:
            running.close()
        assembly.stop()
    out = capfd.readouterr()
    texts = {"errors": errors, "dump": dump, "processes": processes, "said": out.out + out.err}
    looked = everything(root, planted.server) | {k: v.encode() for k, v in texts.items()}

    # The search finds what is there …
    for where in ("dump", "processes", "errors", "config/serve.toml"):
        assert found("sentinel", looked, where), where
    assert found("demo-node", looked, "audit/")
    # … and none of the secrets.
    for what, word in planted.words.items():
        assert not found(word, looked), f"{what} is in {found(word, looked)}"


def restart(assembly: Assembly, name: str) -> None:
    """As systemd does it; its log goes on in the same file."""
    part = next(one for one in assembly.launcher.parts if one.name == name)
    part.process.kill()
    part.process.wait()
    assembly.launcher.restart(part)


def provoke(site: Site) -> str:
    """What is said when things are wrong, by commands and at the start."""
    lines = []
    config = site.settings("serve")
    right = config.read_text()
    for wrong in (
        right.replace("user=", f"password={PASSWORD.split(maxsplit=1)[0]} user="),
        right.replace("host=", f"{PASSWORD.replace(' ', '')} host="),
        right.replace("vault:database#password", PASSWORD.replace("\\", "")),
        right.replace("vault:database#password", "vault:database#nothing"),
        right.replace("vault:database#password", "vault:session#key"),
        right.replace(f"user={USER}", "user=somebody-else"),
    ):
        file = config.with_name("wrong.toml")
        file.write_text(wrong)
        lines.append(ran("serve", "--config", str(file)))
        file.unlink()
    lines.append(ran("migrate", "--config", str(config), status=0))
    return "\n".join(lines)


def ran(*words: str, status: int = 2) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hub", *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def dumped(assembly: Assembly) -> str:
    """The whole database as text, with all roles."""
    assert assembly.postgres is not None
    words = assembly.postgres._client("pg_dumpall")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def process_list() -> str:
    """The command lines of everybody."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(lines)


def everything(root: Path, server: SealedServer) -> dict[str, bytes]:
    """Every file of the appliance, and Vault's own audit log."""
    files = {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    return files | {"vault's audit log": server.audit_log.read_bytes()}


def found(word: str, looked: dict[str, bytes], within: str = "") -> list[str]:
    """Where a word is, as it is or as JSON, TOML or a connection string would write it."""
    forms = {word, word.replace("\\", "\\\\"), word.replace("\\", "\\\\").replace("'", "\\'")}
    return [
        where
        for where, data in looked.items()
        if where.startswith(within) and any(form.encode() in data for form in forms)
    ]
