"""One request to a witness that is no node, by C2SP `add-checkpoint`, and what its answer means.

The witness is far away and may be slow, wrong or hostile: an answer is bounded in bytes and time,
redirects are not followed, and a cosignature counts once it verifies. What is stored, and when to
ask again, is `hub/outside_witnesses.py`.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from appliance.errors import SettingsError
from appliance.journal import shown
from audit.add_checkpoint import CONFLICT, OK, UNPROVEN, body, cosigned_in, size_in
from audit.cosignature import WitnessKey
from audit.errors import AuditRefusedError, TrustError
from audit.trust import parse_policy

TIMEOUT_S = 10.0  # to connect, and for each part of an answer
MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A witness as the site's policy names it."""

    key: WitnessKey
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a witness answered."""

    cosignature: str = ""  # verified; empty: it did not cosign
    size: int | None = None  # of a 409: where it stands
    why: str = ""  # why it did not cosign
    unproven: bool = False  # it says that our proof does not lead from what it saw


def named(path: Path) -> list[Outside]:
    """The witnesses with a URL of a C2SP tlog-policy file; raises `SettingsError`."""
    try:
        text = path.read_text(encoding="utf-8")
        policy = parse_policy(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot read the witnesses: {error}") from error
    except TrustError as error:
        raise SettingsError(f"{path}: {error}") from error
    lines = [line.replace("\t", " ").split() for line in text.splitlines()]
    found = [
        Outside(key=policy.witnesses[words[1]], url=_demand_url(path, words[3]))
        for words in lines
        if len(words) == 4 and words[0] == "witness"  # noqa: PLR2004 - witness NAME VKEY URL
    ]
    if len({one.key.name for one in found}) != len(found):
        raise SettingsError(f"{path}: two witnesses have one name in their keys")
    return found


def client(ca: Path | None) -> httpx.Client:
    """Connections that are kept and used again; one client for each witness."""
    verify: ssl.SSLContext | bool = True
    if ca is not None:
        try:
            verify = ssl.create_default_context(cafile=str(ca))
        except OSError as error:
            raise SettingsError(f"{ca}: cannot use the witnesses' CA: {error}") from error
    return httpx.Client(verify=verify, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)


def ask(http: httpx.Client, one: Outside, *, old: int, path: tuple[bytes, ...], note: str) -> Said:
    """Submit a checkpoint. Nothing about the witness raises."""
    try:
        with http.stream(
            "POST", f"{one.url}/add-checkpoint", content=body(old, path, note)
        ) as answer:
            data = b""
            for chunk in answer.iter_raw():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    return Said(why="its answer is too long")
            return _read(one, note, answer, data)
    except httpx.HTTPError as error:
        return Said(
            why=shown(f"it does not answer: {str(error) or type(error).__name__}", most=200)
        )


def _read(one: Outside, note: str, answer: httpx.Response, data: bytes) -> Said:
    status = answer.status_code
    if status == OK:
        try:
            return Said(cosignature=cosigned_in(data, note, one.key).line)
        except AuditRefusedError as error:
            return Said(why=shown(f"its cosignature counts for nothing: {error}"))
    if status == CONFLICT:
        size = size_in(answer.headers.get("Content-Type", ""), data)
        return Said(
            size=size, why="it stands elsewhere" if size is not None else "409 without size"
        )
    text = shown(data.decode("utf-8", "replace").strip(), most=200)
    return Said(why=f"it answered {status}: {text}", unproven=status == UNPROVEN)


def _demand_url(path: Path, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise SettingsError(f"{path}: expected the http or https URL of a witness, got {url!r}")
    return url.rstrip("/")
