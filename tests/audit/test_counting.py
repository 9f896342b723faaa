"""Whether one checkpoint counts: revoked keys, second keys, and the lines that name them."""

from pathlib import Path

import pytest

from appliance.errors import RefusedError
from audit import proof
from audit.__main__ import main
from audit.counting import Counting, line_of, opened, parse_keys
from audit.entry import leaf_hash
from audit.epochs import certify
from audit.errors import AuditRefusedError, CheckpointError, ProofError, VkeyError
from audit.merkle import Subtrees
from audit.note import parse_vkey
from tests.audit.builders import ORIGIN, make_log, note_of, signer
from tests.audit.epoch_log import ROOT, SECOND, EpochLog, history, list_of
from tests.audit.test_epoch_exports import written
from tests.audit.test_epochs import revoked_at
from tests.audit.test_points import LOW_ORDER, vkey_of

KEY, OTHER = signer(1), signer(2)
LINES = make_log(12).lines


def refused(note: str, keys: Counting) -> str:
    with pytest.raises(AuditRefusedError) as error:
        keys.open(note)
    return str(error.value)


def test_a_revoked_key_counts_up_to_its_last_trusted_size() -> None:
    keys = parse_keys(f"{KEY.vkey} upto 8\n{OTHER.vkey}\n")
    assert keys.open(note_of(LINES[:8])).size == 8
    assert "revoked beyond 8 entries" in refused(note_of(LINES[:9]), keys)
    assert keys.open(note_of(LINES, key=OTHER)).size == 12


def test_both_keys_sign_and_the_one_that_is_not_revoked_counts() -> None:
    log = history(1)
    keys = parse_keys(
        "\n".join(f"{one.vkey}{' upto 1' * (one.epoch == 0)}" for one in log.epochs.epochs)
    )
    both = next(note for note in log.notes if note.count("\u2014") == 2)
    assert keys.open(both).size > 1


def test_a_second_key_is_demanded_from_its_size_on_and_alone_signs_nothing() -> None:
    keys = parse_keys(f"second {SECOND.vkey} 9\n{KEY.vkey}\n")
    assert keys.open(note_of(LINES[:8])).size == 8
    assert "lacks a signature" in refused(note_of(LINES[:9]), keys)
    alone = history(0, second=None)
    alone.sign(SECOND)
    assert "another did" in refused(alone.notes[-1], keys)


def test_a_key_with_its_own_second_does_not_count_without_it() -> None:
    bare, full = history(1), history(1, epochs=list_of(second=SECOND), second=SECOND)
    keys = parse_keys("\n".join(line_of(one.counting) for one in full.epochs.epochs))
    assert keys.open(full.notes[-1]).size == len(full.lines)
    assert "lacks a signature" in refused(bare.notes[-1], keys)


def test_keys_without_demands_are_judged_alike() -> None:
    assert opened(note_of(LINES), [parse_vkey(KEY.vkey)]).size == 12
    assert opened(note_of(LINES), parse_keys(KEY.vkey)).size == 12
    with pytest.raises(AuditRefusedError):
        opened(note_of(LINES), [parse_vkey(OTHER.vkey)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "x",
        f"{KEY.vkey}\n{KEY.vkey}",
        f"{KEY.vkey}\n{signer(3, name='else').vkey}",
        f"second {SECOND.vkey}",
        f"{KEY.vkey}\nsecond {OTHER.vkey}",
        f"{KEY.vkey} with {OTHER.vkey}",
        f"{KEY.vkey}\nsecond {SECOND.vkey} -1",
        f"{KEY.vkey}\nsecond {SECOND.vkey} {'9' * 17}",
        f"{KEY.vkey} upto",
        f"{KEY.vkey} upto x",
        f"{KEY.vkey} upto 1 with {SECOND.vkey}",
        f"{KEY.vkey} {OTHER.vkey}",
        f"{KEY.vkey} upto \u0661",
        *(vkey_of(bytes.fromhex(point)) for point in LOW_ORDER),
        *(f"{KEY.vkey}\nsecond {vkey_of(bytes.fromhex(point), name='s')}" for point in LOW_ORDER),
    ],
)
def test_what_names_no_key_of_one_log_is_refused(text: str) -> None:
    with pytest.raises(VkeyError):
        parse_keys(text)


def test_lines_read_back_as_they_were_written() -> None:
    epochs, _ = revoked_at(1, 7, list_of(3, second=SECOND))
    lines = "\n".join(line_of(one.counting) for one in epochs.epochs)
    assert parse_keys(lines).keys == tuple(one.counting for one in epochs.epochs)


# Proofs


def proof_of(log: EpochLog, note: str, seq: int) -> str:
    leaves = [leaf_hash(line) for line in log.lines]
    return proof.make(seq, note, Subtrees(leaves.__getitem__))


def test_a_proof_under_a_revoked_key_beyond_its_last_trusted_size_is_refused() -> None:
    log = history(2)
    epochs, _ = revoked_at(2, len(log.lines) - 2, log.epochs)
    keys = Counting(keys=tuple(one.counting for one in epochs.epochs))
    trusted, beyond = log.notes[-3], log.notes[-1]
    assert proof.verify_inclusion(proof_of(log, trusted, 1), log.lines[1], keys).seq == 1
    with pytest.raises(ProofError, match="revoked beyond"):
        proof.verify_inclusion(proof_of(log, beyond, 1), log.lines[1], keys)
    text = "\n".join(line_of(one) for one in keys.keys)
    with pytest.raises(ProofError, match="revoked beyond"):
        proof.verify_inclusion(proof_of(log, beyond, 1), log.lines[1], text)


def test_prove_gives_nothing_out_under_a_revoked_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = history(2)
    words = ["prove", str(written(log, tmp_path / "log")), "1", "--root", ROOT.vkey]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(proof.HEADER)
    for trusted, status in ((len(log.lines), 0), (len(log.lines) - 1, 1)):
        newer = tmp_path / "newer.note"
        newer.write_text(certify(revoked_at(2, trusted, log.epochs)[0], ROOT))
        out = tmp_path / f"{trusted}.proof"
        assert main([*words, "--epochs", str(newer), "--output", str(out)]) == status
        assert out.exists() == (status == 0)
    assert "revoked beyond" in capsys.readouterr().err


def test_prove_demands_the_second_key_of_a_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy"
    policy.write_text(f"root {ROOT.vkey}\nsecond {SECOND.vkey}\n")
    for second, status in ((SECOND, 0), (None, 1)):
        folder = written(history(1, second=second), tmp_path / str(status))
        assert main(["prove", str(folder), "1", "--policy", str(policy)]) == status
    assert "lacks a signature" in capsys.readouterr().err


def test_a_refusal_is_one_for_programs_too() -> None:
    assert issubclass(CheckpointError, RefusedError)
    assert parse_keys(KEY.vkey).origin == ORIGIN
