"""Rule files: what a broken one does, and what an author may not write."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.bundle import bundle_or_refusal, check_examples, parse_bundle, read_folder
from policy.errors import PolicyError
from policy.evaluate import EchoReader, judge
from policy.facts import EXAMPLE_FACTS
from policy.lint import advice
from policy.rules import Bundle
from policy.verdict import Effect, Ruling, Verdict

PLACES = '[places]\nsecret = ["/root"]\n'
COMMAND = '[[command]]\nname = "x"\npaths = ["/usr/bin/x"]\nwhy = "tries"\n'

BROKEN = {
    "no TOML": (PLACES + "x =\n", 3, "not TOML"),
    "an unknown key": (PLACES + COMMAND + 'flag = ["-a"]\n', 3, "flag"),
    "an unknown key of a form": (
        PLACES + COMMAND + '[[command.form]]\nflags = ["-a"]\n[[command.form]]\nx = 1\n',
        9,
        "unknown field",
    ),
    "an unknown table": (PLACES + "[[comand]]\n", 1, "comand"),
    "a wrong type": (PLACES + COMMAND + "flags = 3\n", 3, "array"),
    "an unknown argument type": (PLACES + COMMAND + 'operands = ["hex"]\n', 3, "unknown type"),
    "a range that is none": (PLACES + COMMAND + 'operands = ["int(5)"]\n', 3, "range"),
    "the root as a root": (PLACES + COMMAND + 'operands = ["path-under(/)"]\n', 3, "root"),
    "a relative path": (PLACES + COMMAND.replace("/usr/bin/", ""), 3, "absolute"),
    "another program's path": (
        PLACES + COMMAND.replace("/usr/bin/x", "/usr/bin/sh"),
        3,
        "another program",
    ),
    "no name": (PLACES + '[[command]]\npaths = ["/x"]\nwhy = ""\n', 3, "name"),
    "an example that fails": (PLACES + COMMAND + 'allow = ["x -a"]\n', 3, "should be allowed"),
    "a door that is an option, too": (
        PLACES + COMMAND + 'flags = ["-a"]\ndoors = { "-a" = "writes" }\n',
        3,
        "door and an option",
    ),
    "review for what an acting program does not know": (
        PLACES + COMMAND + 'effect = "state"\nundo = "none"\notherwise = "review"\n',
        3,
        "can act",
    ),
    "a place that would not be read as written": (
        '\n[places]\nsecret = ["/root", "/a/**/b"]\n',
        2,
        "/a/**/b",
    ),
    "a host that is no network": (
        '[places]\nsecret = ["/root"]\nhosts = ["10.0.0.0/99"]\n',
        1,
        "10.0.0.0/99",
    ),
    "a type with a broken pattern": (
        PLACES + '[[type]]\nname = "x"\npattern = "("\nexpected = "y"\n',
        3,
        "pattern is broken",
    ),
    "a type that repeats more often than a pattern can": (
        PLACES + f'[[type]]\nname = "x"\npattern = "a{{1,{"5" * 90}}}"\nexpected = "y"\n',
        3,
        "pattern is broken",
    ),
    "a type that is nested deeper than a pattern can be": (
        PLACES + f'[[type]]\nname = "x"\npattern = "{"(" * 2000}{")" * 2000}"\nexpected = "y"\n',
        3,
        "pattern is broken",
    ),
    "a type that is there already": (
        PLACES + '[[type]]\nname = "int"\npattern = "x"\nexpected = "y"\n',
        3,
        "of this name already",
    ),
    "a host pattern that does not say where the host stands": (
        PLACES + COMMAND + 'operands = ["host(@.*)"]\n',
        3,
        "where HOST stands",
    ),
    "a broken host pattern": (
        PLACES + COMMAND + 'operands = ["host((HOST)"]\n',
        3,
        "pattern is broken",
    ),
    "a deny example that is allowed": (
        PLACES + COMMAND + 'deny = [["x", "operand"]]\n',
        3,
        "should be refused",
    ),
    "a deny example with another code": (
        PLACES + COMMAND + 'deny = [["x -a", "operand"]]\n',
        3,
        "unknown-option",
    ),
    "a rule for the same program twice": (PLACES + COMMAND + COMMAND, 7, "already has a rule"),
    "a table without its own line": (PLACES + COMMAND + "form = [{}]\n", 1, "header"),
    "a string over several lines": (PLACES + 'x = """\n"""\n', 3, "one line"),
    "no secret places": (COMMAND, 1, "secret places"),
    "an operand where a subcommand could stand": (
        PLACES
        + COMMAND
        + 'style = "subcommand"\n[[command.form]]\nnames = ["a"]\noperands = ["text?"]\n'
        + '[[command.form]]\nnames = ["a add"]\n',
        3,
        "could be read as one",
    ),
    "a subcommand without a name": (
        PLACES + COMMAND + 'style = "subcommand"\n[[command.form]]\n',
        3,
        "names",
    ),
    "a server with what it cannot have": (
        PLACES + COMMAND + 'operands = ["server(x)"]\n',
        3,
        "write server",
    ),
    "an optional operand before another": (
        PLACES + COMMAND + 'operands = ["text?", "text"]\n',
        3,
        "last operand",
    ),
}


def refuses(files: dict[str, bytes]) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        parse_bundle(files)
    return caught.value


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_names_its_file_and_line(what: str) -> None:
    text, line, message = BROKEN[what]
    error = refuses({"10-good.toml": b"", "20-bad.toml": text.encode()})
    if what != "no secret places":
        assert (error.file, error.line) == ("20-bad.toml", line)
    assert message in error.message


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_policy_refuses_everything_and_says_which_line(what: str) -> None:
    bundle = bundle_or_refusal({"20-bad.toml": BROKEN[what][0].encode()})
    for text in ("x", "ps aux", "", "ls $y"):
        verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
        assert (verdict.ruling, verdict.reasons[0].code) == (Ruling.BLOCK, "policy")
        assert verdict.reasons[0].rule == f"20-bad.toml:{BROKEN[what][1]}"


def test_refusing_all_works_with_any_reason() -> None:
    bundle = Bundle.refuse_all("the signature does not fit", rule="policy.bundle:1")
    verdict = judge("uptime", bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
    assert verdict.ruling is Ruling.BLOCK
    assert "signature" in verdict.reasons[0].message
    assert judge("x", bundle=Bundle.refuse_all(""), facts=EXAMPLE_FACTS, second=None).ruling == 2


def test_no_files_are_a_broken_policy() -> None:
    assert "no rule files" in refuses({}).message


def test_a_file_that_is_not_utf8_names_the_line() -> None:
    error = refuses({"a.toml": b"# fine\n\xff"})
    assert (error.line, "UTF-8" in error.message) == (2, True)


@given(st.binary(max_size=200))
def test_any_bytes_make_a_policy_or_a_policy_error(data: bytes) -> None:
    assert bundle_or_refusal({"a.toml": data}).refusal


@settings(deadline=None, max_examples=40)  # each reads and checks every rule file
@given(st.integers(min_value=0, max_value=10**6), st.sampled_from([b"", b"x", b'"', b"\n[", b"\0"]))
def test_a_damaged_shipped_file_never_becomes_more_than_a_policy_error(
    at: int, piece: bytes
) -> None:
    named = ("00-places.toml", "01-types.toml", "20-process.toml")  # all files take too long
    files = {name: read_folder()[name] for name in named}
    data = files["20-process.toml"]
    place = at % len(data)
    files["20-process.toml"] = data[:place] + piece + data[place + 1 :]
    bundle = bundle_or_refusal(files)
    assert bundle.refusal or bundle.digest


def test_the_digest_covers_names_and_contents() -> None:
    good = {"a.toml": PLACES.encode(), "b.toml": COMMAND.encode()}
    digests = {
        parse_bundle(files).digest
        for files in (
            good,
            {**good, "b.toml": COMMAND.encode() + b"\n"},
            {"a.toml": good["a.toml"], "c.toml": good["b.toml"]},
            {"a.toml": PLACES.encode() + COMMAND.encode()},
        )
    }
    assert len(digests) == 4


def test_every_shipped_rule_has_examples_a_reason_and_an_undo(bundle: Bundle) -> None:
    assert advice(bundle) == []
    assert check_examples(bundle) > 400
    for command in bundle.commands.values():
        assert len(command.allow) >= 3
        assert len(command.deny) >= 3
        for form in command.forms:
            assert form.why
            assert form.effect is Effect.READ or form.undo


def test_a_shipped_rule_that_only_reads_ends_by_itself(bundle: Bundle) -> None:
    for text in (
        "top -b",
        "vmstat 1",
        "iostat 1",
        "sar -u 1",
        "tail -f /x",
        "ping db1",
        "free -s 1",
    ):
        verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
        assert verdict.ruling > Ruling.ALLOW, text


def test_a_forbidden_name_stays_blocked_even_with_a_rule() -> None:
    forbid = '[[forbid]]\nnames = ["x"]\nwhy = "no"\nhint = "none"\n'
    bundle = parse_bundle({"a.toml": (PLACES + COMMAND + forbid).encode()})
    verdict = judge("x", bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
    assert (verdict.ruling, verdict.reasons[0].rule) == (Ruling.BLOCK, "a.toml:7")
    assert advice(bundle)[-1].endswith("x is also forbidden")


@pytest.mark.parametrize(
    ("source", "good", "bad"),
    [
        ("int(1..5)", ["1", "5"], ["0", "6", "", "-1", "1.0", "x", "1" * 40, "\u0663"]),
        ("size(100M..2G)", ["100M", "1G", "2G"], ["99M", "3G", "1m", "M", "100"]),
        ("span(1d..)", ["1d", "2weeks", "3 days", "24h"], ["1s", "23h", "d", "1fortnight"]),
        ("enum(a|b)", ["a", "b"], ["", "c", "a|b", "A"]),
        ("list(a|b)", ["a", "a,b", "b,b"], ["", "a,", "c", "a,c"]),
        ("unit", ["nginx", "a@b.service"], ["-x", "a*", "a b", "", "a/b"]),
        ("text", ["x y"], ["-x", "", "x" * 201, "a\nb"]),
        (
            "dpkg-format",
            ["${Package} ${Version}\\n", "${db:Status-Abbrev;-3}"],
            ["$(id)", "${a", "`id`", "-x", "${HOME}${IFS}>x", "@x"],
        ),
        ("age", ["+7"], ["7", "-7", "+", "+999999"]),
        ("interface", ["eth0"], ["add/1", "0x", "a b", ""]),
        ("host", ["db1", "10.0.0.7"], ["db2", "DB1", ""]),
        ("host(@HOST)", ["@db1", "@127.0.0.1"], ["db1", "@evil.site", "@@db1", "@db1/x", "@"]),
        (
            "host(https?://HOST(?::[0-9]{1,5})?/health)",
            ["http://db1/health", "https://10.0.0.7:8443/health", "http://[::1]:80/health"],
            ["http://db2/health", "http://db1@db2/health", "http://db1/", "http://[db1/health", ""],
        ),
        ("server", ["db1", "localhost", "::1"], ["db2", "db1:9092", "", "db1,localhost"]),
        (
            "server(port)",
            ["db1:9092", "localhost:1,db1:2"],
            ["db1", "evil:9092", "db1:", "db1:9092,", "db1:9092,evil:1", "a@db1:1"],
        ),
        ("mount", ["/var"], ["/var/", "/srv"]),
        ("go-template", ["{{.Names}}", "{{json .}}", "x"], ["{{exec .}}", "{{.A | f}}", "-{{.A}}"]),
        (
            "go-template(Name|State)",
            [
                "{{.Name}}: {{.State.Pid}}",
                "{{json .State}}",
                "{{range $k, $v := .State}}{{$k}}{{end}}",
                "{{range.State}}{{.Name}}{{end}}",
            ],
            [
                *("{{.}}", "{{json .}}", "{{json $}}", "json", "Name", "", "{{.Names}}"),
                *("{{.Config.Env}}", "{{.State}}{{json .Config}}", "{{.State$}}", "{{.State.$.X}}"),
                *("{{range $k, $v := .}}{{$v}}{{end}}", "{{range .State}}{{$.Config.Env}}{{end}}"),
                *("{{index .Config 0}}", "{{(index .State 0).Env}}", "{{end.Config}}"),
            ],
        ),
        ("address", ["10.0.0.1", "fe80::1"], ["add", "del", "dead", "localhost", ""]),
        ("pid-in-evidence", ["4242"], ["1", "812", "7", "-1", "04242", "+4242", "4242 ", "0"]),
        ("unit-in-evidence", ["nginx", "backup.timer"], ["mysql", "backup", "x.target"]),
        ("path-stat", ["/", "/dev/sda", "var//log"], ["/root", "root/x", "~", "-x", "a:b", "a=b"]),
        ("path-read", ["/etc/hosts", "-"], ["/dev/sda", "dev", "etc/shadow", "/proc/1/mem"]),
        ("tree-read", ["/etc/nginx"], ["/", "/etc", "/proc", "/home/alice", "/var/lib"]),
        ("path-under(/tmp|/srv/c)", ["/tmp/x", "/srv/c/d"], ["/tmp", "/tmpx", "/srv", "/tmp/../x"]),
        ("path-under(/tmp;.log)", ["/tmp/a.log"], ["/tmp/a", "/tmp/a.log/b", "/tmp/x/../a.log"]),
        (
            "dir-under(/tmp)",
            ["/tmp", "/tmp/x", "/tmp/"],
            ["/", "/tmp/..", "/tmp/systemd-private-1"],
        ),
        ("path-in-evidence(/tmp)", ["/tmp/dump.bin"], ["/tmp/x", "/etc/passwd", "tmp/dump.bin"]),
    ],
)
def test_an_argument_type_takes_these_and_not_those(
    source: str, good: list[str], bad: list[str], bundle: Bundle
) -> None:
    kind = bundle.types.compiled(source)
    for value in good:
        assert kind.fault(value, EXAMPLE_FACTS, bundle.guard) is None, value
    for value in bad:
        fault = kind.fault(value, EXAMPLE_FACTS, bundle.guard)
        assert fault is not None, value
        assert fault.code
        assert fault.message
    assert kind.expected


def test_pflag_takes_the_word_after_an_early_unknown_option_as_its_value() -> None:
    rule = COMMAND + 'style = "subcommand"\nflags = ["-D"]\noptions = { "-n" = "int" }\n'
    rule += 'bundled = true\n[[command.form]]\nnames = ["get", "y get"]\n'
    rule += 'flags = ["-A"]\noperands = ["text?"]\n'
    bundle = parse_bundle({"a.toml": (PLACES + rule).encode()})
    for text, ruling in {
        "x get -A delete": Ruling.ALLOW,  # an operand
        "x -D -n 5 get -A": Ruling.ALLOW,
        "x -n 5 y get z": Ruling.ALLOW,
        "x -A get delete": Ruling.BLOCK,  # x reads: -A=get, subcommand delete
        "x y -A get delete": Ruling.BLOCK,
        "x -DA get delete": Ruling.BLOCK,
    }.items():
        verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
        assert verdict.ruling is ruling, text


def test_no_type_for_a_name_takes_the_verb_of_another_subcommand(bundle: Bundle) -> None:
    for verb in ("add", "del", "flush", "change", "replace", "set"):
        for noun in ("addr", "a", "link", "l", "route", "r", "neigh", "rule"):
            text = f"ip {noun} {verb} 10.0.0.1 dev eth0"
            verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
            assert verdict.ruling is Ruling.BLOCK


def test_a_form_with_an_empty_name_is_the_call_without_a_subcommand() -> None:
    forms = [
        '[[command.form]]\nnames = ["see"]\n',
        '[[command.form]]\nnames = [""]\nflags = ["-a"]\n',
    ]
    rule = COMMAND + 'style = "subcommand"\n' + "".join(forms)
    bundle = parse_bundle({"a.toml": (PLACES + rule).encode()})
    rulings = {"x": 0, "x -a": 0, "x see": 0, "x see -a": 1, "x -a see": 1, "x y": 2}
    for text, ruling in rulings.items():
        verdict = judge(text, bundle=bundle, facts=EXAMPLE_FACTS, second=EchoReader())
        assert verdict.ruling == ruling, text


def test_an_option_before_the_subcommand_may_take_a_word(ask: Callable[..., Verdict]) -> None:
    for text in ("ip -f inet addr show", "ip -f inet a", "nmcli -t -f NAME,DEVICE con show"):
        assert ask(text).ruling is Ruling.ALLOW, text
    for text in ("ip -f inet addr add 10.0.0.1/24 dev eth0", "ip -f addr show", "ip -f inet"):
        assert ask(text).ruling is Ruling.BLOCK, text


def test_a_daemon_that_judges_stays_small_and_never_loads_bashlex() -> None:
    code = (
        "import sys\n"
        "from policy.bundle import parse_bundle, read_folder\n"
        "import policy.worker\n"
        "parse_bundle(read_folder())\n"
        "assert not [name for name in sys.modules if name.startswith('bashlex')]\n"
        "text = open('/proc/self/status').read()\n"
        "print(text.split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40 * 1024
