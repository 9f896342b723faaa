"""Signed notes, against the vectors of golang.org/x/mod/sumdb/note and against forgers."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from audit.checkpoint import Checkpoint, open_checkpoint, parse_text, sign_checkpoint, split_notes
from audit.errors import CheckpointError, NoteError, VkeyError
from audit.note import Vkey, check_point, open_note, parse_vkey, sign
from audit.signer import LocalSigner
from tests.audit.builders import ORIGIN, signer

# Published: the key, text and signature of note_test.go.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
BLOB = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)
LINE = f"\u2014 PeterNeumann {BLOB}\n"
NOTE = f"{TEXT}\n{LINE}"
KEYS = [parse_vkey(VKEY)]
P = 2**255 - 19


def test_the_published_note_opens_under_the_published_key() -> None:
    opened = open_note(NOTE, KEYS)
    assert opened.text == TEXT
    assert [key.name for key in opened.keys] == ["PeterNeumann"]


def test_signing_with_the_published_seed_gives_the_published_bytes() -> None:
    published = LocalSigner("PeterNeumann", Ed25519PrivateKey.from_private_bytes(SEED))
    assert published.vkey == VKEY
    assert sign(TEXT, published) == NOTE


def test_a_vkey_reads_back_and_any_part_of_it_is_refused() -> None:
    assert str(parse_vkey(VKEY)) == VKEY
    for start in range(len(VKEY) + 1):
        for end in range(start, len(VKEY) + 1):
            if (start, end) != (0, len(VKEY)):
                with pytest.raises(VkeyError):
                    parse_vkey(VKEY[start:end])


def test_a_vkey_with_any_byte_raised_by_one_is_refused() -> None:
    for place, char in enumerate(VKEY):
        with pytest.raises(VkeyError):
            parse_vkey(VKEY[:place] + chr(ord(char) + 1) + VKEY[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        VKEY.replace("c74f20a3", "C74F20A3"),
        VKEY.replace("PeterNeumann", "Peter Neumann"),
        VKEY + " ",
        "",
    ],
)
def test_other_spellings_and_algorithms_of_a_vkey_are_refused(text: str) -> None:
    with pytest.raises(VkeyError):
        parse_vkey(text)


LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


@pytest.mark.parametrize("point", LOW_ORDER + [p[:31] + bytes([p[31] | 0x80]) for p in LOW_ORDER])
def test_a_key_under_which_anybody_can_sign_is_refused(point: bytes) -> None:
    with pytest.raises(VkeyError, match="low order"):
        check_point(point)
    with pytest.raises(VkeyError, match="low order"):
        parse_vkey(str(Vkey(name="log", key=point)))


@pytest.mark.parametrize("y", [P, P + 1, 2**255 - 1])
def test_a_second_spelling_of_a_point_is_refused(y: int) -> None:
    with pytest.raises(VkeyError, match="canonical"):
        check_point(y.to_bytes(32, "little"))


def test_bytes_that_are_no_point_are_refused() -> None:
    with pytest.raises(VkeyError, match="not a point"):
        check_point((2).to_bytes(32, "little"))
    with pytest.raises(VkeyError, match="32 bytes"):
        check_point(b"short")


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        NOTE[:-1],
        NOTE + "\n",
        f"\x01{NOTE}",
        f"{TEXT}\r\n{NOTE}",
        f"\n\n{LINE}",
        f"{TEXT}\n\u2014 Bad Name {BLOB}\n",
        f"{TEXT}\n\u2014 Bad+Name {BLOB}\n",
        f"{TEXT}\n- PeterNeumann {BLOB}\n",
        f"{TEXT}\n\u2014 PeterNeumann {BLOB[:-1]}\n",
        f"{TEXT}\n\u2014 PeterNeumann x08gow==\n",
        f"{NOTE}Unexpected line.\n",
        f"{TEXT}\n" + LINE * 101,
        "x" * 1_000_001,
    ],
)
def test_what_is_not_a_note_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        open_note(note, KEYS)


def test_any_changed_character_of_a_note_is_refused() -> None:
    for place in range(len(NOTE)):
        changed = NOTE[:place] + chr(ord(NOTE[place]) ^ 1) + NOTE[place + 1 :]
        with pytest.raises(NoteError):
            open_note(changed, KEYS)


def test_lines_of_keys_we_do_not_know_are_skipped_but_never_enough() -> None:
    other = signer(2, name="witness.example")
    both = sign(
        TEXT, LocalSigner("PeterNeumann", Ed25519PrivateKey.from_private_bytes(SEED)), other
    )
    assert len(open_note(both, KEYS).keys) == 1
    assert len(open_note(both, [*KEYS, parse_vkey(other.vkey)]).keys) == 2
    with pytest.raises(NoteError, match=r"signed by witness\.example"):
        open_note(sign(TEXT, other), KEYS)


def test_a_known_key_that_signed_wrongly_refuses_the_note_even_beside_a_good_one() -> None:
    other = signer(2, name="witness.example")
    wrong = sign("other text\n", other).partition("\n\n")[2]
    with pytest.raises(NoteError, match="does not verify"):
        open_note(NOTE + wrong, [*KEYS, parse_vkey(other.vkey)])


def test_a_repeated_line_counts_once() -> None:
    assert len(open_note(NOTE + LINE, KEYS).keys) == 1


def test_a_signer_that_signs_something_else_publishes_nothing() -> None:
    class Liar(LocalSigner):
        def sign(self, message: bytes) -> bytes:
            return super().sign(message + b"!")

    key = Ed25519PrivateKey.from_private_bytes(SEED)
    with pytest.raises(NoteError, match="does not verify"):
        sign(TEXT, Liar("PeterNeumann", key))


def test_two_signers_of_one_key_are_one_too_few() -> None:
    with pytest.raises(NoteError, match="one key"):
        sign(TEXT, signer(), signer())


def test_a_signer_loads_from_pkcs8_pem_and_refuses_other_files() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert LocalSigner.from_pem("PeterNeumann", pem).vkey == VKEY
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for bad in (b"", b"not a key", locked):
        with pytest.raises(VkeyError):
            LocalSigner.from_pem("PeterNeumann", bad)
    with pytest.raises(VkeyError):
        LocalSigner.from_pem("with space", pem)


ROOT = hashlib.sha256(b"root").digest()
CHECKPOINT = Checkpoint(origin=ORIGIN, size=17, root=ROOT)


def test_a_checkpoint_is_three_lines_and_opens_under_the_logs_key() -> None:
    note = sign_checkpoint(CHECKPOINT, signer())
    assert note.startswith(f"{ORIGIN}\n17\n{base64.b64encode(ROOT).decode()}\n\n\u2014 {ORIGIN} ")
    assert open_checkpoint(note, [parse_vkey(signer().vkey)]) == CHECKPOINT


def test_a_checkpoint_of_one_log_signed_by_the_key_of_another_is_refused() -> None:
    stranger = signer(name="other.example")
    note = sign_checkpoint(CHECKPOINT, stranger)
    with pytest.raises(CheckpointError, match=r"signed by other\.example"):
        open_checkpoint(note, [parse_vkey(stranger.vkey)])


GOOD = CHECKPOINT.text


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "extension\n",
        GOOD[:-1],
        GOOD.replace("\n17\n", "\n017\n"),
        GOOD.replace("\n17\n", "\n+17\n"),
        GOOD.replace("\n17\n", "\n1_7\n"),
        GOOD.replace("\n17\n", "\n\u0661\u0667\n"),
        GOOD.replace("\n17\n", "\n-1\n"),
        GOOD.replace("\n17\n", f"\n{'9' * 5000}\n"),
        GOOD.replace("=\n", "\n"),
        GOOD.replace(base64.b64encode(ROOT).decode(), base64.b64encode(ROOT[:31]).decode()),
        GOOD.replace(ORIGIN, ""),
        f"{ORIGIN}\n17\n",
        "",
    ],
)
def test_a_text_that_is_not_exactly_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        parse_text(text)


def test_kept_notes_are_read_whole_wherever_the_file_was_torn() -> None:
    notes = [
        sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=ROOT), signer())
        for size in (1, 2, 3)
    ]
    data = "".join(f"{note}\n" for note in notes).encode()
    ends = [0]
    for note in notes:
        ends.append(ends[-1] + len(note.encode()) + 1)
    for cut in range(len(data) + 1):
        found, end = split_notes(data[:cut])
        whole = sum(1 for at in ends[1:] if at <= cut)
        assert (found, end) == (notes[:whole], ends[whole])


def test_kept_notes_that_are_no_text_are_refused() -> None:
    with pytest.raises(CheckpointError, match="not text"):
        split_notes(b"\xff\n\n\xff\n\n")
