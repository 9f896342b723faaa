"""Take secrets out of command lines and log lines before they leave the node.

Better one word too many than one too few: a redacted word costs a hint, a leaked one a password.
What is left says that something stood there: `--password=[redacted]`.
"""

import re
from collections.abc import Sequence

from appliance.journal import shown

MARK = "[redacted]"

_MOST_READ = 16 * 1024  # of one line; four times what is kept of it

# What a setting, header or option that holds a secret is called. Every repetition below has a
# bound: these patterns meet text that somebody may have made to keep them busy.
_WORD = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credential|cookie|session[_-]?id|auth[_-]?key|client[_-]?key)[\w.-]{0,64}"
)
_NAMED = rf"[\w.-]{{0,64}}{_WORD}"
_VALUE = r"""(?:"[^"]*"?|'[^']*'?|[^\s"',;&|]+)"""
_KEPT = rf"\g<keep>{MARK}"

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for pattern, replacement in (
        # A private key up to its end, or to the end of the text.
        (r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)", MARK),
        # scheme://user:secret@host, and a lone long token before the @
        (r"(?P<keep>[a-z]://[^\s:/@]{0,128}:)[^\s/]{1,512}@", rf"{_KEPT}@"),
        (r"(?P<keep>[a-z]://)[^\s:/@]{16,512}@", rf"{_KEPT}@"),
        # Authorization: anything up to the end of the line or quote
        (r"(?P<keep>\bauthorization\b['\"]?\s{0,8}[:=]\s{0,8})[^\r\n'\"]+", _KEPT),
        (r"(?P<keep>\b(?:bearer|basic)\s{1,8})[\w.~+/=-]{8,}", _KEPT),
        # password=x, "password": "x", --password x, DB_PASSWORD=x
        (rf"(?P<keep>{_WORD}['\"]?\s{{0,8}}[:=]\s{{0,8}}){_VALUE}", _KEPT),
        (rf"(?P<keep>(?<!\S)--?{_NAMED}\s{{1,8}}){_VALUE}", _KEPT),
        # password is x, as people and programs log it
        (rf"(?P<keep>\bpass(?:word|phrase)\s{{1,8}}(?:is|was)\s{{1,8}}){_VALUE}", _KEPT),
        # Known by their look: JWT, AWS key ids, GitHub, GitLab, Vault, Slack and others, crypt(5)
        (r"\beyJ[\w-]{8,2048}\.[\w-]{4,4096}(?:\.[\w-]*)?", MARK),
        (r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b", MARK),
        (r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,})", MARK),
        (r"\b(?:hv[sbr]|[sb])\.[A-Za-z0-9_-]{20,}", MARK),
        (r"\bxox[abeprs]-[\w-]{10,}|\bsk-[\w-]{20,}|\bSG\.[\w-]{16,}", MARK),
        (r"\$(?:1|2[abxy]?|5|6|y|argon2\w{0,2})\$[^\s:'\"]{8,}", MARK),
    )
)

# Options whose next or joined word is a secret though their name does not say so.
_SHORT_JOINED = re.compile(r"\A-p(?P<secret>.+)\Z")
_JOINED_PROGRAMS = frozenset(
    ("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump", "sshpass")
)
_SHORT_NEXT = {
    "curl": frozenset({"-u", "--user", "-U", "--proxy-user", "-b", "--cookie"}),
    "wget": frozenset({"--user"}),
    "sshpass": frozenset({"-p"}),
    "redis-cli": frozenset({"-a"}),
    "ldapsearch": frozenset({"-w"}),
    "ldapmodify": frozenset({"-w"}),
    "smbclient": frozenset({"-U"}),
    "openssl": frozenset({"-k", "-K", "-passin", "-passout"}),
    "useradd": frozenset({"-p"}),
    "usermod": frozenset({"-p"}),
    "ipmitool": frozenset({"-P"}),
    "mosquitto_pub": frozenset({"-P"}),
    "mongo": frozenset({"-p"}),
    "mongosh": frozenset({"-p"}),
}
_OPTION = re.compile(rf"--?{_NAMED}\Z", re.IGNORECASE)


def command_line(words: Sequence[str]) -> str:
    """The words of a command as one line, without its secrets and control characters."""
    if not words:
        return ""
    programs = {word.rsplit("/", 1)[-1] for word in words[:4]}  # `sudo -u x mysql …` as well
    joined = bool(programs & _JOINED_PROGRAMS)
    following = frozenset[str]().union(*(_SHORT_NEXT.get(name, frozenset()) for name in programs))
    kept: list[str] = []
    hide_next = False
    for word in words:
        if hide_next:
            kept.append(MARK)
            hide_next = False
        elif joined and _SHORT_JOINED.match(word):
            kept.append(f"-p{MARK}")
        else:
            hide_next = word in following or bool(_OPTION.match(word))
            kept.append(_word(word))
    return text(" ".join(kept))


def text(line: str, *, most: int = 4096) -> str:
    """A line of text without its secrets, control characters visible, bounded."""
    return shown(secrets_hidden(line[:_MOST_READ]), most=most - 64)


def secrets_hidden(value: str) -> str:
    """The text with every known kind of secret replaced; line breaks stay."""
    for pattern, replacement in _RULES:
        value = pattern.sub(replacement, value)
    return value


def _word(word: str) -> str:
    """One argument: `--password=my secret` is one word, blanks and all."""
    name, equals, _ = word.partition("=")
    if equals and re.fullmatch(rf"-{{0,2}}{_NAMED}", name, re.IGNORECASE):
        return f"{name}={MARK}"
    return word
