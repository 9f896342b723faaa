"""The texts themselves: what is said to a person about each kind of refusal, word for word.

After a change of words, look at the difference and run with SENTINEL_APPROVE=1 to keep it.
"""

import os
from pathlib import Path

import pytest

from policy import constructs
from policy.bundle import parse_bundle
from policy.errors import SyntaxRefusedError
from policy.evaluate import SecondReader, judge
from policy.explain import explain
from policy.facts import EXAMPLE_FACTS
from policy.overlay import tightened
from policy.reader import MAX_CHARACTERS, read
from policy.rules import Bundle
from policy.syntax import BashlexReader
from policy.verdict import Effect, Reason, Risk
from tests.policy.test_overlay import names_of
from tests.policy.test_second_reader import CannotTell, SaysSomethingElse

APPROVED = Path(__file__).parent / "approved"
OVERLAY = b"""[[forbid]]
names = ["ping"]
why = "this host asks nobody"

[[require-review]]
names = ["sort"]
why = "two people look at this"

[[narrow]]
name = "journalctl"
why = "no more than a screen here"
options = { "-n" = "int(1..50)" }
"""

# One line for each construct of the shell that the language leaves out.
SHELL = {
    "too-long": "echo " + "x" * MAX_CHARACTERS,
    "too-many-commands": "; ".join("abcdefghi"),
    "too-many-words": "ps " + "x " * 64,
    "empty": "  ",
    "newline": "ps aux\nrm -rf /",
    "control": "ps\taux",
    "non-ascii": "rm \u2013rf /tmp/x",
    "missing-command": "ps aux | | sort",
    "redirection-first": ">/dev/null ps aux",
    "empty-name": "'' x",
    "assignment": "LD_PRELOAD=/tmp/e.so ps aux",
    "reserved-word": "if true; then rm -rf /; fi",
    "builtin": "eval rm -rf /data",
    "comment": "ps aux # | rm -rf /",
    "tilde": "sort ~/notes",
    "placeholder": "systemctl restart <service-name>",
    "brace": "{rm,-rf,/data}",
    "glob": "rm -f /tmp/*",
    "command-substitution": "systemctl restart $(cat /tmp/x; rm -rf /data)",
    "process-substitution": 'sort ""<(rm -rf /data)',
    "ansi-c-quote": "find . $'-\\x65xec' rm",
    "expansion": "kill $PID",
    "history": "sort !!",
    "here-document": "sort <<E",
    "here-string": "sort <<< x",
    "redirection": "sort /etc/hosts > /etc/passwd",
    "background": "ps aux &",
    "subshell": "(rm -rf /data)",
    "operator": "ps aux |& sort",
    "quote": "sort 'unterminated",
    "backslash": "sort x\\",
}
RULES = [
    "ps aux",
    "ps aux --sort=-rss | sort -rn 2>/dev/null && journalctl --no-pager -u nginx -n 50",
    "journalctl --vacuum-size=500M",
    "kill -s TERM 4242",
    "frobnicate --all",
    "./ps aux",
    "./frobnicate",
    "/tmp/ps aux",
    "sudo ps aux",
    "ps --forest",
    "ps --sort=PID;rm",
    "ps aux --sort 'a b'",
    "ps -p",
    "ps -p 99999999999",
    "sort -o /etc/passwd /etc/passwd",
    "sort --compress-prog=x /etc/hosts",
    "sort /root/notes",
    "sort /srv//tls/./a.key",
    "sort /dev/sda",
    "base64 /etc/shadow",
    "journalctl -u nginx",
    "journalctl --no-pager -u 'nginx*'",
    "journalctl --vacuum-size=1M",
    "systemctl reboot",
    "systemctl restart",
    "systemctl restart nginx postgresql",
    "systemctl restart mysql",
    "systemctl restart YOUR_SERVICE",
    "systemctl restart reboot.target",
    "kill 1",
    "kill 812",
    "kill 4243",
    "rm -f /etc/passwd",
    "rm -f tmp/dump.bin",
    "rm -f /tmp/x/../dump.bin",
    "rm -f /var/log/audit/audit.log",
    "ping -c 3 evil.example",
    "ping localhost",
    "umount /srv/data",
    "fstrim /srv/data",
]
TIGHTENED = ["ping -c 1 localhost", "ps aux | sort -n", "journalctl --no-pager -n 500"]


