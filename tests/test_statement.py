"""What an operator signs: no part of what is shown can change without changing it."""

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import structs

from appliance import records
from appliance.operator_claim import Claim, SignatureError, fingerprint
from appliance.operator_signature import verify
from appliance.people import People, statement
from appliance.records import JudgedStep, Mode, Shown
from tests.attacks.operators import Operator, SecurityKey, TerminalKey

STEP = JudgedStep(
    command="kill -TERM 7 | cat",
    purpose="end it",
    undo="systemctl start x",
    ruling="allow",
    rule="20-process.toml:3",
    why="it is in the evidence",
    program_digest="1" * 64,
    argv=(("kill", "-TERM", "7"), ("cat",)),
    risk="low",
    undo_ruling="allow",
    undo_digest="2" * 64,
    undo_argv=(("systemctl", "start", "x"),),
)
SHOWN = Shown(
    incident_id="i",
    plan_id="p",
    node="n",
    finding_id="f",
    evidence_digest="3" * 64,
    steps=(STEP, STEP),
    ruling="allow",
    policy_digest="4" * 64,
    policy_sequence=7,
    mode=Mode.LIVE,
    not_after=datetime(2026, 3, 1, tzinfo=UTC),
    author="somebody",
    approvals_needed=2,
    nonce="once",
)


def others(value: Any) -> Iterator[Any]:  # noqa: C901 - a case for each kind
    """Values of the same kind that are not this one, nested ones included."""
    match value:
        case Mode():
            yield Mode.DRY_RUN
        case None:
            yield "x"
        case str():
            yield from (value[:-1] + ("0" if value[-1] != "0" else "1"), value + "0")
        case int():
            yield value + 1
        case datetime():
            yield value.replace(microsecond=1)
        case msgspec.Struct():
            for name in value.__struct_fields__:
                for other in others(getattr(value, name)):
                    yield structs.replace(value, **{name: other})
        case tuple():
            yield from (value[:-1], (*value, value[-1]))
            for place, item in enumerate(value):
                for other in others(item):
                    yield (*value[:place], other, *value[place + 1 :])


@pytest.mark.parametrize("name", Shown.__struct_fields__)
def test_no_field_of_what_is_shown_changes_without_changing_its_digest(name: str) -> None:
    before = records.digest_of(SHOWN)
    changed = [structs.replace(SHOWN, **{name: other}) for other in others(getattr(SHOWN, name))]
    digests = {records.digest_of(one) for one in changed}
    assert changed
    assert before not in digests
    assert len(digests) == len({records.to_json(one) for one in changed})


def test_every_field_of_a_command_is_among_them() -> None:
    """The sample has a value in each, so that the walk above reaches each."""
    assert all(getattr(STEP, name) for name in STEP.__struct_fields__)
    assert {"argv", "undo_argv", "risk"} <= set(STEP.__struct_fields__)


def test_none_and_an_empty_text_are_two_things() -> None:
    digests = {records.digest_of(structs.replace(SHOWN, author=one)) for one in (None, "", "null")}
    assert len(digests) == 3


def test_a_statement_is_32_bytes_and_says_who_does_what_to_which_digest() -> None:
    digest = records.digest_of(SHOWN)
    made = statement("approve", operator="anna", digest=digest)
    text = b"sentinel-approve/v1\0anna\0" + bytes.fromhex(digest)
    assert made == hashlib.sha256(text).digest()
    assert len(made) == 32
    assert len({
        made,
        statement("resume", operator="anna", digest=digest),
        statement("approve", operator="bert", digest=digest),
        statement("approve", operator="anna", digest="0" * 64),
    }) == 4  # fmt: skip
    with pytest.raises(ValueError, match="zero byte"):
        statement("approve", operator="an\0na", digest=digest)


def claim(operator: Operator, digest: str, **signing: Any) -> Claim:
    return Claim(
        act="approve",
        operator=operator.name,
        digest=digest,
        credential=operator.person.credentials[0],
        signature=operator.sign(digest, **signing),
        rp_id="console.test",
        origins=("https://console.test:8443",),
    )


def test_a_counter_that_does_not_grow_is_a_copy_of_the_key() -> None:
    one, digest = Operator("anna", keys=[SecurityKey(count=6)]), "5" * 64
    signed = claim(one, digest)
    assert verify(signed, sign_count=6) == 7
    for seen in (7, 8, 1000):
        with pytest.raises(SignatureError, match="sign count"):
            verify(signed, sign_count=seen)


def test_a_key_without_a_counter_is_taken_with_0_only() -> None:
    one, digest = Operator("anna", keys=[SecurityKey(count=-1)]), "5" * 64
    signed = claim(one, digest)
    assert verify(signed) == 0
    with pytest.raises(SignatureError, match="sign count"):
        verify(signed, sign_count=1)


def test_no_origin_in_the_list_means_no_browser() -> None:
    one, digest = Operator("anna", keys=[SecurityKey()]), "5" * 64
    with pytest.raises(SignatureError, match="origin"):
        verify(structs.replace(claim(one, digest), origins=People().origins))


def test_an_id_that_is_not_that_of_its_key_is_refused() -> None:
    one, digest = Operator("anna"), "5" * 64
    signed = claim(one, digest)
    renamed = structs.replace(signed.credential, credential_id="6" * 64)
    with pytest.raises(SignatureError, match="not that of its key"):
        verify(structs.replace(signed, credential=renamed))


def test_fingerprints_are_for_reading_aloud() -> None:
    key = TerminalKey()
    raw = base64.b64decode(key.credential.public_key)
    assert fingerprint(key.credential).replace(" ", "") == hashlib.sha256(raw).hexdigest()
    assert fingerprint(key.credential).replace(" ", "") == key.credential.credential_id
    assert len(fingerprint(SecurityKey().credential).split()) == 16
