"""One entry has one line; everything else is refused."""

import hashlib
import json
import subprocess
from datetime import datetime
from shutil import which
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import canonical
from appliance.errors import CanonicalError
from audit.entry import (
    MAX_LINE_BYTES,
    Entry,
    blob_digest,
    decode,
    encode,
    leaf_hash,
    moment,
    timestamp,
)
from audit.errors import EntryError
from tests.audit.builders import INCIDENT, entry_of

keys = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True) | st.just("_sd")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20)
integers = st.integers(-(2**53 - 1), 2**53 - 1)
scalars = st.none() | st.booleans() | integers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,  # so that it cannot be deeper than the profile allows
)
bodies = st.dictionaries(keys, values, max_size=4)

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=10,
)


def raw(**changes: Any) -> dict[str, Any]:
    return {**msgspec.to_builtins(entry_of()), **changes}


def refused(line: bytes) -> str:
    with pytest.raises(EntryError) as caught:
        decode(line)
    return str(caught.value)


@given(bodies)
def test_an_entry_reads_back_as_itself_and_every_encoder_writes_the_same_bytes(
    body: dict[str, Any],
) -> None:
    entry = entry_of(body=body)
    line = encode(entry)
    assert decode(line) == entry
    stdlib = json.dumps(
        msgspec.to_builtins(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert line == stdlib.encode() == canonical.encode(msgspec.to_builtins(entry))


@given(st.dictionaries(st.text(max_size=6), any_json, max_size=4))
def test_the_reader_takes_exactly_what_the_canonical_profile_has(body: dict[str, Any]) -> None:
    document = raw(body=body)
    try:
        expected = canonical.encode(document)
    except CanonicalError:
        with pytest.raises(EntryError):
            encode(entry_of(body=body))
        line = json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode(errors="surrogatepass")
        refused(line)
    else:
        assert encode(entry_of(body=body)) == expected
        assert decode(expected) == msgspec.convert(document, Entry)


@given(st.integers(0, 400), st.integers(0, 255))
def test_any_changed_byte_gives_another_entry_or_none(place: int, byte: int) -> None:
    line = encode(entry_of())
    place %= len(line)
    changed = line[:place] + bytes([byte]) + line[place + 1 :]
    if changed == line:
        return
    try:
        entry = decode(changed)
    except EntryError:
        return
    assert entry != entry_of()
    assert leaf_hash(changed) != leaf_hash(line)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_refused_with_a_sentence(data: bytes) -> None:
    assert refused(data)


def test_a_key_twice_is_refused_because_readers_differ_on_which_counts() -> None:
    line = encode(entry_of())
    twice = line.replace(b'"outcome":null', b'"outcome":null,"outcome":null')
    assert "twice" in refused(twice)
    inside = line.replace(b'"number":3', b'"number":2,"number":3')
    assert "twice" in refused(inside)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"number":3', b'"number":3.0'),
        (b'"number":3', b'"number":3e0'),
        (b'"number":3', b'"number":1.5'),
        (b'"number":3', b'"number":-0'),
        (b'"number":3', b'"number": 3'),
        (b'"number":3', b'"number":9007199254740992'),
        (b'"number":3', b'"number":99999999999999999999999'),
        (b'"number":3', b'"number":NaN'),
        (b"auth.login", b"auth.\\u006cogin"),
        (b"192.0.2.3", b"192.0.2.3\x7f"),
        (b"192.0.2.3", b"192.0.2.3\\u007f"),
        (b"192.0.2.3", b"192.0.2.3\\ud800"),
        (b"192.0.2.3", b"192.0.2.3\xff"),
        (b"192.0.2.3", b"192.0.2.3\\/"),
        (b'"number"', b'"Number"'),
        (b'"number"', b'"n\\u0075mber"'),
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":true'),
        (b'"v":1}', b'"v":1,"w":0}'),
        (b'"v":1}', b'"v":1} '),
        (b'"v":1}', b'"v":1}\n'),
        (b'"v":1}', b'"v":1}{}'),
        (b'"outcome":null,', b""),
        (b'{"actor"', b'\xef\xbb\xbf{"actor"'),
        (b'"seq":3', b'"seq":"3"'),
        (b'"seq":3', b'"seq":-3'),
        (b'"incident":null', b'"incident":"None"'),
        (b"12:00:03.000000Z", b"12:00:03Z"),
        (b"12:00:03.000000Z", b"25:00:03.000000Z"),
        (b"2026-03-01T", b"2026-02-30T"),
        (b"2026-03-01T", b"2026-W09-7T"),
    ],
)
def test_another_spelling_of_the_same_entry_is_refused(before: bytes, after: bytes) -> None:
    line = encode(entry_of())
    assert line.count(before) == 1
    assert refused(line.replace(before, after))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "not-a-uuid"},
        {"id": "00000000-0000-4000-8000-000000000000"},  # version 4
        {"type": "Auth.Login"},
        {"type": "login"},
        {"log": "with space"},
        {"log": "with+plus"},
        {"prev": "0" * 63},
        {"prev": "A" * 64},
        {"ts": "2026-03-01T12:00:03.000000+00:00"},
        {"incident": INCIDENT},  # without inc_seq
        {"inc_seq": 0},  # without incident
        {"incident": "inc-1", "inc_seq": 0},
        {"body": {"at": datetime.fromisoformat("2026-03-01T12:00:00+00:00")}},
        {"body": {"share": 0.5}},
        {"body": {"deep": [[[[[[[["too deep"]]]]]]]]}},
        {"body": {"text": "\ud800"}},
    ],
)
def test_the_writer_refuses_what_the_reader_would_refuse(changes: dict[str, Any]) -> None:
    with pytest.raises(EntryError, match=r"^entry "):
        encode(entry_of(**changes))


