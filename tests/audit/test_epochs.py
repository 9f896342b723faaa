"""Keys that change: a stolen key reaches forward, never back, and a swapped list is found."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import canonical
from audit.counting import Second
from audit.entry import timestamp
from audit.epochs import (
    EpochList,
    Ratchet,
    certify,
    demand_newer,
    open_list,
    plan,
    revoke,
)
from audit.errors import EpochError, NoteError, TrustError
from audit.note import claimed, parse_vkey, sign
from audit.report import Verdict
from audit.trust import parse_policy
from tests.audit.builders import ORIGIN, signer
from tests.audit.epoch_log import (
    BEGIN,
    DAY,
    LONG,
    OTHER_ROOT,
    ROOT,
    SECOND,
    EpochLog,
    forged,
    history,
    list_of,
    ratchet_of,
)

ROOT_KEY = parse_vkey(ROOT.vkey)


# The ratchet


def test_the_ratchet_is_the_documented_one() -> None:
    """Computed a second time here, with another library's words, from the documentation."""
    start = ratchet_of()
    key = bytes.fromhex(start.key)
    for epoch in range(4):
        seed = hmac.new(key, b"sign", hashlib.sha256).digest()
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        assert parse_vkey(start.at(epoch).signer().vkey).key == public
        key = hmac.new(key, b"next", hashlib.sha256).digest()


def test_a_ratchet_goes_forward_and_never_back() -> None:
    later = ratchet_of().at(5)
    assert later.epoch == 5
    with pytest.raises(EpochError, match="forgotten"):
        later.at(4)
    keys = [ratchet_of().at(n).key for n in range(6)]
    assert len(set(keys)) == 6


def test_a_ratchet_is_printed_without_its_key() -> None:
    assert ratchet_of().key not in repr(ratchet_of())
    assert ratchet_of().key not in str(ratchet_of())


# The list


def test_a_certified_list_opens_as_it_was_made() -> None:
    epochs = list_of(second=SECOND)
    note = certify(epochs, ROOT)
    assert open_list(note, ROOT_KEY) == epochs
    assert canonical.encode(msgspec.to_builtins(epochs)).decode() == note.split("\n")[0]


def test_a_list_of_another_root_is_refused() -> None:
    with pytest.raises(NoteError):
        open_list(certify(list_of(), OTHER_ROOT), ROOT_KEY)
    with pytest.raises(EpochError, match="named"):
        certify(list_of(), signer(5, name="else.example/root"))


def test_any_changed_character_of_a_list_is_refused() -> None:
    note = certify(list_of(2), ROOT)
    for place in range(0, len(note), 3):
        changed = note[:place] + chr(ord(note[place]) ^ 1) + note[place + 1 :]
        with pytest.raises((NoteError, EpochError)):
            open_list(changed, ROOT_KEY)


def certified_anyhow(text: str) -> str:
    """What a root key signs that does not look at what it signs."""
    return sign(text + "\n", ROOT)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(v=2),
        lambda d: d.update(log="else.example/hub"),
        lambda d: d.update(sequence=0),
        lambda d: d.update(sequence="1"),
        lambda d: d.update(more=1),
        lambda d: d.update(epochs=[]),
        lambda d: d["epochs"].pop(0),
        lambda d: d["epochs"].pop(1),
        lambda d: d["epochs"].reverse(),
        lambda d: d["epochs"][1].update(vkey=d["epochs"][0]["vkey"]),
        lambda d: d["epochs"][1].update(vkey=signer(3, name="else.example").vkey),
        lambda d: d["epochs"][1].update(vkey="x"),
        lambda d: d["epochs"][1].update(vkey=d["epochs"][0]["vkey"] + "\n"),
        lambda d: d["epochs"][1].update(second=signer(3).vkey),
        lambda d: d["epochs"][1].update(second=signer(3, name="b").vkey + "\n"),
        lambda d: d["epochs"][1].update(not_after=d["epochs"][1]["not_before"]),
        lambda d: d["epochs"][1].update(not_before="2026-01-01"),
        lambda d: d["epochs"][1].update(not_before=d["epochs"][1]["not_after"]),
        lambda d: d["epochs"][2].update(not_after=d["epochs"][1]["not_after"]),
        lambda d: d["epochs"][1].pop("vkey"),
    ],
)  # fmt: skip
def test_a_list_that_says_something_impossible_is_refused_even_if_signed(change: object) -> None:
    built = json.loads(msgspec.json.encode(list_of(4)))
    change(built)  # type: ignore[operator]
    with pytest.raises(EpochError):
        open_list(certified_anyhow(canonical.encode(built).decode()), ROOT_KEY)


