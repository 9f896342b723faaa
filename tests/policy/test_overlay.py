"""A node's overlay can only tighten: whatever it says, no verdict gets better."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.errors import PolicyError
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.overlay import tightened
from policy.replay import granted
from policy.rules import Bundle
from policy.source import Source, load
from policy.verdict import Risk, Ruling, Verdict
from tests.policy.test_corpus import lines
from tests.policy.test_verdicts import PROBES

OVERLAY = b"""
[[forbid]]
names = ["dmesg"]
why = "kernel messages are classified here"

[[require-review]]
names = ["ss"]
why = "sockets are looked at by two people"

[[remove]]
names = ["vmstat"]
why = "not used on this host"

[[narrow]]
name = "tail"
why = "no more than a screen"
options = { "-n" = "int(1..50)" }
without = ["-c"]

[[narrow]]
name = "systemctl"
why = "this host's units are restarted, never reloaded"
without = ["reload"]

[[narrow]]
name = "rm"
why = "only what the spool holds"
operands = "path-under(/var/tmp)"
"""


def ask(bundle: Bundle, text: str) -> Verdict:
    return judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())


@pytest.fixture(scope="module")
def tight(bundle: Bundle) -> Bundle:
    return tightened(bundle, "overlay.toml", OVERLAY)


@pytest.mark.parametrize(
    ("text", "ruling", "rule"),
    [
        ("dmesg -T", Ruling.BLOCK, "overlay.toml:2"),
        ("ss -tln", Ruling.REVIEW, "overlay.toml:6"),
        ("vmstat 1 2", Ruling.REVIEW, "overlay.toml:10"),
        ("tail -n 51 /etc/hosts", Ruling.REVIEW, "overlay.toml:14"),
        ("tail -n 50 /etc/hosts", Ruling.ALLOW, ""),
        ("systemctl reload nginx", Ruling.BLOCK, "overlay.toml:20"),
        ("systemctl restart nginx", Ruling.ALLOW, ""),
        ("rm -f /tmp/dump.bin", Ruling.BLOCK, "overlay.toml:25"),
        ("rm -f /var/tmp/export.csv", Ruling.ALLOW, ""),
        ("df -h | tail -n 51", Ruling.REVIEW, "overlay.toml:14"),
    ],
)
def test_each_kind_of_line_tightens_and_is_named(
    tight: Bundle, text: str, ruling: Ruling, rule: str
) -> None:
    verdict = ask(tight, text)
    assert verdict.ruling is ruling
    if rule:
        assert verdict.reasons[0].rule == rule


def test_the_policy_itself_stays_the_same(bundle: Bundle, tight: Bundle) -> None:
    assert tight.digest == bundle.digest
    assert tight.commands == bundle.commands


def corpus() -> list[str]:
    return [*PROBES, *lines()]


def names_of(bundle: Bundle) -> list[str]:
    return sorted(bundle.commands)


@st.composite
def overlays(draw: st.DrawFn, bundle: Bundle) -> bytes:
    """Any mix of tables over programs and options that the policy knows."""
    some = st.lists(st.sampled_from(names_of(bundle)), max_size=4, unique=True)
    tables = [
        f"[[{kind}]]\nnames = {json.dumps(draw(some))}\nwhy = 'so'\n"
        for kind in ("forbid", "require-review", "remove")
    ]
    for name in draw(st.lists(st.sampled_from(names_of(bundle)), max_size=6, unique=True)):
        forms = bundle.commands[name].forms
        words = sorted({word for form in forms for word in (*form.flags, *form.options)})
        options = sorted({word for form in forms for word in form.options})
        without = draw(st.lists(st.sampled_from(words), max_size=5, unique=True)) if words else []
        typed = draw(st.lists(st.sampled_from(options), max_size=3, unique=True)) if options else []
        kind = draw(st.sampled_from(["text", "int(1..9)", "path-read", "unit", "enum(a|b)"]))
        operands = draw(st.sampled_from(["", "text", "path-under(/tmp)", "int(1..9)"]))
        types = ", ".join(f"{json.dumps(option)} = '{kind}'" for option in typed)
        tables.append(
            f"[[narrow]]\nname = '{name}'\nwhy = 'so'\nwithout = {json.dumps(without)}\n"
            f"options = {{ {types} }}\noperands = '{operands}'\n"
            f"risk = '{draw(st.sampled_from(['low', 'high']))}'\n"
        )
    return "\n".join(tables).encode()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_overlay_makes_any_verdict_better(bundle: Bundle, data: st.DataObject) -> None:
    tight = tightened(bundle, "overlay.toml", data.draw(overlays(bundle)))
    for text in corpus()[:: data.draw(st.integers(3, 9))]:
        before, after = ask(bundle, text), ask(tight, text)
        assert after.ruling >= before.ruling, text
        assert Risk.of(after.risk) >= Risk.of(before.risk), text
        assert granted(after) == granted(before), text


def test_an_overlay_raises_a_risk_and_never_lowers_one(bundle: Bundle) -> None:
    text = b"[[narrow]]\nname = 'systemctl'\nwhy = 'x'\nrisk = 'high'\n"
    text += b"[[narrow]]\nname = 'rm'\nwhy = 'x'\nrisk = 'low'\n"
    tight = tightened(bundle, "overlay.toml", text)
    for command, before, after in (
        ("systemctl restart nginx", "low", "high"),
        ("rm -f /var/tmp/export.csv", "high", "high"),
        ("df -h | sort", "low", "low"),
    ):
        assert (ask(bundle, command).risk, ask(tight, command).risk) == (before, after)
        assert ask(tight, command).ruling is Ruling.ALLOW


def test_an_overlay_over_everything_that_may_run_lets_nothing_run(bundle: Bundle) -> None:
    names = json.dumps(names_of(bundle))
    tight = tightened(bundle, "o", f"[[remove]]\nnames = {names}\nwhy = 'x'\n".encode())
    assert not [text for text in corpus() if ask(tight, text).ruling is Ruling.ALLOW]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[[allow]]\nnames = ['rm']\nwhy = ''\n", 1, "allow"),
        ("[[command]]\nname = 'rm'\n", 1, "command"),
        ("[[type]]\nname = 'x'\npattern = '.*'\nexpected = ''\n", 1, "type"),
        ("[places]\nsecret = []\n", 1, "places"),
        ("[[forbid]]\nnames = 'rm'\nwhy = ''\n", 1, "array"),
        ("\n[[narrow]]\nname = 'nosuch'\nwhy = ''\n", 2, "no rule knows nosuch"),
        ("\n[[narrow]]\nname = 'tail'\nwhy = ''\nwithout = ['--nosuch']\n", 2, "--nosuch"),
        ("[[narrow]]\nname = 'tail'\nwhy = ''\noptions = { '-n' = 'nosuch' }\n", 1, "unknown type"),
        ("[[narrow]]\nname = 'tail'\nwhy = ''\nflags = ['-x']\n", 1, "unknown field"),
        ("forbid = [{names = ['rm'], why = ''}]\n", 1, "forbid"),
        ("[[forbid]\n", 1, "not TOML"),
    ],
)
def test_an_overlay_that_says_anything_else_is_refused_with_its_line(
    bundle: Bundle, text: str, line: int, message: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        tightened(bundle, "overlay.toml", text.encode())
    assert (caught.value.file, caught.value.line) == ("overlay.toml", line)
    assert message in caught.value.message


@given(st.binary(max_size=120))
def test_any_bytes_are_an_overlay_or_refuse_everything(bundle: Bundle, data: bytes) -> None:
    try:
        tight = tightened(bundle, "overlay.toml", data)
    except PolicyError:
        return
    assert ask(tight, "rm -rf /").ruling is Ruling.BLOCK


def test_a_node_with_a_broken_overlay_refuses_everything(
    tmp_path: Path, ask: Callable[..., Verdict]
) -> None:
    overlay = tmp_path / "overlay.toml"
    for text in ("[[allow]]\n", "\xff"):
        overlay.write_text(text, encoding="latin-1")
        loaded = load(Source(overlay=overlay))
        assert (
            judge("uptime", bundle=loaded.bundle, facts=EXAMPLE_FACTS, second=EchoReader())
            .reasons[0]
            .rule.startswith("overlay.toml:")
        )
    assert load(Source(overlay=tmp_path / "none")).bundle.refusal
