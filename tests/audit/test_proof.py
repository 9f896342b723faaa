"""No audit, no action: what counts as shown to be in the log."""

import base64

import pytest

from audit import proof
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.entry import leaf_hash
from audit.errors import ProofError
from audit.merkle import Subtrees
from audit.note import parse_vkey
from tests.audit.builders import ORIGIN, chain_of, draft, make_log, note_of, rewrite, signer

LOG = make_log(30)
NOTE = LOG.notes[-1]
NODE = Subtrees([leaf_hash(line) for line in LOG.lines].__getitem__)
VKEY = signer().vkey


def made(index: int = 11) -> str:
    return proof.make(index, NOTE, NODE)


def refused(text: str, line: bytes = LOG.lines[11], vkey: str = VKEY) -> str:
    with pytest.raises(ProofError) as caught:
        proof.verify(text, line, vkey)
    return str(caught.value)


@pytest.mark.parametrize("index", [0, 1, 11, 28, 29])
def test_a_proof_leads_from_the_line_to_the_signed_root(index: int) -> None:
    proven = proof.verify(made(index), LOG.lines[index], parse_vkey(VKEY))
    assert (proven.entry.seq, proven.checkpoint.size, proven.note) == (index, 30, NOTE)
    assert proof.verify_inclusion(made(index), LOG.lines[index], VKEY) == proven.entry


def test_the_text_is_that_of_c2sp() -> None:
    lines = made().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 11"]
    assert lines[lines.index("") + 1 : lines.index("") + 3] == [ORIGIN, "30"]
    assert made().endswith(NOTE)


def test_any_changed_character_of_a_proof_is_refused() -> None:
    text = made()
    for place in range(len(text)):
        refused(text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :])


def test_a_proof_of_one_entry_is_none_of_another() -> None:
    assert "line is entry 12" in refused(made(), LOG.lines[12])


def test_an_approval_that_was_invented_has_no_proof() -> None:
    invented = rewrite(LOG.lines[11], type="approval.grant", body={"plan_id": "mine"})
    assert "does not lead" in refused(made(), invented)


def test_a_forger_with_another_key_of_the_same_name_proves_nothing() -> None:
    forged = proof.make(11, note_of(LOG.lines, key=signer(2)), NODE)
    assert "none of the keys" in refused(forged)


def test_of_a_log_whose_key_changes_any_of_its_keys_proves() -> None:
    others = [signer(n).vkey for n in (2, 3)]
    text = "\n".join([*others, VKEY]) + "\n"
    assert proof.verify_inclusion(made(), LOG.lines[11], text).seq == 11
    keys = [parse_vkey(one) for one in (*others, VKEY)]
    assert proof.verify_inclusion(made(), LOG.lines[11], keys).seq == 11
    assert "none of the keys" in refused(made(), vkey="\n".join(others))


def test_an_entry_of_another_log_of_the_same_key_is_refused() -> None:
    line = rewrite(LOG.lines[0], log="other.example")
    root = leaf_hash(line)
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=root), signer())
    text = proof.make(0, note, lambda _level, _index: root)
    assert "of other.example" in refused(text, line)


def test_an_entry_with_another_number_than_its_place_is_refused() -> None:
    lines = chain_of([draft(n) for n in range(4)])
    root = leaf_hash(lines[3])
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=root), signer())
    assert "of entry 0" in refused(proof.make(0, note, lambda _l, _i: root), lines[3])


def test_a_line_that_is_not_canonical_is_refused_even_if_it_is_in_the_tree() -> None:
    line = LOG.lines[0].replace(b'"v":1}', b'"v":1 }')
    root = leaf_hash(line)
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=1, root=root), signer())
    assert "canonical" in refused(proof.make(0, note, lambda _l, _i: root), line)


def test_unauthenticated_extra_data_is_refused() -> None:
    extra = base64.b64encode(b"trust me").decode()
    assert "no proof" in refused(made().replace("\nindex", f"\nextra {extra}\nindex", 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n",
        made().replace("@v1", "@v2"),
        made().replace("index 11", "index 011"),
        made().replace("index 11", "index +11"),
        made().replace("index 11", "index " + "9" * 400),
        made().replace("index 11", "index 9007199254740993"),
        made().replace("\n\n", "\n" + "A" * 43 + "=" + "\n\n", 1),
        made().replace("\n\n", "\n" * 3, 1),
        "x" * 100_000,
    ],
)
def test_what_is_not_a_proof_is_refused(text: str) -> None:
    refused(text)


def test_no_proof_is_made_beyond_the_checkpoint() -> None:
    with pytest.raises(ProofError, match="not among the first 30"):
        proof.make(30, NOTE, NODE)
