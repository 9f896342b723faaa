"""Cosignatures, byte for byte as C2SP cosignature/v1 has them, and against forgers."""

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.__main__ import main
from audit.cosignature import (
    MAX_TIME,
    WitnessKey,
    claimed_by,
    cosign,
    cosigned_by,
    parse_witness,
    verify_line,
    with_cosignatures,
)
from audit.errors import NoteError, VkeyError
from audit.note import MAX_SIGNATURES, open_note, parse_vkey, split_note
from tests.audit import ed25519
from tests.audit.builders import make_log, note_of, signer

SECRET = hashlib.sha256(b"a witness").digest()
NAME = "witness.example.com/w1"
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
AT = 1679315147

# The example of c2sp.org/tlog-cosignature, whose witness's public key is not published.
PUBLISHED = (
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJs"
    "X3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
)


def witness(secret: bytes = SECRET, name: str = NAME) -> WitnessKey:
    return WitnessKey(name=name, key=ed25519.public(secret))


def by_hand(secret: bytes, name: str, text: str, at: int) -> str:
    """The line as the specification says it, without a line of ours."""
    own = ed25519.public(secret)
    key_id = hashlib.sha256(name.encode() + b"\n\x04" + own).digest()[:4]
    message = b"cosignature/v1\ntime " + str(at).encode() + b"\n" + text.encode()
    blob = key_id + at.to_bytes(8, "big") + ed25519.sign(secret, message)
    return f"\u2014 {name} {base64.b64encode(blob).decode()}"


def ours(secret: bytes, name: str, text: str, at: int) -> str:
    key = Ed25519PrivateKey.from_private_bytes(secret)
    return cosign(text, witness(secret, name), sign=key.sign, at=at)