def test_a_line_has_a_limit_and_the_limit_itself_is_allowed() -> None:
    room = MAX_LINE_BYTES - len(encode(entry_of(body={"text": ""})))
    assert len(encode(entry_of(body={"text": "x" * room}))) == MAX_LINE_BYTES
    with pytest.raises(EntryError, match="at most 60000"):
        encode(entry_of(body={"text": "x" * (room + 1)}))


def test_a_tuple_is_written_as_the_list_it_reads_back_as() -> None:
    assert decode(encode(entry_of(body={"pair": (1, 2)}))).body == {"pair": [1, 2]}


def test_the_leaf_hash_is_that_of_rfc_6962() -> None:
    assert leaf_hash(b"").hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


def test_a_blob_digest_is_salted_and_says_what_it_is_for() -> None:
    salt = bytes(range(32))
    expected = hashlib.sha256(b"sentinel-blob/v1\0" + salt + b"prompt").hexdigest()
    assert blob_digest(salt, b"prompt") == expected
    with pytest.raises(EntryError, match="32 bytes"):
        blob_digest(b"short", b"prompt")


def test_times_are_utc_with_microseconds() -> None:
    east = datetime.fromisoformat("2026-03-01T14:00:00.5+02:00")
    assert timestamp(east) == "2026-03-01T12:00:00.500000Z"
    assert moment(timestamp(east)) == east
    with pytest.raises(EntryError, match="zone"):
        timestamp(datetime(2026, 3, 1))  # noqa: DTZ001 - what must be refused
    with pytest.raises(EntryError, match="expected YYYY"):
        moment("2026-03-01")


@pytest.mark.skipif(which("jq") is None, reason="jq is not installed")
def test_jq_writes_the_same_bytes() -> None:
    odd = 'ü → \u2028 \U0001f600 " \\ \b\f\n\r\t\x01'
    line = encode(entry_of(body={"b": odd, "a": [1, -5, None, True, 2**53 - 1]}))
    done = subprocess.run(["jq", "-cS", "."], input=line, capture_output=True, check=True)
    assert done.stdout == line + b"\n"