def test_a_list_with_a_key_for_everybody_is_refused() -> None:
    built = msgspec.to_builtins(list_of(2))
    raw = b"\x01" + bytes([1]) + bytes(31)
    name = f"{ORIGIN}+00000000+{base64.b64encode(raw).decode()}"
    built["epochs"][1]["vkey"] = name
    with pytest.raises(EpochError):
        open_list(certified_anyhow(canonical.encode(built).decode()), ROOT_KEY)


def test_another_spelling_of_a_list_is_refused() -> None:
    built = msgspec.to_builtins(list_of(2))
    with pytest.raises(EpochError, match="canonical"):
        open_list(certified_anyhow(json.dumps(built)), ROOT_KEY)


def test_a_list_is_replaced_by_a_newer_one_only_and_what_was_used_stays() -> None:
    old = list_of(4)
    later = msgspec.structs.replace(old, sequence=2, epochs=list_of(6).epochs)
    demand_newer(later, old)
    demand_newer(old, old)
    with pytest.raises(EpochError, match="older"):
        demand_newer(old, later)
    with pytest.raises(EpochError, match="number 1"):
        demand_newer(list_of(5), old)
    swapped = msgspec.structs.replace(list_of(4, seed=9), sequence=2)
    with pytest.raises(EpochError, match="another key"):
        demand_newer(swapped, old)
    shorter = msgspec.structs.replace(list_of(3), sequence=2)
    with pytest.raises(EpochError, match="another key"):
        demand_newer(shorter, old)


def revoked_at(epoch: int, size: int, epochs: EpochList) -> tuple[EpochList, Ratchet]:
    new = ratchet_of(50, epoch=len(epochs.epochs))
    begin = BEGIN + LONG * epoch
    more = plan(new, begin=begin, ends=[begin + LONG * (n + 1) for n in range(4)])
    return revoke(epochs, epoch=epoch, trusted_size=size, reason="stolen", new=more), new


def test_a_revocation_takes_all_that_follows_from_the_secret_and_is_not_taken_back() -> None:
    old = list_of(5)
    new, _ = revoked_at(2, 10, old)
    assert [one.epoch for one in new.epochs if one.revoked] == [2, 3, 4]
    assert open_list(certify(new, ROOT), ROOT_KEY) == new
    demand_newer(new, old)
    forgiven = msgspec.structs.replace(
        new,
        sequence=3,
        epochs=tuple(msgspec.structs.replace(one, revoked=None) for one in new.epochs),
    )
    with pytest.raises(EpochError, match="taken back"):
        demand_newer(forgiven, new)
    with pytest.raises(EpochError, match="no epoch 99"):
        revoke(old, epoch=99, trusted_size=1, reason="x", new=[])


# Honest logs


def test_an_honest_log_over_several_epochs_is_valid() -> None:
    log = history(4)
    report = log.verify()
    assert report.verdict is Verdict.VALID, report
    assert not report.warnings
    assert report.signed_size == len(log.lines)


def test_a_log_in_its_first_epoch_is_valid() -> None:
    assert history(0).verify().verdict is Verdict.VALID


def test_a_key_changed_at_once_by_command_is_valid() -> None:
    log = history(1)
    new = log.ratchet.next()
    log.now += DAY  # within epoch 1
    log.change(new, reason="a disk was replaced")
    log.sign(log.ratchet.signer(), new.signer())
    log.ratchet = new
    log.happen()
    assert log.verify().verdict is Verdict.VALID


