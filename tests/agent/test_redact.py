"""No secret leaves the node: known shapes by example, their surroundings by property."""

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.redact import MARK, command_line, secrets_hidden, text

SECRET = "hunter2-Sup3rS3cret"
secrets = st.text(
    string.ascii_letters + string.digits + "-_.+/@!%*", min_size=8, max_size=40
).filter(lambda one: any(char.isalnum() for char in one) and not one.startswith("-"))
plain_words = st.lists(
    st.text(string.ascii_lowercase + string.digits + "/._-", min_size=1, max_size=12), max_size=4
)


@pytest.mark.parametrize(
    "words",
    [
        ["app", f"--password={SECRET}"],
        ["app", "--password", SECRET],
        ["app", "-password", SECRET],
        ["app", f"--db-password={SECRET} with blanks {SECRET}"],
        ["env", f"PGPASSWORD={SECRET}", "psql"],
        ["app", f"--api-key={SECRET}", "--verbose"],
        ["app", "--auth-token", SECRET],
        ["mysql", "-u", "root", f"-p{SECRET}"],
        ["sudo", "mysqldump", f"-p{SECRET}", "all"],
        ["sshpass", "-p", SECRET, "ssh", "host"],
        ["curl", "-u", f"me:{SECRET}", "https://h"],
        ["curl", "-H", f"Authorization: Bearer {SECRET}"],
        ["curl", "-H", f"X-Auth-Token: {SECRET}"],
        ["curl", f"https://me:{SECRET}@host/path"],
        ["redis-cli", "-a", SECRET],
        ["useradd", "-p", SECRET, "x"],
        ["app", f'{{"password": "{SECRET}", "x": 1}}'],
        ["java", f"-Djavax.net.ssl.keyStorePassword={SECRET}"],
    ],
)
def test_a_secret_on_a_command_line_is_redacted(words: list[str]) -> None:
    shown = command_line(words)
    assert SECRET not in shown
    assert MARK in shown


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"connect postgres://app:{SECRET}@db/app failed", SECRET),
        (f"Authorization: Basic {SECRET}", SECRET),
        (f"got token={SECRET}; retrying", SECRET),
        ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"),
        (f"aws_secret_access_key = {SECRET}", SECRET),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl done", "eyJzdWIiOiIxIn0"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY----- rest", "MIIabc"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1", "b3BlbnNzaC1"),
        ("hash $6$saltsalt$abcdefghijklmnop set", "abcdefghijklmnop"),
        (f"the password is {SECRET}", SECRET),
        (f"vault hvs.{'A' * 24}", "A" * 24),
        (f"ghp_{'a' * 36}", "a" * 36),
    ],
)
def test_a_secret_in_a_log_line_is_redacted(line: str, secret: str) -> None:
    assert secret not in text(line)


@pytest.mark.parametrize(
    "words",
    [
        ["/usr/bin/python3", "-m", "app", "--port=8080"],
        ["nginx:", "worker", "process"],
        ["/usr/sbin/sshd", "-D", "-p", "22"],
        ["java", "-Xmx2g", "-jar", "/srv/app.jar"],
        ["tail", "-n", "100", "/var/log/messages"],
    ],
)
def test_an_ordinary_command_line_stays_as_it_is(words: list[str]) -> None:
    assert command_line(words) == " ".join(words)


@given(secret=secrets, before=plain_words, after=plain_words)
def test_any_password_option_is_redacted_wherever_it_stands(
    secret: str, before: list[str], after: list[str]
) -> None:
    secret += "Zq9"  # no plain word has capitals, so that the secret is found only if it leaked
    for option in ([f"--password={secret}"], ["--password", secret], [f"DB_PASSWORD={secret}"]):
        shown = command_line([*before, *option, *after])
        assert MARK in shown
        assert secret not in shown
        assert "Zq9" not in shown


@given(secret=st.text(string.ascii_letters + string.digits, min_size=8, max_size=60))
def test_any_password_in_a_url_is_redacted(secret: str) -> None:
    secret += "Zq9"
    assert secret not in text(f"amqp://user:{secret}@host:5672/vhost")
    assert secret not in command_line(["worker", f"--broker=amqp://user:{secret}@host/"])


@given(st.text(max_size=6000))
def test_any_text_comes_out_on_one_line_bounded_and_without_control_characters(line: str) -> None:
    for shown in (text(line), command_line([line, line])):
        assert len(shown) <= 4096
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)


@given(st.lists(st.text(max_size=40), max_size=6))
def test_redacting_twice_changes_nothing_more(words: list[str]) -> None:
    once = text(command_line(words))
    assert MARK not in once or MARK in text(once)


@pytest.mark.parametrize(
    "piece",
    ["y", "a.", "password", "password ", "--", "://", "a://b:", "eyJ", "-eyJ", "eyJaaaaaaaa.",
     "token=", "-----BEGIN ", "-----BEGIN PRIVATE KEY", "s.", "bearer ", "$6$", '"', "sk-", "\t"],
)  # fmt: skip
def test_no_text_keeps_the_redaction_busy(piece: str) -> None:
    """A process can choose its command line, and a program its output."""
    hostile = piece * (64 * 1024 // len(piece))
    began = time.process_time()
    secrets_hidden(hostile)
    command_line([hostile, hostile])
    assert time.process_time() - began < 3