def test_the_second_implementation_signs_as_rfc_8032_published() -> None:
    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    assert ed25519.public(secret).hex() == (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    )
    assert ed25519.sign(secret, b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_our_line_is_the_one_that_is_written_by_hand() -> None:
    assert ours(SECRET, NAME, TEXT, AT) == by_hand(SECRET, NAME, TEXT, AT)


@given(
    secret=st.binary(min_size=32, max_size=32),
    at=st.integers(min_value=0, max_value=MAX_TIME),
)
def test_any_key_and_time_gives_the_same_bytes_in_both(secret: bytes, at: int) -> None:
    line = by_hand(secret, "w", TEXT, at)
    assert ours(secret, "w", TEXT, at) == line
    assert verify_line(TEXT, line, witness(secret, "w")).at == at


def test_the_published_example_has_the_form_we_read() -> None:
    assert claimed_by(f"{TEXT}\n{PUBLISHED}\n") == [(NAME, AT)]
    note = f"{TEXT}\n{PUBLISHED}\n"
    assert cosigned_by(note, [witness()]) == []  # the same name, another key


def test_a_cosignature_is_of_one_text_one_time_and_one_key() -> None:
    line = ours(SECRET, NAME, TEXT, AT)
    _, blob = split_note(f"{TEXT}\n{line}\n")[1][0]
    for place in range(4, len(blob)):
        changed = bytearray(blob)
        changed[place] ^= 1
        forged = f"\u2014 {NAME} {base64.b64encode(bytes(changed)).decode()}"
        with pytest.raises(NoteError):
            verify_line(TEXT, forged, witness())
    with pytest.raises(NoteError):
        verify_line(TEXT.replace("20852163", "20852164"), line, witness())
    with pytest.raises(NoteError, match="expected one of"):
        verify_line(TEXT, line, witness(b"\1" * 32))
    with pytest.raises(NoteError, match="expected one of"):
        verify_line(TEXT, line, witness(name="another"))


@pytest.mark.parametrize("length", [0, 4, 63, 71, 73])
def test_a_cosignature_of_another_length_is_none(length: int) -> None:
    blob = witness().key_hash + b"\0" * length
    with pytest.raises(NoteError):
        verify_line(TEXT, f"\u2014 {NAME} {base64.b64encode(blob).decode()}", witness())


def test_a_log_signature_is_no_cosignature_and_the_other_way_round() -> None:
    """One key, two uses: neither signature can be passed off as the other."""
    log = signer()
    vkey = parse_vkey(log.vkey)
    twin = WitnessKey(name=vkey.name, key=vkey.key)
    assert twin.key_hash != vkey.key_hash
    note = note_of(make_log().lines)
    assert cosigned_by(note, [twin]) == []
    line = cosign(split_note(note)[0], twin, sign=log.sign, at=AT)
    with pytest.raises(NoteError, match="none of the keys"):
        open_note(f"{split_note(note)[0]}\n{line}\n", [vkey])


def test_one_key_under_two_names_counts_once() -> None:
    lines = [ours(SECRET, name, TEXT, AT) for name in ("a", "b")]
    note = f"{TEXT}\n{lines[0]}\n{lines[1]}\n"
    assert len(cosigned_by(note, [witness(name="a"), witness(name="b")])) == 1
    assert len(cosigned_by(note, [witness(name="b")])) == 1


def test_a_line_that_a_known_witness_did_not_make_spoils_the_note() -> None:
    good = ours(SECRET, NAME, TEXT, AT)
    bad = ours(SECRET, NAME, TEXT.replace("2", "3"), AT)
    with pytest.raises(NoteError, match="does not verify"):
        cosigned_by(f"{TEXT}\n{good}\n{bad}\n", [witness()])


def test_lines_are_added_within_bounds_and_the_log_s_signature_still_opens() -> None:
    note = note_of(make_log().lines)
    text = split_note(note)[0]
    lines = [ours(SECRET, f"w{number}", text, AT) for number in range(MAX_SIGNATURES)]
    whole = with_cosignatures(note, lines[: MAX_SIGNATURES - 1])
    assert open_note(whole, [parse_vkey(signer().vkey)]).text == text
    with pytest.raises(NoteError, match="more than"):
        with_cosignatures(note, lines)
    for broken in ("", "x", "\u2014 a b", lines[0] + "\n" + lines[1]):
        with pytest.raises(NoteError):
            with_cosignatures(note, [broken])


def test_a_time_beyond_all_times_is_refused() -> None:
    blob = witness().key_hash + (MAX_TIME + 1).to_bytes(8) + b"\0" * 64
    with pytest.raises(NoteError, match="beyond"):
        verify_line(TEXT, f"\u2014 {NAME} {base64.b64encode(blob).decode()}", witness())
    with pytest.raises(NoteError, match="no time"):
        ours(SECRET, NAME, TEXT, -1)


def test_a_vkey_reads_back_and_no_other_spelling_does() -> None:
    text = str(witness())
    assert parse_witness(text) == witness()
    for place, char in enumerate(text):
        with pytest.raises(VkeyError):
            parse_witness(text[:place] + chr(ord(char) + 1) + text[place + 1 :])
    for bad in ("", "a", "a+b", text + "+", text + " ", signer().vkey):
        with pytest.raises(VkeyError):
            parse_witness(bad)
    low = WitnessKey(name="w", key=b"\1" + b"\0" * 31)
    with pytest.raises(VkeyError, match="low order"):
        parse_witness(str(low))


@given(st.text())
def test_any_text_that_is_no_key_and_no_line_is_refused(text: str) -> None:
    with pytest.raises(VkeyError):
        parse_witness(text)
    with pytest.raises(NoteError):
        verify_line(TEXT, text, witness())


# As an auditor sees them.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = make_log(5, every=2)
    for part in ("seg", "checkpoints"):
        (tmp_path / part).mkdir()
    (tmp_path / "seg/000000000000.jsonl").write_bytes(b"".join(b"%b\n" % x for x in log.lines))
    kept = "".join(f"{note}\n" for note in log.notes)
    (tmp_path / "checkpoints/000000000000.notes").write_text(kept)
    text = split_note(log.notes[-1])[0]
    lines = [ours(SECRET, "w1", text, AT), ours(b"\2" * 32, "w2", text, AT)]
    (tmp_path / "checkpoint").write_text(with_cosignatures(log.notes[-1], lines))
    (tmp_path / "log.vkey").write_text(signer().vkey + "\n")
    return tmp_path


def policy(folder: Path, quorum: str) -> Path:
    path = folder / "policy"
    path.write_text(
        f"log {signer().vkey}\nwitness one {witness(name='w1')}\n"
        f"witness nine {witness(b'9' * 32, 'w9')}\ngroup both all one nine\nquorum {quorum}\n"
    )
    return path


def test_verify_names_the_cosigners_and_says_which_it_could_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(folder)]) == 0
    assert (
        "cosigned: 5 entries, by w1 (2023-03-20T12:25:47Z, not checked" in capsys.readouterr().out
    )
    assert main(["verify", str(folder), "--policy", str(policy(folder, "one"))]) == 0
    out = capsys.readouterr().out
    assert "by w1 (2023-03-20T12:25:47Z), w2 (2023-03-20T12:25:47Z, not checked" in out


def test_verify_leaves_2_when_the_policy_asks_for_more_witnesses_than_there_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(folder), "--policy", str(policy(folder, "both"))]) == 2
    assert "UNKNOWN: no checkpoint here has" in capsys.readouterr().out
    plain = (folder / "checkpoint").read_text().split("\u2014 w1")[0]
    (folder / "checkpoint").write_text(plain)
    assert main(["verify", str(folder), "--policy", str(policy(folder, "one"))]) == 2
    assert main(["verify", str(folder), "--json", "--policy", str(policy(folder, "one"))]) == 2


def test_verify_takes_the_quorum_from_the_checkpoint_that_was_kept_elsewhere(
    folder: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    note = (folder / "checkpoint").read_text()
    kept.write_text(note)
    (folder / "checkpoint").write_text(note.split("\u2014 w1")[0])
    words = ["verify", str(folder), "--policy", str(policy(folder, "one")), "--since", str(kept)]
    assert main(words) == 0


def test_verify_leaves_1_for_a_cosignature_that_its_witness_did_not_make(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = (folder / "checkpoint").read_text().split("\u2014 w1")[0]
    forged = ours(SECRET, "w1", TEXT, AT)
    (folder / "checkpoint").write_text(f"{note}{forged}\n")
    for quorum in ("one", "none"):
        assert main(["verify", str(folder), "--policy", str(policy(folder, quorum))]) == 1
        assert "does not verify" in capsys.readouterr().err
