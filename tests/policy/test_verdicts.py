"""Verdicts: what attacks get, what evidence decides, and that nothing lowers a ruling."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from policy.bundle import parse_bundle
from policy.evaluate import EchoReader, judge
from policy.evidence import facts_of
from policy.explain import explain, visible
from policy.facts import EXAMPLE_FACTS, Facts, ProcessFact, decode_facts
from policy.rules import Bundle
from policy.verdict import Reason, Ruling, Verdict
from policy.worker import GuardedReader
from tests.hub.builders import finding

PROBES = [
    line
    for line in (Path(__file__).parent / "probes.txt").read_text().splitlines()
    if line and not line.startswith("## ")
]
NEED_NOT_BLOCK = {"rm --force /tmp/x.pid", "sort < in > out"}
PIECES = ["ps aux", "frobnicate", "rm -rf /", "kill -9 4242", "uptime"]

SECRETS = [
    "cat /etc/shadow",
    "cat //etc///shadow",
    "cat /etc/./shadow",
    "cat /var/../etc/shadow",
    "cat /../etc/shadow",
    "head -n1 /etc/shadow-",
    "grep root /etc/gshadow",
    "cat /root/.bash_history",
    "tail /home/alice/.ssh/id_rsa",
    "cat /proc/self/environ",
    "cat /proc/4242/root/etc/shadow",
    "cat /srv/app/.env",
    "wc -c /etc/ssl/private/tls.pem",
    "sort /etc/sentinel/order.key",
    "ls /root",
    "find /root -name x",
    "sha256sum /etc/pki/tls/private/a.key",
    "grep -r x --include '*.conf' /etc",
    "grep -r x --include '*.conf' /",
    "cat /dev/sda",
    "head -c 100 /dev/mem",
    "dd if=/dev/sda of=/dev/null bs=1M count=1",
]

DOORS = [
    "less /etc/fstab",
    "journalctl -u nginx",
    "systemctl status nginx",
    "sort --compress-program=x /etc/fstab",
    "sort --compress-prog=x /etc/fstab",
    "find /var -exec x '{}' +",
    "find /var -fprintf /etc/passwd x",
    "systemctl edit nginx",
    "ip netns exec a sh",
    "ip -b /tmp/x",
    "dmesg -C",
    "dmesg -c",
    "date -s 12:00",
    "date --set 12:00",
    "ss -K",
    "ss --kill",
    "hostname evil",
    "top",
    "tail -f /var/log/messages",
    "uniq /etc/fstab /etc/passwd",
    "journalctl --no-pager --vacuum-size=1",
    "systemctl --no-pager show nginx; systemctl daemon-reexec",
    "ip addr add 10.0.0.1/24 dev eth0",
    "ip a del 10.0.0.1/24 dev eth0",
    "ip addr show; ip link set eth0 down",
    "kill -9 -1",
    "kill -9 -15 4242",
    "kill -s KILL -- -4242",
    "kill 4242 -1",
    "kill -KILL 4242 1",
    "kill 04242",
    "rm -f /tmp/dump.bin /etc/passwd",
    "rm -fr /tmp/dump.bin",
    "find /tmp /etc -xdev -type f -mtime +1 -delete",
    "find /tmp -xdev -type f -mtime +1 -o -delete",
    "find -P /tmp -xdev -type f -mtime +1 -delete",
    "truncate -s 0 /var/log/../../etc/x.log",
    "pidstat -e rm 1 1",
]


@pytest.mark.parametrize("text", PROBES)
def test_a_command_that_beats_denylists_is_blocked(
    text: str, ask: Callable[..., Verdict], worker: GuardedReader
) -> None:
    verdict = ask(text, facts=Facts(), second=worker)
    assert verdict.ruling > Ruling.ALLOW
    if text not in NEED_NOT_BLOCK:
        assert verdict.ruling is Ruling.BLOCK


@pytest.mark.parametrize("text", PROBES)
def test_no_evidence_makes_such_a_command_allowed(text: str, ask: Callable[..., Verdict]) -> None:
    assert ask(text).ruling > Ruling.ALLOW


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_or_a_device_is_not_read(text: str, ask: Callable[..., Verdict]) -> None:
    assert ask(text).ruling is Ruling.BLOCK


@pytest.mark.parametrize("text", DOORS)
def test_a_door_to_another_program_or_a_change_stays_shut(
    text: str, ask: Callable[..., Verdict]
) -> None:
    assert ask(text).ruling > Ruling.ALLOW


def test_an_option_that_is_a_door_is_blocked_and_so_is_its_abbreviation(
    ask: Callable[..., Verdict],
) -> None:
    for text in ("sort --compress-program=x /etc/fstab", "sort --compr=x /etc/fstab", "ss -tK"):
        verdict = ask(text)
        assert (verdict.ruling, verdict.reasons[0].code) == (Ruling.BLOCK, "door"), text
    assert "runs a program" in ask("sort --compr=x /etc/fstab").reasons[0].message


def test_a_review_names_the_single_word_that_stands_in_the_way(ask: Callable[..., Verdict]) -> None:
    for text, word in {
        "ps aux --weird": "--weird",
        "uname -a now": "now",
        "vmstat 1": "vmstat",
        "free -s 5": "free",
        "tail -k /var/log/messages": "-k",
        "df -h | frobnicate -x": "frobnicate",
    }.items():
        verdict = ask(text)
        assert (verdict.ruling, verdict.reasons[0].token) == (Ruling.REVIEW, word), text


def test_a_person_is_not_asked_to_run_what_names_a_secret_place(
    ask: Callable[..., Verdict],
) -> None:
    for text in ("base64 /etc/shadow", "x --file=/root/.ssh/id_rsa", "grep --weird x /etc/shadow"):
        verdict = ask(text)
        assert (verdict.ruling, verdict.reasons[0].code) == (Ruling.BLOCK, "secret-path"), text


def test_a_relative_name_is_read_from_the_folder_commands_run_in(
    ask: Callable[..., Verdict],
) -> None:
    assert ask("cat etc/hosts").ruling is Ruling.ALLOW
    assert ask("cat etc/shadow").reasons[0].code == "secret-path"
    assert ask("cat var/../etc/./shadow").reasons[0].code == "secret-path"
    assert ask("rm -f tmp/dump.bin").ruling is Ruling.BLOCK


@pytest.mark.parametrize(("engine", "known"), [("docker", 2), ("libpod", 2), ("x", 0)])
def test_the_container_of_a_process_of_the_evidence_is_known(engine: str, known: int) -> None:
    identity = "3f" * 32
    seen = finding()
    process = structs.replace(seen.evidence[0], unit=f"{engine}-{identity}.scope")
    facts = facts_of(structs.replace(seen, evidence=(process,)))
    assert sorted(facts.containers) == [identity[:12], identity][:known]


def test_a_program_without_a_rule_is_for_review_by_default(ask: Callable[..., Verdict]) -> None:
    verdict = ask("frobnicate --all")
    assert (verdict.ruling, verdict.effect) == (Ruling.REVIEW, None)
    assert (verdict.reasons[0].code, verdict.reasons[0].rule) == ("default", "default")


def test_the_first_words_of_another_place_are_not_the_program(ask: Callable[..., Verdict]) -> None:
    assert ask("/usr/bin/ps aux").ruling is Ruling.ALLOW
    assert ask("/tmp/ps aux").ruling is Ruling.BLOCK
    assert ask("./ps aux").ruling is Ruling.BLOCK
    assert ask("/tmp/sudo x").ruling is Ruling.BLOCK
    assert ask("x/y z").ruling is Ruling.BLOCK


def test_only_a_process_of_the_evidence_may_be_ended(ask: Callable[..., Verdict]) -> None:
    here = Facts(processes=frozenset({ProcessFact(pid=7, started_ticks=1)}))
    assert ask("kill -TERM 7", facts=here).ruling is Ruling.ALLOW
    assert ask("kill -TERM 8", facts=here).reasons[0].code == "not-in-evidence"
    assert ask("kill -TERM 7", facts=Facts()).ruling is Ruling.BLOCK


def test_a_protected_process_and_init_are_never_ended(ask: Callable[..., Verdict]) -> None:
    everything = frozenset(
        {
            ProcessFact(pid=1, started_ticks=0),
            ProcessFact(pid=9, started_ticks=5, protected="sshd: the way in"),
        }
    )
    facts = Facts(processes=everything)
    shielded = ask("kill -9 9", facts=facts).reasons[0]
    assert (shielded.code, "sshd: the way in" in shielded.message) == ("protected", True)
    assert ask("kill -9 1", facts=facts).reasons[0].code == "protected"


def test_only_a_unit_of_the_evidence_is_acted_upon(ask: Callable[..., Verdict]) -> None:
    assert ask("systemctl restart nginx").ruling is Ruling.ALLOW
    assert ask("systemctl restart nginx.service").ruling is Ruling.ALLOW
    assert ask("systemctl restart mysql").reasons[0].code == "not-in-evidence"
    dangerous = Facts(units=frozenset({"reboot.target", "dbus.service", "sentinel-agent.service"}))
    for unit in ("reboot.target", "dbus", "sentinel-agent"):
        assert ask(f"systemctl restart {unit}", facts=dangerous).reasons[0].code == "protected"


def test_only_a_file_of_the_evidence_below_the_named_roots_is_deleted(
    ask: Callable[..., Verdict],
) -> None:
    facts = Facts(paths=frozenset({"/tmp/a", "/etc/passwd", "/tmp", "/var/log/journal/x.log"}))
    assert ask("rm -f /tmp//./a", facts=facts).ruling is Ruling.ALLOW
    for text in (
        "rm /tmp/b",
        "rm /etc/passwd",
        "rm /tmp",
        "rm /tmp/",
        "rm /tmp/.",
        "rm /tmp/b/../a",
        "rm -d /tmp/a",
        "truncate -s 0 /var/log/journal/x.log",
    ):
        assert ask(text, facts=facts).ruling is Ruling.BLOCK, text


def test_a_line_is_as_bad_as_its_worst_command(ask: Callable[..., Verdict]) -> None:
    alone = {text: ask(text).ruling for text in PIECES}
    for left, right in itertools.product(PIECES, PIECES):
        for join in (" | ", " && ", " || ", "; "):
            assert ask(left + join + right).ruling is max(alone[left], alone[right])


def test_the_effect_is_the_worst_one_and_unknown_when_one_is_unknown(
    ask: Callable[..., Verdict],
) -> None:
    assert ask("ps aux").effect == "read"
    assert ask("ps aux; systemctl restart nginx").effect == "state"
    assert ask("kill 4242 && rm /tmp/dump.bin").effect == "destroy"
    assert ask("ps aux; frobnicate").effect is None


def test_the_verdict_tells_the_executor_where_the_programs_live(
    ask: Callable[..., Verdict],
) -> None:
    command = ask("systemctl restart nginx").commands[0]
    assert "/usr/bin/systemctl" in command.paths
    assert (command.effect, bool(command.undo)) == ("state", True)


def test_rulings_combine_by_their_maximum_in_any_order() -> None:
    assert Ruling.ALLOW < Ruling.REVIEW < Ruling.BLOCK
    assert [Ruling.of(word) for word in ("allow", "review", "block", "?")] == [0, 1, 2, 2]
    assert [ruling.word for ruling in Ruling] == ["allow", "review", "block"]


@given(st.text(max_size=80))
def test_any_text_is_judged_and_never_raises(ask: Callable[..., Verdict], text: str) -> None:
    verdict = ask(text)
    assert verdict.reasons
    assert verdict.ruling is max(reason.ruling for reason in verdict.reasons)
    assert explain(verdict).replace("\n", "").isprintable()


WORDS = """
ps kill rm find systemctl ip journalctl grep -9 -f -delete -xdev -type f -mtime +7 4242 1 812
restart nginx addr show add -- - = --x= /tmp /etc/shadow /tmp/dump.bin .. a=b '' -e -- -n 5
--no-pager -u status | ; && 2>&1
"""


@given(st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=9))
def test_any_mix_of_known_words_is_judged_and_an_allowed_one_reads_as_itself(
    ask: Callable[..., Verdict], words: list[str]
) -> None:
    verdict = ask(" ".join(words))
    assert all(reason.code != "internal" for reason in verdict.reasons)
    if verdict.ruling is Ruling.ALLOW:
        assert verdict.program is not None
        assert all(reason.code == "allowed" for reason in verdict.reasons)
        for argv in verdict.program.argvs:
            assert argv[0] != "kill" or "4242" in argv
            assert argv[0] != "rm" or "/tmp/dump.bin" in argv
            assert not {"1", "812"} & set(argv) or argv[0] != "kill"
            assert "/etc/shadow" not in argv or argv[:1] == ("grep",)


def test_the_same_question_gets_the_same_answer(ask: Callable[..., Verdict]) -> None:
    for text in (*PIECES, *PROBES[:20]):
        assert ask(text) == ask(text)


def test_without_a_second_reader_the_best_is_review(bundle: Bundle) -> None:
    verdict = judge("ps aux", bundle=bundle, facts=Facts(), second=None)
    assert (verdict.ruling, verdict.reasons[0].code) == (Ruling.REVIEW, "second-reader")


def test_an_engine_that_fails_blocks(bundle: Bundle) -> None:
    broken: object = None
    verdict = judge(
        "kill 4242",
        bundle=bundle,
        facts=broken,  # type: ignore[arg-type]
        second=EchoReader(),
    )
    assert (verdict.ruling, verdict.reasons[0].code) == (Ruling.BLOCK, "internal")


def test_every_reason_names_a_rule_and_says_why(ask: Callable[..., Verdict]) -> None:
    allowed, refused = ask("ps aux").reasons[0], ask("rm -rf /").reasons[0]
    for reason in (allowed, refused):
        file, _, line = reason.rule.rpartition(":")
        assert (file.endswith(".toml"), int(line) > 0, bool(reason.message)) == (True, True, True)
    assert refused.token == "-rf"
    assert ask("ls $x").reasons[0].rule == "reader"


def test_the_explanation_points_at_the_words() -> None:
    reason = Reason(
        ruling=Ruling.BLOCK, code="c", rule="a.toml:3", message="m", span=(3, 6), hint="h"
    )
    verdict = Verdict(
        ruling=Ruling.BLOCK,
        text="rm -rf /",
        program=None,
        commands=(),
        reasons=(reason,),
        policy_digest="d" * 64,
        effect=None,
    )
    drawn = explain(verdict).splitlines()
    assert "   --> a.toml:3" in drawn
    assert drawn[drawn.index("    | rm -rf /") + 1] == "    |    ^^^"


def test_what_is_misplaced_or_missing_is_not_said_to_be_found_in_the_programs_name(ask) -> None:
    for command, expected in (
        ("find /var/tmp -xdev -type f -delete -mtime +7", "-delete"),
        ("journalctl -u nginx", "--no-pager"),
    ):
        drawn = explain(ask(command))
        assert f"= expected: {expected}" in drawn
        assert "= found:" not in drawn
    assert "= found: 812" in explain(ask("kill -9 812"))


def test_our_own_ellipsis_is_drawn_and_a_strangers_letter_is_not(ask) -> None:
    assert "put it inside '…'" in explain(ask("echo hi!"))
    assert "kill 1\\u2026" in explain(ask("kill 1…"))


def test_an_explanation_shows_hidden_characters_and_sends_none_to_the_terminal(
    ask: Callable[..., Verdict],
) -> None:
    shown = explain(ask("ls \x1b[31m\u202e/tmp"))
    assert "\\x1b" in shown
    assert not {"\x1b", "\u202e"} & set(shown)
    assert visible("a\u00e9\ud800\n") == "a\\xe9\\ud800\\n"


def test_placeholders_are_named_as_such(ask: Callable[..., Verdict]) -> None:
    for text in (
        "kill YOUR_PID",
        "systemctl restart YOUR_SERVICE",
        "systemctl restart '<service-name>'",
        "cat /path/to/file",
        "systemctl restart SERVICE_NAME",
    ):
        assert ask(text).reasons[0].code == "placeholder", text


def test_facts_are_read_from_json_and_unknown_keys_are_refused() -> None:
    facts = decode_facts(b'{"processes":[{"pid":7,"started_ticks":3}],"units":["a.service"]}')
    assert facts.process(7) == ProcessFact(pid=7, started_ticks=3)
    for data in (b'{"unit":[]}', b"[]", b"x", b'{"processes":[{"pid":"7"}]}'):
        with pytest.raises(Exception, match="facts"):
            decode_facts(data)


CONDITIONS = b"""
[places]
secret = ["/root"]

[[command]]
name = "vacuumdb"
paths = ["/usr/bin/vacuumdb"]
why = "cleans a database"

[[command.form]]
flags = ["--all"]
require = ["--all"]
roles = ["database"]
effect = "state"

[[command.form]]
flags = ["--full"]
require = ["--full"]
change_window = true
effect = "state"
"""


def test_a_role_and_a_change_window_decide_between_allow_and_review() -> None:
    bundle = parse_bundle({"a.toml": CONDITIONS})

    def ruling(text: str, facts: Facts) -> Ruling:
        return judge(text, bundle=bundle, facts=facts, second=EchoReader()).ruling

    assert ruling("vacuumdb --all", EXAMPLE_FACTS) is Ruling.ALLOW
    assert ruling("vacuumdb --all", Facts(role="web")) is Ruling.REVIEW
    assert ruling("vacuumdb --full", Facts()) is Ruling.REVIEW
    assert ruling("vacuumdb --full", Facts(change_window_open=True)) is Ruling.ALLOW
