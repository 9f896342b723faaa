"""The strict reader: what it accepts, what it refuses, and what the digest covers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import constructs
from policy.errors import SyntaxRefusedError
from policy.reader import MAX_CHARACTERS, read

ACCEPTED = {
    "ls": [["ls"]],
    "ls -la  /var/log": [["ls", "-la", "/var/log"]],
    "grep 'a b' \"c d\"": [["grep", "a b", "c d"]],
    r"grep a\ b": [["grep", "a b"]],
    r'grep "a\.b\\c\"d\$e\`"': [["grep", r"a\.b\c" + '"d$e`']],
    "a''b": [["ab"]],
    "a '' b": [["a", "", "b"]],
    "ps aux|wc -l": [["ps", "aux"], ["wc", "-l"]],
    "a&&b||c;d": [["a"], ["b"], ["c"], ["d"]],
    "a ;": [["a"]],
    "dd if=/x of=/dev/null": [["dd", "if=/x", "of=/dev/null"]],
    "x a#b }": [["x", "a#b", "}"]],
    "x file~ a~b": [["x", "file~", "a~b"]],
    "x ^a %1 @b +c": [["x", "^a", "%1", "@b", "+c"]],
}

REFUSED = {
    "": "empty",
    "   ": "empty",
    "ls\nrm x": "newline",
    "ls\trm": "control",
    "ls\x00": "control",
    "ls é": "non-ascii",
    "ls \u2013la": "non-ascii",
    "x" * 5000: "too-long",
    "x " * 65: "too-many-words",
    "; ".join("abcdefghi"): "too-many-commands",
    "ls ~": "tilde",
    "x a=~/b": "tilde",
    "x a:~b": "tilde",
    "x ''~": "tilde",
    "x #y": "comment",
    "#y": "comment",
    "a=b cmd": "assignment",
    "a+=b cmd": "assignment",
    "a[0]=1 rm x": "glob",
    "x {a,b}": "brace",
    "{rm,x}": "brace",
    "x {1..3}": "brace",
    "{ ls; }": "brace",
    "} x": "reserved-word",
    "x *": "glob",
    "x a?": "glob",
    "x [ab]": "glob",
    "[[ -f x ]]": "glob",
    "x +(a)": "subshell",
    "(ls)": "subshell",
    "f() { ls; }": "subshell",
    "x $(y)": "command-substitution",
    "x `y`": "command-substitution",
    'x "$(y)"': "command-substitution",
    'x "`y`"': "command-substitution",
    "x $y": "expansion",
    "x ${y}": "expansion",
    'x "$y"': "expansion",
    'x "a$"': "expansion",
    "x $'y'": "ansi-c-quote",
    'x $"y"': "ansi-c-quote",
    "x <(y)": "process-substitution",
    "x >(y)": "process-substitution",
    "x <<E": "here-document",
    "x <<< y": "here-string",
    "x > y": "redirection",
    "x >/dev/nullx": "redirection",
    "x 3>/dev/null": "redirection",
    "x >/dev/sda": "redirection",
    "x>/dev/null": "redirection",
    "x >&2": "redirection",
    "x 2>&1-": "redirection",
    "x >/dev/null/../sda": "redirection",
    "x < y": "redirection",
    ">/dev/null x": "redirection-first",
    "x &": "background",
    "x & y": "background",
    "x |& y": "operator",
    "x ;; y": "operator",
    "x &&& y": "operator",
    "x !": "history",
    'x "a!b"': "history",
    "! x": "history",
    "time ls": "reserved-word",
    r"\if x": "reserved-word",
    "'if' x": "reserved-word",
    "cd /x": "builtin",
    ". /x": "builtin",
    "eval x": "builtin",
    "'' x": "empty-name",
    "| x": "missing-command",
    "x |": "missing-command",
    "x && ;": "missing-command",
    "x 'y": "quote",
    'x "y': "quote",
    'x "y\\': "quote",
    "x \\": "backslash",
    "kill <PID>": "placeholder",
    "kill {{pid}}": "placeholder",
    "systemctl restart <service-name>": "placeholder",
    "%1": "reserved-word",
    "^a^b": "reserved-word",
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_plain_line_gives_these_argument_vectors(text: str) -> None:
    assert [list(argv) for argv in read(text).argvs] == ACCEPTED[text]


@pytest.mark.parametrize("text", REFUSED)
def test_anything_else_is_refused_with_its_construct_a_span_and_a_hint(text: str) -> None:
    with pytest.raises(SyntaxRefusedError) as caught:
        read(text)
    start, end = caught.value.span
    assert caught.value.construct == REFUSED[text]
    assert 0 <= start <= end <= len(text)
    assert caught.value.message
    assert caught.value.hint


def test_redirections_to_the_null_device_follow_the_order_of_the_shell() -> None:
    before = read("x >/dev/null 2>&1").commands[0]
    after = read("x 2>&1 >/dev/null").commands[0]
    assert (before.stdout, before.stderr) == ("null", "null")
    assert (after.stdout, after.stderr) == ("null", "out")
    assert read("x &>/dev/null </dev/null").commands[0].stdin == "null"


def test_the_digest_is_the_same_for_the_same_meaning_and_different_for_another() -> None:
    assert read("ls  'a'").digest == read("ls a").digest == read("ls a ;").digest
    different = ["ls a", "ls a 2>/dev/null", "ls 'a '", "ls a; ls", "ls a | ls", "ls a && ls"]
    assert len({read(text).digest for text in different}) == len(different)


def test_the_longest_line_is_read_and_one_character_more_is_not() -> None:
    assert read("x" * MAX_CHARACTERS)
    with pytest.raises(SyntaxRefusedError):
        read("x" * (MAX_CHARACTERS + 1))


def test_every_span_of_a_word_shows_that_word() -> None:
    text = "grep -i error  /var/log/messages | head"
    spans = [text[a:b] for command in read(text).commands for a, b in command.spans]
    assert spans == text.replace("|", "").split()


def test_every_construct_has_words() -> None:
    assert set(REFUSED.values()) <= constructs.WORDS.keys()


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        program = read(text)
    except SyntaxRefusedError:
        return
    assert all(command.argv[0] for command in program.commands)
    assert len(program.digest) == 64
