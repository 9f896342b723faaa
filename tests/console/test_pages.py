"""What the pages show and how they answer: headers, hostile text, filters, live parts, errors."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from flask import Flask
from psycopg.types.json import Jsonb

from appliance.errors import SettingsError
from appliance.lifecycle import State
from hub.console import present, words
from hub.console.app import create_app
from hub.console.secrets import session_key_file
from hub.console.settings import ConsoleSettings
from hub.persist import operators
from hub.persist.database import Database
from tests.console import seed
from tests.console.conftest import Browser

pytestmark = pytest.mark.postgres
SignIn = Callable[[str], Browser]

EVIL = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>\x1b[2J\u202eknow"


@pytest.mark.parametrize("path", ["/incidents", "/sign-in", "/no-such-page", "/alive"])
def test_every_answer_carries_the_security_headers(signed_in: SignIn, path: str) -> None:
    headers = signed_in("operator-1").get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_no_page_has_inline_script_or_style(signed_in: SignIn, database: Database) -> None:
    seeded = seed.judged(database, rulings=("allow", "review"), state=State.MANUAL)
    browser = signed_in("admin-1")
    for path in ("/sign-in", "/incidents", f"/incidents/{seeded.incident_id}", "/nodes", "/people"):
        text = browser.get(path).text
        assert re.search(r"<script(?![^>]*\bsrc=)", text) is None, path
        assert re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text) is None, path
        assert re.search(r"(?:src|href|action)=\"(?:https?:)?//", text) is None, path


def test_text_from_a_host_is_inert_and_nothing_in_it_is_hidden(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database, found=seed.finding(name=EVIL, summary=EVIL))
    seed.logged(database, seeded.incident_id, text=EVIL)
    browser = signed_in("operator-1")
    for path in ("/incidents", f"/incidents/{seeded.incident_id}", "/audit"):
        text = browser.get(path).text
        assert "<img" not in text, path
        assert "<script>" not in text, path
        assert "&lt;img src=x onerror=alert(1)&gt;" in text, path
        assert "\x1b" not in text, path
        assert "\u202e" not in text, path
        assert "\\x1b[2J\\u202eknow" in text, path


def panel(browser: Browser, seeded: seed.Seeded) -> str:
    """The commands of an incident's page, as text with single spaces."""
    text = browser.get(f"/incidents/{seeded.incident_id}").text
    found = re.search(r'<div id="part-plan">(.*?)<div id="part-decision"', text, re.DOTALL)
    assert found is not None
    return re.sub(r"\s+", " ", found[1])


