"""Places that no rule can reach: what a pattern covers, and patterns that would not say."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.places import Guard, Matcher, Places, check_pattern, normal_path
from policy.rules import Bundle

PATTERNS = (
    *("/root", "/etc/shadow*", "/home/*/.*", "/proc/*/fd", "/etc/a*b/c"),
    *("/**/.ssh", "/**/id_rsa*", "/**/*.key", "/**/*secret*"),
)
NAMES = [
    *("root", "etc", "shadow", "shadow-", "home", "al", ".ssh", ".x", "proc", "1", "fd", "fdx"),
    *("id_rsa", "id_rsa.pub", "xid_rsa", "a.key", "a.keys", ".key", "mysecrets", "ab", "axb", "c"),
]


def covered_slowly(path: str) -> bool:
    """The same question, asked of each part of the path with the standard library."""
    parts = path.split("/")[1:]
    for pattern in PATTERNS:
        if pattern.startswith("/**/"):
            if any(fnmatch.fnmatchcase(part, pattern[4:]) for part in parts):
                return True
        else:
            wanted = pattern.split("/")[1:]
            pairs = list(zip(parts, wanted, strict=False))
            if len(parts) >= len(wanted) and all(fnmatch.fnmatchcase(*pair) for pair in pairs):
                return True
    return False


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5))
def test_a_place_covers_what_its_pattern_says_and_all_below(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert Matcher(PATTERNS).covers(path) is covered_slowly(path)


@given(st.text(alphabet="/.ab*", max_size=12))
def test_a_path_is_judged_by_its_normal_form(text: str) -> None:
    path = normal_path(text)
    assert path.startswith("/")
    assert normal_path(path) == path


@pytest.mark.parametrize(
    "pattern",
    [
        "root",
        "/ro*/x",
        "/a/**/b",
        "/**/a/b",
        "/**/a*b",
        "/**/*",
        "/**/",
        "/a/../b",
        "/a/",
        "**",
        "",
    ],
)
def test_a_pattern_that_would_not_be_read_as_written_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"write|first folder|one name"):
        check_pattern(pattern)


def test_every_shipped_pattern_is_one_that_is_understood(bundle: Bundle) -> None:
    for path in ("/etc/shadow", "/srv/x/.ssh/id_rsa", "/a/b/tls.key", "/home/al/.bash_history"):
        assert bundle.guard.secret.covers(path)
    assert not bundle.guard.secret.covers("/var/log/messages")


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("db1.site.test", True),
        ("DB1.site.test", True),
        ("a.b.site.test", False),
        ("site.test", False),
        ("x" * 40 + ".site.test", False),
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("fd00::1", True),
        ("localhost", True),
        ("localhost.evil.test", False),
        ("", False),
        ("10.1.2.3/8", False),
    ],
)
def test_a_host_is_one_that_the_places_name(host: str, *, known: bool) -> None:
    hosts = ("localhost", "*.site.test", "10.0.0.0/8", "fd00::/8")
    assert Guard(Places(hosts=hosts)).may_ask(host) is known
