"""docs/CHANGING-THE-POLICY.md is run, command by command; `sentinel policy` as people meet it."""

import io
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance import envelope
from appliance.__main__ import main
from appliance.people import People
from appliance.publishing import enrolled
from appliance.publishing.content import read_people
from audit.signer import LocalSigner
from hub.persist.database import Database
from hub.settings import ServeSettings
from tests.hub.builders import outbox, sql

pytestmark = pytest.mark.postgres

DOCUMENT = Path(__file__).parents[2] / "docs" / "CHANGING-THE-POLICY.md"
TEXT = DOCUMENT.read_text()
FENCES = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [line for kind, body in FENCES if kind == "console" for line in body.splitlines()]
(PEOPLE,) = [body for kind, body in FENCES if kind == "toml"]


class Done(NamedTuple):
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


class Desk:
    """A folder with what signers have at hand, and the command as a real process."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        envelope.make_key(folder / "order.key")
        envelope.make_key(folder / "audit.key")
        signer = LocalSigner.from_pem("site.test/log", (folder / "audit.key").read_bytes())
        (folder / "log.vkey").write_text(signer.vkey + "\n")
        (folder / "people.toml").write_text(PEOPLE)
        rules = folder / "rules.d"
        rules.mkdir()
        (rules / "10-site.toml").write_text('[places]\nsecret = ["/root"]\n')
        (folder / "serve.toml").write_text(
            f'dsn = "{dsn}"\norder_key = "{folder}/order.key"\nlog_origin = "site.test/log"\n'
            f'audit_vkey = "{folder}/log.vkey"\ntrust_root = "{folder}/root.json"\n'
            f'trust_key = "{folder}/online.key"\n'
            '[identity]\ncertificate = "x"\nkey = "x"\nca = "x"\n'
        )
        (folder / "console.toml").write_text(
            f'dsn = "{dsn}"\ncertificate = "x"\nkey = "x"\nsession_key = "{folder}/s"\n'
            f'trust_root = "{folder}/root.json"\n'
        )

    def policy(self, line: str, *, say: str = "") -> Done:
        """`sentinel policy …` in this process, as a shell would see it."""
        out, error = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr("sys.stdin", io.StringIO(say))
            with redirect_stdout(out), redirect_stderr(error):
                status = main(["policy", *shlex.split(line)])
        return Done(status, out.getvalue(), error.getvalue())

    def in_a_process(self, line: str, *, say: str = "") -> "subprocess.CompletedProcess[str]":
        """The same as a real process."""
        return subprocess.run(
            [sys.executable, "-m", "appliance", "policy", *shlex.split(line)],
            cwd=self.folder,
            input=say,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def made(self) -> None:
        """Keys, and a root that is complete."""
        for line in COMMANDS[: COMMANDS.index("$ sentinel policy show trust")]:
            assert self.policy(line.removeprefix("$ sentinel policy ")).returncode == 0, line
        self.pin()

    def pin(self) -> None:
        root = self.folder / "trust" / "metadata" / "1.root.json"
        if root.exists():
            (self.folder / "root.json").write_bytes(root.read_bytes())


@pytest.fixture
def desk(tmp_path: Path, dsn: str) -> Desk:
    return Desk(tmp_path, dsn)


@pytest.mark.timeout(500)  # some forty real processes
def test_the_document_does_what_it_says(desk: Desk, database: Database) -> None:
    published = []
    for line in COMMANDS:
        command, _, comment = line.removeprefix("$ sentinel policy ").partition("  # ")
        done = desk.in_a_process(command)
        assert done.returncode == int(comment or 0), f"{line}\n{done.stdout}{done.stderr}"
        assert (done.stderr if comment else done.stdout).strip(), line
        desk.pin()
        if command.startswith("publish"):
            published.append(len([r for r in outbox(database) if r["type"] == "policy.change"]))
    assert published == [0, 0, 1, 2, 3]
    (row,) = sql(database, "SELECT versions FROM publication")
    assert row["versions"] == {"root": 2, "targets": 3, "snapshot": 3, "timestamp": 3}
    told = desk.policy("people --config console.toml")
    assert tomllib.loads(told.stdout)["person"][0]["name"] == "dora"
    (desk.folder / "again.toml").write_text(told.stdout)
    assert read_people(desk.folder / "again.toml") == read_people(desk.folder / "people.toml")


def test_publishing_says_who_is_missing(desk: Desk) -> None:
    desk.made()
    first = "draft trust --policy rules.d --people people.toml --order-key order.pub"
    assert desk.policy(f"{first} --audit-vkey log.vkey").returncode == 0
    assert desk.policy("sign trust --key anna.key --yes").returncode == 0
    done = desk.policy("publish trust --config serve.toml")
    assert done.returncode == 1
    assert "signed by anna, but it takes 2: 1 more of ben, carl" in done.stderr


def test_a_signer_who_does_not_say_yes_has_not_signed(desk: Desk) -> None:
    desk.made()
    first = "draft trust --policy rules.d --people people.toml --order-key order.pub"
    assert desk.policy(f"{first} --audit-vkey log.vkey").returncode == 0
    listed = desk.folder / "trust" / "draft" / "targets.json"
    before = listed.read_bytes()
    for answer in ("", "n\n", "no\n", "maybe\n"):
        done = desk.policy("sign trust --key anna.key", say=answer)
        assert done.returncode == 1
        assert "+ person   dora, admin" in done.stdout
        assert "nothing was signed" in done.stderr
        assert listed.read_bytes() == before
    assert desk.policy("sign trust --key anna.key", say="y\n").returncode == 0
    assert listed.read_bytes() != before


def test_nobody_signs_twice_or_for_others(desk: Desk) -> None:
    desk.made()
    first = "draft trust --policy rules.d --people people.toml --order-key order.pub"
    assert desk.policy(f"{first} --audit-vkey log.vkey").returncode == 0
    for _ in range(2):
        assert desk.policy("sign trust --key anna.key --yes").returncode == 0
    for other in ("root-1", "online", "order"):
        done = desk.policy(f"sign trust --key {other}.key --yes")
        assert done.returncode == 1
        assert "nothing waits for the key" in done.stderr
    done = desk.policy("publish trust --config serve.toml")
    assert "1 more of ben, carl" in done.stderr


def test_a_draft_that_was_changed_after_it_was_signed_cannot_be_signed_or_published(
    desk: Desk, database: Database
) -> None:
    desk.made()
    first = "draft trust --policy rules.d --people people.toml --order-key order.pub"
    assert desk.policy(f"{first} --audit-vkey log.vkey").returncode == 0
    assert desk.policy("sign trust --key anna.key --yes").returncode == 0
    people = desk.folder / "trust" / "draft" / "people.json"
    people.write_bytes(people.read_bytes().replace(b"dora", b"evil"))
    for line in ("sign trust --key ben.key --yes", "publish trust --config serve.toml"):
        done = desk.policy(line)
        assert done.returncode == 1
        assert "people.json is not the file that signers named" in done.stderr
    assert sql(database, "SELECT 1 FROM publication") == []


def test_a_name_in_a_draft_cannot_pass_for_a_line_of_ours(desk: Desk) -> None:
    desk.made()
    name = "dora, admin\\n- person   everybody else\\u001b[2K"
    (desk.folder / "people.toml").write_text(PEOPLE.replace('name = "dora"', f'name = "{name}"'))
    first = "draft trust --policy rules.d --people people.toml --order-key order.pub"
    done = desk.policy(f"{first} --audit-vkey log.vkey")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("- person")]


@pytest.mark.parametrize(
    ("damage", "because"),
    [
        (("role = ", "rolle = "), "rolle"),
        (('"admin"', '"emperor"'), "emperor"),
        (("bG8p", "bG8!"), "expected base64"),
        (('kind = "ed25519"', 'kind = "rsa"'), "rsa"),
        (("high = 2", "high = 0"), ">= 1"),
        (("high = 2", ""), "needs low and high"),
        (("[[person]]", "[person]"), "[[person]]"),
        (('label = "laptop"', f'label = "l"\n{PEOPLE[PEOPLE.index("[[person]]") :]}'), "twice"),
        (("password_only = false", "password_only ="), "not valid TOML"),
    ],
)
def test_people_toml_is_read_strictly(desk: Desk, damage: tuple[str, str], because: str) -> None:
    desk.made()
    (desk.folder / "people.toml").write_text(PEOPLE.replace(*damage, 1))
    first = "draft trust --policy rules.d --people people.toml --order-key order.pub"
    done = desk.policy(f"{first} --audit-vkey log.vkey")
    assert done.returncode == 1
    assert because in done.stderr
    assert "Traceback" not in done.stderr
    assert not (desk.folder / "trust" / "draft" / "targets.json").exists()


def test_what_was_enrolled_in_the_console_is_printed_with_its_fingerprint(
    desk: Desk, database: Database
) -> None:
    sql(
        database,
        "CREATE TABLE IF NOT EXISTS credential (credential_id text, operator text, kind text,"
        " public_key text, label text, approved_by text, approved_at timestamptz,"
        " revoked_at timestamptz)",
    )
    key = "bG8pUFkSI8+fIT2w3iughSeLDGlCAPslPlZPxTpdDOo="
    for name, approved, revoked in (
        ("anna", "now()", "NULL"),
        ("waits", "NULL", "NULL"),
        ("gone", "now()", "now()"),
    ):
        sql(
            database,
            "INSERT INTO credential (credential_id, operator, kind, public_key, label,"
            f" approved_by, approved_at, revoked_at) VALUES ('id-{name}', '{name}', 'webauthn',"
            f" '{key}', 'key of {name}', 'admin-1', {approved}, {revoked})",
        )
    (desk.folder / "console.toml").write_text(
        (desk.folder / "console.toml").read_text().replace("trust_root", "# trust_root")
    )
    done = desk.policy("people --config console.toml")
    assert done.returncode == 0, done.stderr
    assert "key of anna" in done.stdout
    assert "# fingerprint " in done.stdout
    assert "waits" not in done.stdout
    assert "gone" not in done.stdout
    (desk.folder / "people.toml").write_text(done.stdout)
    (person,) = read_people(desk.folder / "people.toml").persons
    assert (person.name, person.role) == ("anna", "viewer")  # no account: nobody yet


def test_written_people_read_back_the_same() -> None:
    for people in (People(), People(origins=('https://x"y', "https://z\\"), password_only=True)):
        assert tomllib.loads(enrolled.written(people))["origins"] == list(people.origins)


def test_the_settings_of_the_example_are_whole(desk: Desk) -> None:
    from appliance.settings import load  # noqa: PLC0415

    assert load(desk.folder / "serve.toml", ServeSettings).trust_key