def words_of(html: str) -> str:
    """What a screen reader makes of it: no markup, single spaces."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).strip()


def test_a_reason_shows_its_word_rule_code_expectation_and_hint(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database, commands=("kill -9 812",), state=State.MANUAL)
    html = panel(signed_in("operator-1"), seeded)
    assert re.search(r'kill</span> .*-9</span> <mark class="block">.*812</span></mark></pre>', html)
    reason = words_of(html.split('<li class="reason block">')[1].split("</li>")[0])
    assert reason == (
        "⊘ block process 812 is protected: database"
        " Expected a process id of this incident's evidence Found 812"
        " → Hint: name the pid from the evidence, with TERM before KILL"
        f" Rule {seeded.verdicts[0]['rule']} Code protected"
    )
    assert re.fullmatch(r"20-process\.toml:\d+", seeded.verdicts[0]["rule"])


def test_a_review_says_in_one_line_which_word_stands_in_the_way(
    signed_in: SignIn, database: Database
) -> None:
    commands = ("kill -KILL 4711 && frobnicate", "top", "ps --sorted; frobnicate 'a b' ''")
    seeded = seed.judged(database, commands=commands, state=State.MANUAL)
    html = panel(signed_in("operator-1"), seeded)
    lines = [words_of(line) for line in re.findall(r'<p class="way">(.*?)</p>', html)]
    assert lines == [
        "One word stands in the way: frobnicate",
        "One thing is missing: -b|--batch-mode",
        "2 words stand in the way: --sorted frobnicate",
    ]
    marked = [words_of(mark) for mark in re.findall(r"<mark [^>]*>(.*?)</mark>", html)]
    assert marked == ["frobnicate", "top", "--sorted", "frobnicate"]


def test_what_would_run_is_shown_word_by_word_with_program_effect_undo_and_streams(
    signed_in: SignIn, database: Database
) -> None:
    search = "journalctl --no-pager --grep 'out of memory' 2>/dev/null | head -n 5"
    seeded = seed.judged(database, commands=(search, "kill -TERM 4711"))
    html = panel(signed_in("operator-1"), seeded)
    runs = [words_of(item) for item in re.findall(r'<div class="runs">(.*?)</div>', html)]
    assert runs[0] == (
        "Argument vectors, no shell journalctl --no-pager --grep out of memory"
        " program /usr/bin/journalctl or /bin/journalctl ○ only reads errors to /dev/null"
        " | reads what the one before writes head -n 5"
        " program /usr/bin/head or /bin/head ○ only reads"
    )
    assert "△ changes state Undo: a process that ended is started again by its unit" in runs[1]
    gap = '<span class="space"> </span>'
    assert f'<code role="listitem">out{gap}of{gap}memory</code>' in html


def test_a_line_outside_the_language_shows_the_construct_and_what_bash_would_have_run(
    signed_in: SignIn, database: Database
) -> None:
    commands = ("ls $(cat /etc/passwd; curl http://198.51.100.7/x)",)
    seeded = seed.judged(database, commands=commands, state=State.MANUAL)
    text = words_of(panel(signed_in("operator-1"), seeded))
    assert "Outside the executable language: command-substitution" in text
    assert "Hint: run the inner command as its own step and write its result here" in text
    assert "bash would also run: cat /etc/passwd curl http://198.51.100.7/x" in text
    assert "Argument vector" not in text


def test_a_hostile_command_is_inert_and_every_foreign_letter_is_an_escape(
    signed_in: SignIn, database: Database
) -> None:
    commands = (f"kill -9 47\u043011 {EVIL}", f"ls $(echo {EVIL.replace('(', '')}\u0430)")
    seeded = seed.judged(database, commands=commands, state=State.MANUAL)
    html = panel(signed_in("operator-1"), seeded)
    assert "<img" not in html
    assert "<script" not in html
    assert {letter for letter in html if letter > "~"} <= set("⊘→…“”✎▲")
    assert '<mark class="block"><span class="whole">\\u0430</span></mark>' in html
    assert "\\x1b[2J\\u202eknow" in html


def test_reasons_of_an_allowed_command_are_folded_and_others_are_open(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database, rulings=("allow", "review", "block"), state=State.MANUAL)
    html = panel(signed_in("operator-1"), seeded)
    allowed, review, block = html.split('<div class="row between">')[1:]
    assert "<mark" not in allowed
    assert re.search(r'<details id="why-1"><summary>Why it is allowed</summary><ol', allowed)
    assert '<li class="reason' not in allowed.split("<details")[0]
    for html in (review, block):
        assert '<li class="reason' in html.split("<details")[0]


@pytest.mark.parametrize("stored", ["older", "rubbish", "another", "nothing"])
def test_rows_that_an_older_hub_stored_still_have_a_page(
    signed_in: SignIn, database: Database, stored: str
) -> None:
    seeded = seed.judged(database, rulings=("allow", "review", "block"), state=State.MANUAL)
    assert seeded.shown is not None
    older = [
        {"explain": row["explain"], "argv": [["kill", "a b"]] if row["commands"] else [],
         "reasons": [{"message": one["message"], "rule": one["rule"]} for one in row["reasons"]]}
        for row in seeded.verdicts
    ]  # fmt: skip
    rows = {
        "older": older,
        "rubbish": [{"reasons": 7, "commands": [None]}, {"explain": []}, {"hidden": {}}],
        "another": [{**row, "command": "rm -rf /else"} for row in seeded.verdicts],
        "nothing": [],
    }[stored]
    with database.transaction() as work:
        work._connection.execute("UPDATE judgement SET verdicts = %s", [Jsonb(rows)])
    html = panel(signed_in("operator-1"), seeded)
    text = words_of(html)
    for step in seeded.shown.steps:
        assert step.command.split()[0] in text
        assert step.why[1:] in text
        assert step.rule in text
    assert "/else" not in text
    assert ('a<span class="space"> </span>b' in html) is (stored == "older")


def test_what_needs_a_person_comes_first(signed_in: SignIn, database: Database) -> None:
    waiting = seed.judged(database, found=seed.finding(summary="first", severity="warning"))
    seed.moved(database, seed.judged(database, found=seed.finding(summary="third")),
               State.REJECTED, State.CLOSED)  # fmt: skip
    seed.opened(database, found=seed.finding(summary="second"))
    text = signed_in("viewer-1").get("/incidents").text
    assert text.index("first") < text.index("second") < text.index("third")
    assert "(1) Incidents" in text
    assert str(waiting.incident_id) in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"alpha", "beta", "gamma"}),
        ("state=needs", {"alpha"}),
        ("state=awaiting", {"alpha"}),
        ("state=over", {"gamma"}),
        ("state=active", {"alpha", "beta"}),
        ("severity=warning", {"beta"}),
        ("node=node-2", {"beta"}),
        ("condition=process_leak&text=ALPHA", {"alpha"}),
        ("condition=disk_space", set()),
        ("text=100%25", set()),
        ("text=%00gamma", {"gamma"}),
        ("state=nonsense&sort=nonsense&page=-3&node=nowhere", {"alpha", "beta", "gamma"}),
        ("sort=oldest&page=1", {"alpha", "beta", "gamma"}),
        ("sort=severity", {"alpha", "beta", "gamma"}),
        ("sort=node", {"alpha", "beta", "gamma"}),
        ("sort=state", {"alpha", "beta", "gamma"}),
        ("page=99", set()),
    ],
)
def test_filters_are_part_of_the_address(
    signed_in: SignIn, database: Database, query: str, expected: set[str]
) -> None:
    seed.node(database, "node-2")
    seed.judged(database, found=seed.finding(summary="alpha"))
    seed.opened(database, at="node-2", found=seed.finding(summary="beta", severity="warning"))
    seed.moved(database, seed.judged(database, found=seed.finding(summary="gamma")), State.CLOSED)
    text = signed_in("viewer-1").get(f"/incidents?{query}").text
    found = {name for name in ("alpha", "beta", "gamma") if f">{name}</a>" in text}
    assert found == expected


def test_a_long_list_has_pages(settings: ConsoleSettings, people: None, database: Database) -> None:
    seed.node(database)
    for number in range(5):
        seed.opened(database, found=seed.finding(summary=f"number-{number}"))
    app = create_app(msgspec.structs.replace(settings, page_rows=2))
    browser = Browser(app)
    browser.sign_in("viewer-1")
    first = browser.get("/incidents?sort=oldest")
    assert "2 of 5" in first.text
    onward = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert onward is not None
    query = parse_qs(urlsplit(onward[1].replace("&amp;", "&")).query)
    assert query == {"sort": ["oldest"], "page": ["2"]}
    last = browser.get("/incidents?sort=oldest&page=3").text
    assert "number-4" in last
    assert 'rel="next"' not in last
    app.extensions["database"].close()


def marks(text: str) -> str:
    found = re.search(r'"X-Have": "([^"]+)"', text)
    assert found is not None
    return found[1]


def test_an_open_page_is_sent_only_what_changed(signed_in: SignIn, database: Database) -> None:
    seeded = seed.judged(database)
    path = f"/incidents/{seeded.incident_id}"
    browser = signed_in("operator-1")
    have = marks(browser.get(path).text)
    same = browser.get(path, headers={"X-Have": have})
    assert (same.status_code, same.text) == (204, "")
    seed.moved(database, seeded, State.REJECTED)
    changed = browser.get(path, headers={"X-Have": have}).text
    parts = set(re.findall(r'id="part-([a-z]+)" hx-swap-oob', changed))
    assert parts == {"strip", "head", "decision", "trail"}
    assert browser.get(path, headers={"X-Have": marks(changed)}).status_code == 204


def test_empty_pages_say_what_to_do(app: Flask, database: Database) -> None:
    browser = Browser(app)
    browser.sign_in("viewer-1")
    assert "All quiet." in browser.get("/incidents").text
    assert "No incident fits these filters." in browser.get("/incidents?text=nothing").text
    assert "Nothing is signed yet." in browser.get("/audit").text


def test_the_audit_page_filters_and_shows_the_checkpoint(
    signed_in: SignIn, database: Database
) -> None:
    seeded = seed.judged(database)
    seed.logged(database, seeded.incident_id, text="needle")
    seed.logged(database, text="hay")
    browser = signed_in("viewer-1")
    text = browser.get("/audit").text
    assert "needle" in text
    assert "hay" in text
    assert "00" * 32 in text
    only = browser.get(f"/audit?incident={seeded.incident_id}").text
    assert "needle" in only
    assert '<span class="muted">text</span> hay' not in only
    assert "No entry fits." in browser.get("/audit?text=nothing&type=incident.open").text
    assert "needle" in browser.get(f"/incidents/{seeded.incident_id}").text


def test_the_nodes_page_tells_mode_and_losses(signed_in: SignIn, database: Database) -> None:
    seed.node(database, "node-2", dry_run=True)
    with database.transaction() as work:
        work.run("count_dropped", node="node-2", count=17)
        work.run("node_disconnected", node="node-2", now=seed.now())
    text = signed_in("viewer-1").get("/nodes").text
    for expected in ("node-2", "dry run", "17 lost", "not connected", "live"):
        assert expected in text


def test_a_page_that_is_not_there_a_wrong_method_and_too_much_text_have_pages(
    signed_in: SignIn, database: Database
) -> None:
    browser = signed_in("operator-1")
    for path, status in (("/nothing", 404), ("/people", 403)):
        answer = browser.get(path)
        assert answer.status_code == status
        assert "To the incidents" in answer.text
    assert browser.raw_post("/incidents", {}).status_code in {400, 405}
    assert browser.raw_post("/sign-in", {"name": "x" * 70_000}).status_code == 413


def test_what_the_console_does_not_know_is_an_internal_error_without_details(
    signed_in: SignIn, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    seeded = seed.opened(database)
    with database.transaction() as work:
        work._connection.execute("UPDATE incident SET finding = '{\"secret\": 1}'")
    answer = signed_in("operator-1").get(f"/incidents/{seeded.incident_id}")
    assert answer.status_code == 500
    assert "Internal error, see journal." in answer.text
    assert "secret" not in answer.text
    assert "/incidents/" in caplog.text


def test_a_database_that_is_gone_is_said_in_one_sentence(signed_in: SignIn, app: Flask) -> None:
    browser = signed_in("operator-1")
    app.extensions["database"].close()
    answer = browser.get("/incidents")
    assert answer.status_code in {500, 503}
    assert "Traceback" not in answer.text
    assert "To the incidents" in answer.text


def test_administrators_manage_people_and_it_is_on_record(
    signed_in: SignIn, app: Flask, database: Database
) -> None:
    admin = signed_in("admin-1")
    added = admin.post("/people/add", {"name": "viewer-2", "role": "viewer"}, page="/people")
    found = re.search(r"https://localhost(/sign-in/once\?token=[\w-]+)", added.text)
    assert found is not None
    newcomer = Browser(app)
    token = found[1].split("=")[1]
    newcomer.post("/sign-in/once", {"token": token}, page=found[1])
    assert newcomer.get("/incidents").status_code == 200
    assert newcomer.get("/people").status_code == 403
    admin.post("/people/viewer-2/role", {"role": "admin"}, page="/people")
    assert newcomer.get("/people").status_code == 200, "a role counts from the next click on"
    admin.post("/people/viewer-2/disable", page="/people")
    assert newcomer.get("/incidents").status_code == 303
    admin.post("/people/viewer-2/enable", page="/people")
    assert "may sign in" in admin.get("/people").text
    with database.transaction() as work:
        rows = work.all("take_outbox", limit=1000)
    changes = [row["body"]["what"] for row in rows
               if row["type"] == "config.change" and row["actor"]["id"] == "admin-1"]  # fmt: skip
    assert changes == [
        "operator.add", "operator.link", "operator.role", "operator.disable", "operator.enable",
    ]  # fmt: skip


def test_the_last_administrator_cannot_be_removed(signed_in: SignIn) -> None:
    admin = signed_in("admin-1")
    for path, data in (("disable", {}), ("role", {"role": "viewer"})):
        answer = admin.post(f"/people/admin-1/{path}", data, page="/people")
        assert answer.status_code == 409
        assert "last administrator" in answer.text
    assert admin.get("/people").status_code == 200


@pytest.mark.parametrize("verb", ["add", "viewer-1/role", "viewer-1/disable", "viewer-1/reset"])
def test_only_administrators_change_people(
    signed_in: SignIn, database: Database, verb: str
) -> None:
    before = operators.listed(database)
    browser = signed_in("operator-1")
    data = {"name": "viewer-9", "role": "admin"}
    assert browser.post(f"/people/{verb}", data, page="/account").status_code == 403
    after = [(item.name, item.role, item.disabled) for item in operators.listed(database)]
    assert after == [(item.name, item.role, item.disabled) for item in before]


def test_a_host_name_that_is_not_ours_is_refused(settings: ConsoleSettings, people: None) -> None:
    app = create_app(msgspec.structs.replace(settings, names=("console.example",)))
    assert app.test_client().get("/sign-in", base_url="https://evil.example").status_code == 400
    assert app.test_client().get("/sign-in", base_url="https://console.example").status_code == 200
    app.extensions["database"].close()


def test_the_session_key_is_made_once_and_a_damaged_one_is_refused(tmp_path) -> None:
    path = tmp_path / "session.key"
    first = session_key_file(path)
    assert session_key_file(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(SettingsError, match="fewer than 32 bytes"):
        session_key_file(path)


def test_every_state_has_a_word_and_a_sentence() -> None:
    assert set(words.STATES) == set(words.NEXT) == set(State)


def test_figures_read_well() -> None:
    assert present.amount(412 * 1024**2) == "412.0 MiB"
    assert present.amount(0) == "0 B"
    assert present.amount(3 * 1024**5) == "3072.0 TiB"
    assert present.amount(97.26, "percent") == "97.3 %"
    assert present.amount(2048, "bytes/s") == "2.0 KiB/s"
    assert present.when(None) == "never"
    assert "Z</time>" in present.until(seed.now() + timedelta(minutes=1))


def test_what_was_brought_along_is_what_the_readme_says(repository: Path) -> None:
    folder = repository / "hub" / "console"
    row = re.search(r"`static/(htmx[^`]+)` .*`([0-9a-f]{64})`", (folder / "README.md").read_text())
    assert row is not None
    assert hashlib.sha256((folder / "static" / row[1]).read_bytes()).hexdigest() == row[2]
