"""What the console shows of nodes as witnesses: who is behind, who refuses, and the evidence."""

import json
from collections.abc import Callable

import pytest

from hub.persist import witness
from hub.persist.database import Database
from tests.console import seed
from tests.console.conftest import Browser
from tests.hub.builders import sql

pytestmark = pytest.mark.postgres

SignIn = Callable[[str], Browser]
VKEY = "node-1+8a1b2c3d+BAEC"
NOTES = "accepted <b>\n\n\u2014 log AAAA\n\nrefused\n\n\u2014 log BBBB\n\n"


def stands(database: Database, size: int, *, node: str = "node-1") -> None:
    with database.transaction() as work:
        work.run("witness_seen", node=node, size=size, root="ab" * 32, now=seed.now())


def signed(database: Database, size: int) -> None:
    with database.transaction() as work:
        work.run("add_checkpoint", size=size, root="cd" * 32, note="n", now=seed.now())


def refuses(database: Database, *, notes: bool = True) -> None:
    with database.transaction() as work:
        reason = "two histories of <i>100</i> entries"
        parts = [part + "\n" for part in NOTES.split("\n\n\u2014 log")] if notes else []
        assert witness.forked(work, node="node-1", reason=reason, notes=parts, now=seed.now())


def test_the_nodes_page_says_how_far_behind_each_node_is(
    signed_in: SignIn, database: Database
) -> None:
    signed(database, 120)
    text = signed_in("viewer-1").get("/nodes").text
    assert "Log seen" in text
    assert "never" in text
    stands(database, 100)
    assert "20 behind" in signed_in("viewer-1").get("/nodes").text
    stands(database, 120)
    assert "current" in signed_in("viewer-1").get("/nodes").text
    stands(database, 150)
    assert "ahead of this hub" in signed_in("viewer-1").get("/nodes").text


def test_the_audit_page_lists_the_witnesses_and_their_keys(
    signed_in: SignIn, database: Database
) -> None:
    signed(database, 120)
    stands(database, 100)
    with database.transaction() as work:
        witness.pin_key(work, node="node-1", vkey=VKEY, before="", now=seed.now())
    text = signed_in("viewer-1").get("/audit").text
    assert "Witnesses" in text
    assert VKEY in text
    assert "nothing yet" in text


@pytest.mark.parametrize("path", ["/", "/incidents", "/nodes", "/audit", "/status", "/account"])
def test_every_page_says_in_red_that_a_node_refuses_the_log(
    signed_in: SignIn, database: Database, path: str
) -> None:
    browser = signed_in("viewer-1")
    assert (
        "does not follow"
        not in browser.client.get(path, base_url="https://localhost", follow_redirects=True).text
    )
    refuses(database)
    text = browser.client.get(path, base_url="https://localhost", follow_redirects=True).text
    assert "1 node does not follow this hub's audit log" in text
    assert 'class="banner bad" role="alert"' in text
    assert "&lt;i&gt;100" in text
    assert "<i>100" not in text


def test_only_an_administrator_takes_the_evidence_along(
    signed_in: SignIn, database: Database
) -> None:
    refuses(database)
    for name in ("viewer-1", "operator-1"):
        assert "/nodes/node-1/fork" not in signed_in(name).get("/nodes").text
        assert signed_in(name).get("/nodes/node-1/fork").status_code == 403
    admin = signed_in("admin-1")
    assert "/nodes/node-1/fork" in admin.get("/nodes").text
    found = admin.get("/nodes/node-1/fork")
    assert found.status_code == 200
    assert found.content_type.startswith("text/plain")
    assert "attachment" in found.headers["Content-Disposition"]
    assert "accepted <b>" in found.text
    assert "refused" in found.text
    assert admin.get("/nodes/node-9/fork").status_code == 404


def test_a_node_that_follows_again_ends_the_alarm_and_both_are_on_record(
    signed_in: SignIn, database: Database
) -> None:
    refuses(database, notes=False)
    with database.transaction() as work:
        witness.follows(work, node="node-1", size=130, now=seed.now())
    assert "does not follow" not in signed_in("viewer-1").get("/nodes").text
    with database.transaction() as work:
        kinds = [row["type"] for row in work.all("take_outbox", limit=1000)]
    assert kinds.count("witness.refuse") == 1
    assert kinds.count("witness.clear") == 1


def test_a_new_witness_key_counts_only_when_an_administrator_accepts_the_one_shown(
    signed_in: SignIn, database: Database
) -> None:
    other = VKEY.replace("BAEC", "BAED")
    stands(database, 1)
    with database.transaction() as work:
        witness.pin_key(work, node="node-1", vkey=VKEY, before="", now=seed.now())
        work.run("witness_other", node="node-1", vkey=other)
    assert "cosigns with another key" in signed_in("operator-1").get("/nodes").text
    operator = signed_in("operator-1")
    path = "/nodes/node-1/witness-key"
    assert operator.post(path, {"vkey": other}, page="/nodes").status_code == 403
    admin = signed_in("admin-1")
    admin.post(path, {"vkey": other + "x"}, page="/nodes")
    assert pinned(database) == VKEY
    assert admin.post(path, {"vkey": other}, page="/nodes").status_code == 303
    assert pinned(database) == other
    assert "cosigns with another key" not in admin.get("/nodes").text


def test_anybody_signed_in_takes_a_cosigned_checkpoint_along(
    signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("viewer-1")
    assert browser.get("/audit/checkpoint").status_code == 404
    signed(database, 100)
    signed(database, 120)
    assert browser.get("/audit/checkpoint").text == "n"
    with database.transaction() as work:
        work.run(
            "witness_cosigned",
            node="node-1",
            size=100,
            root="cd" * 32,
            vkey=VKEY,
            cosignature="line",
            now=seed.now(),
        )
    assert browser.get("/audit/checkpoint").text == "nline\n"
    assert "/audit/checkpoint" in browser.get("/audit").text


def pinned(database: Database) -> str:
    with database.transaction() as work:
        row = work.one("witness_state", node="node-1")
    assert row is not None
    return str(row["witness_vkey"])


def test_witnesses_elsewhere_and_decisions_are_told_and_what_they_say_is_text(
    database: Database, sign_in: SignIn
) -> None:
    seed.node(database)
    browser = sign_in("viewer")
    assert "Witnesses elsewhere" not in browser.get("/nodes").text
    body = {"people": ["ada", "<b>bob"], "reason": "<i>a disk", "old_size": 120, "new_size": 100}
    sql(database,
        "INSERT INTO audit_entry (seq, entry_id, ts, type, actor, leaf_hash, line) VALUES (7, "
        "'0192f0c1-2345-7000-8000-000000000001', now(), 'log.fork', 'notary notary', %(leaf)s, "
        "%(line)s)", leaf=bytes(32), line=json.dumps({"body": body}))  # fmt: skip
    with database.transaction() as work:
        work.run("outside_add", name="audit.site/w", vkey="v", url="http://x")
        work.run("outside_said", name="audit.site/w", size=120, trouble="it saw <u>more",
                 alarm=True, now=seed.now())  # fmt: skip
    text = browser.get("/nodes").text
    for told in ("audit.site/w", "refuses our log", "it saw &lt;u&gt;more", "ada and &lt;b&gt;bob",
                 "&lt;i&gt;a disk", "1 node does not follow"):  # fmt: skip
        assert told in text
    for markup in ("<u>", "<b>bob", "<i>"):
        assert markup not in text
