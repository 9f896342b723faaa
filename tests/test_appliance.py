"""The chassis: settings, envelopes, canonical bytes, ids and the wire, tried with anything."""

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from appliance import canonical, envelope, journal
from appliance.errors import CanonicalError, EnvelopeError, RefusedError, SettingsError
from appliance.ids import is_uuid, uuid7
from appliance.records import Event, Outcome, Report, StepResult, digest_of, from_json, to_json
from appliance.settings import Settings, load
from appliance.wire import sentinel_pb2 as pb
from appliance.wire.convert import from_wire, to_wire
from tests.hub.builders import event, finding

KEY = Ed25519PrivateKey.generate()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


class Inner(Settings, frozen=True, kw_only=True):
    """Nested."""

    minutes: int = 1


class Example(Settings, frozen=True, kw_only=True):
    """For the tests of `load`."""

    name: str
    folder: Path | None = None
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "a"\nsurprise = 1', "surprise: unknown key"),
        ('name = "a"\n[inner]\nminuets = 1', "inner.minuets: unknown key"),
        ('name = "a"\n[inner]\nminutes = "15m"', "inner.minutes: expected `int`, got `str`"),
        ("", "missing required field `name`"),
        ("name = ", "not valid TOML"),
    ],
)
def test_wrong_settings_name_the_file_and_the_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(path, Example)
    assert str(raised.value).startswith(f"{path}: ")
    assert words in str(raised.value)


def test_a_settings_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        load(tmp_path / "absent.toml", Example)


def test_right_settings_become_a_record(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('name = "a"\nfolder = "/srv"\n[inner]\nminutes = 3\n')
    assert load(tmp_path / "x.toml", Example) == Example(
        name="a", folder=Path("/srv"), inner=Inner(minutes=3)
    )


@given(JSON)
def test_canonical_bytes_are_one_form_for_one_value(value: object) -> None:
    try:
        data = canonical.encode(value)
    except CanonicalError:
        return
    assert canonical.decode(data) == value
    assert canonical.encode(json.loads(data)) == data


@pytest.mark.parametrize(
    "value",
    [1.5, 2**53, {"A": 1}, {"a b": 1}, "\x7f", "\ud800", b"x", {1: 2}, [[[[[[[[[[]]]]]]]]]]],
)
def test_what_readers_disagree_about_has_no_canonical_form(value: object) -> None:
    with pytest.raises(CanonicalError):
        canonical.encode(value)


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{ "a":1}', b'{"a":1,"a":1}', b"1.0", b"", b"\xff"]
)
def test_other_spellings_of_a_value_are_refused(data: bytes) -> None:
    with pytest.raises(CanonicalError):
        canonical.decode(data)


@given(st.binary(max_size=200))
def test_an_envelope_opens_to_what_was_sealed(payload: bytes) -> None:
    sealed = envelope.seal(payload, payload_type="a/b", key=KEY)
    assert envelope.open_sealed(sealed, payload_type="a/b", key=KEY.public_key()) == payload
    with pytest.raises(EnvelopeError, match="expected a/c"):
        envelope.open_sealed(sealed, payload_type="a/c", key=KEY.public_key())


def test_any_edited_bit_of_an_envelope_is_found() -> None:
    sealed = envelope.seal(b"payload", payload_type="a/b", key=KEY)
    for place, bit in itertools.product(range(len(sealed)), range(8)):
        edited = bytearray(sealed)
        edited[place] ^= 1 << bit
        with pytest.raises(EnvelopeError):
            envelope.open_sealed(bytes(edited), payload_type="a/b", key=KEY.public_key())


@pytest.mark.parametrize("spelling", [b" %b", b"%b\n", b"%b{}"])
def test_an_envelope_has_one_spelling(spelling: bytes) -> None:
    sealed = spelling % envelope.seal(b"payload", payload_type="a/b", key=KEY)
    with pytest.raises(EnvelopeError):
        envelope.open_sealed(sealed, payload_type="a/b", key=KEY.public_key())


def test_a_public_key_is_read_as_it_was_written(tmp_path: Path) -> None:
    for _ in range(20):
        path = tmp_path / f"{uuid7()}.key"
        key = envelope.make_key(path)
        read = envelope.load_public_key(path.with_suffix(".pub"))
        assert read.public_bytes_raw() == key.public_key().public_bytes_raw()
        with pytest.raises(EnvelopeError):
            envelope.load_public_key(path)


def test_a_public_key_of_another_kind_or_form_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    good = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    other = X25519PrivateKey.generate().public_key()
    for data in (
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        *(b"", b"\n", b"\xff", good + b"\n", b" " + good, good + good, good[:-1]),
        *(good.replace(b"PUBLIC", b"PRIVATE"), good[:40] + good[41:], good[:40] + b"!" + good[41:]),
    ):
        file.write_bytes(data)
        with pytest.raises(EnvelopeError):
            envelope.load_public_key(file)
    file.write_bytes(good)
    assert envelope.load_public_key(file) == KEY.public_key()


@given(st.binary(max_size=300))
def test_any_bytes_are_an_envelope_or_are_refused(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        envelope.open_sealed(data, payload_type="a/b", key=KEY.public_key())


def test_ids_sort_by_time() -> None:
    ids = [uuid7(milliseconds) for milliseconds in (1, 2, 10**12, 2**47)]
    assert ids == sorted(ids)
    assert all(is_uuid(one) for one in ids)
    assert not is_uuid("01A20A86-26C8-7412-874C-C63DAD281026")
    assert not is_uuid("x")


def test_a_finding_survives_the_wire_and_the_database_with_the_same_digest() -> None:
    one = event(finding())
    over = from_wire(pb.Event.FromString(to_wire(one, pb.Event()).SerializeToString()), Event)
    assert over == one
    assert digest_of(over.body) == digest_of(from_json(to_json(one.body), type(one.body)))


def test_a_report_survives_the_wire() -> None:
    now = datetime.now(UTC)
    step = StepResult(
        index=0, argv=(("ps", "aux"), ("head",)), exit_status=None, started_at=now,
        duration_s=0.5, output="a\nb\tc", output_bytes=5, output_sha256="0" * 64,
    )  # fmt: skip
    one = event(
        Report(
            report_id=uuid7(), order_id=uuid7(), outcome=Outcome.TIMED_OUT, steps=(step,),
            reason="late", finished_at=now,
        )
    )  # fmt: skip
    assert from_wire(to_wire(one, pb.Event()), Event) == one


@given(st.binary(max_size=400))
def test_any_bytes_are_an_event_or_are_refused(data: bytes) -> None:
    try:
        message = pb.Event.FromString(data)
    except Exception:  # noqa: BLE001 - protobuf's own refusal
        return
    try:
        from_wire(message, Event)
    except RefusedError:
        return


@given(st.text())
def test_shown_text_has_no_control_character(text: str) -> None:
    shown = journal.shown(text)
    assert all(char >= " " and not "\x7f" <= char <= "\x9f" for char in shown)


def test_records_refuse_unknown_fields() -> None:
    with pytest.raises(RefusedError, match="unknown field"):
        from_json(b'{"event_id":"x","surprise":1}', Event)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"index": -1}, StepResult)