def test_a_machine_that_was_off_for_two_epochs_catches_up_and_is_valid() -> None:
    log = history(1)
    log.now = BEGIN + 4 * LONG + DAY
    for _ in range(3):
        new = log.ratchet.next()
        log.change(new)
        log.sign(log.ratchet.signer(), new.signer())
        log.ratchet = new
    log.happen()
    assert log.verify().verdict is Verdict.VALID


def test_an_unsigned_change_at_the_end_is_incomplete_not_tampered() -> None:
    log = history(1)
    log.change(log.ratchet.next())
    assert log.verify().verdict is Verdict.INCOMPLETE


def test_the_last_audits_checkpoint_of_an_earlier_epoch_is_extended() -> None:
    log = history(1)
    since = log.notes[-1]
    log.rotate()
    log.happen()
    assert log.verify(since=since).verdict is Verdict.VALID


# Attacks


@pytest.mark.parametrize("at", [1, 2, 5, 6, 9, 11])
def test_a_stolen_current_key_cannot_rewrite_an_earlier_epoch(at: int) -> None:
    """The thief has the secret of epoch 3 and the whole disk, and signs all of it anew."""
    log = history(3)
    thief = forged(log, upto=at)
    thief.notes = []
    thief.sign()
    assert_found(thief, "first checkpoint is of epoch 3")
    # … or keeps the old checkpoints of the epochs before
    mixed = forged(log, upto=at)
    mixed.notes = [note for note in log.notes if log.ratchet.signer().vkey not in keys_of(note)]
    mixed.sign()
    assert mixed.verify().verdict is Verdict.TAMPERED
    first_bad = mixed.verify().first_bad
    assert first_bad is not None


def keys_of(note: str) -> set[str]:
    marks = claimed(note)[1]
    return {str(key) for key in list_of().vkeys if (key.name, key.key_hash) in marks}


def assert_found(log: EpochLog, sentence: str, epochs: EpochList | None = None) -> None:
    report = log.verify(epochs)
    assert report.verdict is Verdict.TAMPERED
    assert any(sentence in problem.sentence for problem in report.problems), report.problems


def test_a_stolen_key_cannot_make_a_second_change_out_of_an_earlier_epoch() -> None:
    """The checkpoint between two epochs bears both signatures, and one of the keys is gone."""
    log = history(3)
    thief = EpochLog.begun()
    thief.notes = log.notes[:1]  # epoch 0 is honest, as far as its first checkpoint
    thief.happen(2)
    thief.notes = log.notes[:1]
    stolen = log.ratchet
    thief.now = BEGIN + 3 * LONG
    thief.ratchet = ratchet_of()
    thief.change(stolen)
    thief.sign(stolen.signer())
    assert_found(thief, "that epoch 0 did not sign")
    assert_found(thief, "epoch 1 is missing")


def test_a_missing_epoch_is_found() -> None:
    log = history(3)
    second = parse_vkey(list_of().epochs[2].vkey)
    without = log.copy()
    without.notes = [note for note in log.notes if str(second) not in keys_of(note)]
    assert_found(without, "epoch 2 is missing")


def test_a_change_that_only_the_new_key_signed_is_found() -> None:
    log = history(1)
    new = log.ratchet.next()
    log.now = BEGIN + 2 * LONG
    log.change(new)
    log.sign(new.signer())
    log.ratchet = new
    log.happen()
    assert_found(log, "that epoch 1 did not sign")


def test_a_change_without_its_entry_is_found() -> None:
    log = history(1)
    new = log.ratchet.next()
    log.now = BEGIN + 2 * LONG
    log.happen(1)
    log.sign(log.ratchet.signer(), new.signer())
    log.ratchet = new
    log.happen()
    assert_found(log, "does not begin with a checkpoint over its `key.rotate`")


def test_an_entry_that_changes_to_a_key_nobody_certified_is_found() -> None:
    log = history(1)
    log.change(ratchet_of(9, epoch=2))
    log.sign()
    assert_found(log, "a key that no epoch has")


def test_a_key_that_signs_on_after_its_successor_began_is_found() -> None:
    log = history(1)
    before = log.ratchet
    log.rotate()
    log.happen()
    log.write("config.change", {"what": "late"})
    log.sign(before.signer())
    assert_found(log, "after epoch 2 had begun")