def told(text: str, bundle: Bundle, second: SecondReader) -> str:
    verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=second)
    hidden = () if verdict.program else second.hidden(text)
    drawn = explain(verdict, hidden=hidden)
    return drawn.replace(f"policy {verdict.policy_digest[:16]}", "policy DIGEST")


@pytest.fixture(scope="module")
def rules() -> Bundle:
    return parse_bundle({"rules.toml": (APPROVED / "rules.toml").read_bytes()})


def same(name: str, texts: list[str]) -> None:
    """The texts are the approved ones; a difference shows both."""
    file = APPROVED / name
    text = "\n".join(texts)
    if os.environ.get("SENTINEL_APPROVE"):
        file.write_text(text)
    assert text == file.read_text()


def test_the_words_for_each_construct_of_the_shell() -> None:
    bundle = parse_bundle({"rules.toml": (APPROVED / "rules.toml").read_bytes()})
    same("shell.txt", [told(text, bundle, BashlexReader()) for text in SHELL.values()])


def test_every_construct_has_a_text_that_shows_it() -> None:
    assert list(SHELL) == list(constructs.WORDS)
    for construct, text in SHELL.items():
        with pytest.raises(SyntaxRefusedError) as refused:
            read(text)
        assert refused.value.construct == construct
        assert refused.value.hint


def test_the_words_for_what_a_rule_says(rules: Bundle) -> None:
    same("rules.txt", [told(text, rules, BashlexReader()) for text in RULES])


def test_the_words_for_what_an_overlay_says(rules: Bundle) -> None:
    tight = tightened(rules, "overlay.toml", OVERLAY)
    same("overlay.txt", [told(text, tight, BashlexReader()) for text in TIGHTENED])


def test_the_words_for_a_second_reader_that_is_not_sure(rules: Bundle) -> None:
    readers = (SaysSomethingElse(), CannotTell())
    same("second.txt", [told("ps aux", rules, reader) for reader in readers])  # type: ignore[arg-type]


def test_the_words_for_a_broken_policy() -> None:
    same("broken.txt", [told("ps aux", Bundle.refuse_all("why it is broken"), BashlexReader())])


def test_every_fault_a_rule_can_find_has_an_approved_text(rules: Bundle) -> None:
    def codes(text: str) -> tuple[Reason, ...]:
        return judge(text, bundle=rules, facts=EXAMPLE_FACTS, second=BashlexReader()).reasons

    shown = {reason.code for text in RULES for reason in codes(text)}
    assert shown >= {
        *("allowed", "default", "forbidden", "program-path", "relative-program", "subcommand"),
        *("unknown-option", "bad-value", "missing-value", "missing-operand", "operand", "door"),
        *("secret-path", "device-path", "precious-path", "outside-roots", "relative-path"),
        *("dot-dot", "not-in-evidence", "not-in-inventory", "protected", "placeholder"),
        *("role", "change-window", "missing:--no-pager"),
    }


def test_what_a_node_may_change_is_what_people_approved(bundle: Bundle) -> None:
    """Every form with an effect, and every program where an unknown word is a block."""
    lines = []
    for name in names_of(bundle):
        command = bundle.commands[name]
        lines.append(f"{name}: {command.otherwise.word}")
        for form in command.forms:
            if form.effect > Effect.READ:
                names = " | ".join(" ".join(words) for words in form.names)
                operands = " ".join(operand.type.source for operand in form.operands)
                need = " ".join("|".join(words) for words in form.require)
                what = " ".join(part for part in (names, need, operands) if part)
                risk = ", high risk" if form.risk is Risk.HIGH else ""
                lines.append(f"  {form.effect.word}{risk}: {what}")
                lines.append(f"    {form.why}; undo: {form.undo}")
                lines.append(f"    needs: {' '.join(form.needs) or 'nothing'}")
    same("actions.txt", [*lines, ""])