def test_a_key_used_after_its_time_is_found() -> None:
    log = history(1)
    log.now = BEGIN + 2 * LONG + timedelta(hours=2)
    log.happen()
    assert_found(log, "is in epoch 1, which ended")


def test_a_clock_that_is_a_little_off_at_an_epochs_end_is_no_crime() -> None:
    log = history(1)
    log.now = BEGIN + 2 * LONG + timedelta(minutes=50)
    log.happen()
    assert log.verify().verdict is Verdict.VALID


def test_a_key_used_before_its_time_is_found() -> None:
    log = history(1)
    for _ in range(2):  # epoch 3 in the time of epoch 1
        new = log.ratchet.next()
        log.change(new)
        log.sign(log.ratchet.signer(), new.signer())
        log.ratchet = new
    assert_found(log, "epoch 3 began at")


def test_a_log_begun_in_a_later_epoch_is_found() -> None:
    later = ratchet_of().at(2)
    log = EpochLog(list_of(), later)
    log.now = BEGIN + 2 * LONG
    log.write("log.open", {"vkey": later.signer().vkey, "format": 1})
    log.sign()
    log.happen()
    assert_found(log, "those of the epochs before it are missing")
    assert_found(log, "begun under another key")


def test_a_log_under_a_swapped_list_is_found() -> None:
    """Another root, another list, a log that fits both: the auditor's root key opens neither."""
    swapped = list_of(seed=9)
    log = EpochLog(swapped, ratchet_of(9))
    log.write("log.open", {"vkey": swapped.epochs[0].vkey, "format": 1})
    log.sign()
    with pytest.raises(NoteError):
        open_list(certify(swapped, OTHER_ROOT), ROOT_KEY)
    report = log.verify(list_of())  # nor do the keys of the true list
    assert report.verdict is Verdict.TAMPERED


def test_a_list_that_was_rolled_back_is_found() -> None:
    old = list_of()
    log = history(1)
    new = msgspec.structs.replace(list_of(8), sequence=2)
    body = {"sequence": 2, "list_digest": new.digest, "root_vkey": ROOT.vkey, "epochs": 8}
    log.write("key.epochs", body)
    log.sign()
    log.happen()
    assert log.verify(new).verdict is Verdict.VALID
    assert_found(log, "the one at hand is an older one, 1", old)
    assert_found(log, "another epoch list 2", msgspec.structs.replace(list_of(7), sequence=2))


def test_a_revoked_key_counts_up_to_its_last_trusted_size_and_no_further() -> None:
    log = history(2)
    size = len(log.lines)
    new, _ = revoked_at(2, size, log.epochs)
    assert log.verify(new).verdict is Verdict.VALID  # it is trusted for all of it
    thief = log.copy()
    thief.happen(3)
    report = thief.verify(new)
    assert report.verdict is Verdict.TAMPERED
    assert report.first_bad == size
    assert "revoked (stolen)" in report.sentence
    assert report.signed_size == size


def test_after_a_revocation_a_new_secret_takes_over_and_the_log_is_valid() -> None:
    log = history(2)
    trusted = len(log.lines) - 2
    new, secret = revoked_at(2, trusted, log.epochs)
    log.epochs = new
    log.now += DAY
    log.take_over(secret)
    log.happen()
    report = log.verify()
    assert report.verdict is Verdict.VALID, report
    assert any("do not count" in warning for warning in report.warnings)
    assert report.signed_size == len(log.lines)


def test_an_epoch_that_was_revoked_before_it_began_leaves_the_log_valid_once_it_is_taken_over() -> (
    None
):
    log = history(1)
    trusted = len(log.lines) - 2
    log.rotate()
    log.happen()
    new, secret = revoked_at(2, trusted, log.epochs)
    log.epochs = new
    log.now += DAY
    log.take_over(secret)
    log.happen()
    report = log.verify()
    assert report.verdict is Verdict.VALID, report


def test_the_thief_of_a_revoked_key_cannot_go_on_to_its_next_epochs() -> None:
    log = history(2)
    new, _ = revoked_at(2, len(log.lines), log.epochs)
    thief = log.copy()
    thief.rotate()
    thief.happen()
    assert_found(thief, "signed by nobody but the key of epoch 3", new)


def test_a_new_secret_that_takes_over_below_the_trusted_size_is_found() -> None:
    """The log was set back before the new secret came: what the old key is trusted for is gone."""
    log = history(2)
    new, secret = revoked_at(2, len(log.lines) + 5, log.epochs)
    log.take_over(secret)
    log.happen()
    assert_found(log, "that epoch 2 did not sign", new)


# The second key


def test_where_a_second_key_is_demanded_a_note_without_it_is_found() -> None:
    epochs = list_of(second=SECOND)
    assert history(2, epochs=epochs, second=SECOND).verify().verdict is Verdict.VALID
    assert_found(history(2, epochs=epochs), "lacks the signature of")
    one = history(2, epochs=epochs, second=SECOND)
    one.second = None
    one.happen(1)
    assert_found(one, "lacks the signature of")


def test_the_second_key_alone_signs_nothing() -> None:
    log = history(1, epochs=list_of(second=SECOND), second=SECOND)
    log.write("config.change", {"what": "x"})
    log.second = None
    log.sign(SECOND)
    assert log.verify().verdict is not Verdict.VALID


def test_a_second_signature_that_is_wrong_refuses_the_note() -> None:
    log = history(1, epochs=list_of(second=SECOND), second=SECOND)
    good = log.notes[-1].rsplit("\n", 2)[1]
    log.write("config.change", {"what": "x"})
    log.second = None
    log.sign()
    log.notes[-1] += good + "\n"  # the second key's line over an earlier text
    assert log.verify().verdict is Verdict.TAMPERED


def test_an_auditor_demands_a_second_key_from_a_size_on() -> None:
    log = history(1)
    size = len(log.lines)
    log.second = SECOND
    log.happen()
    key = parse_vkey(SECOND.vkey)
    assert log.verify(seconds=[Second(vkey=key, from_size=size + 1)]).verdict is Verdict.VALID
    assert log.verify(seconds=[Second(vkey=key)]).verdict is Verdict.TAMPERED


# Time and names


def test_a_policy_file_names_a_root_and_seconds_strictly() -> None:
    text = f"# ours\nroot {ROOT.vkey}\nsecond {SECOND.vkey} 17\nquorum none\n"
    trusted = parse_policy(text)
    assert trusted.root == ROOT_KEY
    assert trusted.seconds == (Second(vkey=parse_vkey(SECOND.vkey), from_size=17),)
    for bad in (
        f"root {ROOT.vkey}\nroot {ROOT.vkey}\n",
        f"root {ROOT.vkey}\nlog {signer().vkey}\n",
        f"second {SECOND.vkey}\n",
        f"log {signer().vkey}\nsecond {SECOND.vkey} -1\n",
        f"log {signer().vkey}\nsecond\n",
        "root x\n",
    ):
        with pytest.raises(TrustError):
            parse_policy(bad)


def test_planned_epochs_follow_without_a_hole() -> None:
    for one, two in pairwise(list_of(8).epochs):
        assert one.not_before <= two.not_before <= one.not_after < two.not_after
    assert list_of().epochs[0].not_before == timestamp(BEGIN)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 4), max_size=5),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_whatever_note_of_an_epoch_is_taken_out_or_moved_the_log_is_not_made_longer(
    counts: list[int], drop: int, random: object
) -> None:
    """Any subset of the honest notes: never valid with more than the last one of them covers."""
    log = EpochLog.begun()
    for count in counts:
        log.happen(count)
        if log.ratchet.epoch < 4:
            log.rotate()
    for _ in range(min(drop, len(log.notes))):
        log.notes.pop(random.randrange(len(log.notes)))  # type: ignore[attr-defined]
    report = log.verify()
    if report.verdict is Verdict.VALID:
        last = int(log.notes[-1].split("\n")[1])
        assert report.signed_size == last == len(log.lines)
