"""What somebody does to a log, and what the verifier says."""

import random
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import NoteError
from audit.report import Report, Status, Verdict, as_text
from tests.audit.builders import (
    EPOCH,
    INCIDENT,
    PER_SEGMENT,
    Log,
    chain_of,
    draft,
    make_log,
    note_of,
    relink,
    rewrite,
    signer,
    verify_files,
)

SIZE = 30  # 4 segments: 8, 8, 8, 6
EVERY = 5  # a checkpoint
LOG = make_log(SIZE, every=EVERY)


def statuses(report: Report) -> dict[int, str]:
    return {segment.first_seq: str(segment.status) for segment in report.segments}


def tampered(report: Report, first_bad: int) -> Report:
    assert report.verdict is Verdict.TAMPERED, as_text(report)
    assert report.exit_status == 1
    assert report.first_bad == first_bad, as_text(report)
    return report


def edited(log: Log, seq: int) -> Log:
    lines = log.lines.copy()
    lines[seq] = rewrite(lines[seq], outcome="nothing to see here")
    return log.with_lines(lines)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 16, 17, 64])
def test_an_untouched_log_is_valid(size: int) -> None:
    log = make_log(size)
    report = log.verify()
    assert (report.verdict, report.size, report.signed_size) == (Verdict.VALID, size, size)
    assert report.checkpoints == len(log.notes)
    assert set(statuses(report).values()) == {"VALID"}
    assert not report.warnings
    assert f"{size} entries, all there and as signed" in as_text(report)


@settings(max_examples=250)
@given(st.integers(0, 2**32), st.integers(1, 255))
def test_any_edited_byte_is_found_at_its_entry(place: int, mask: int) -> None:
    data = bytearray(b"".join(b"%b\n" % line for line in LOG.lines))
    place %= len(data)
    seq = data[:place].count(b"\n")
    data[place] ^= mask
    lines = bytes(data).split(b"\n")
    whole = [b"%b\n" % line for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    files = [
        (f"{first:012}", whole[first : first + PER_SEGMENT])
        for first in range(0, SIZE, PER_SEGMENT)
    ]
    report = verify_files(files, LOG.notes)
    assert report.verdict is Verdict.TAMPERED
    assert report.first_bad is not None
    # Never after the edit. Where only a root can tell (the last entry, or two lines made one),
    # from the checkpoint before on.
    assert seq - seq % EVERY <= report.first_bad <= seq or report.first_bad == seq - 1


@pytest.mark.parametrize("seq", range(SIZE - 1))
def test_an_edited_entry_is_named_and_the_others_stay_proven(seq: int) -> None:
    report = tampered(edited(LOG, seq).verify(), seq)
    assert f"entry {seq} is not the one that was signed" in report.sentence
    assert "what else is among the first 30 entries is as signed" in report.sentence
    expected = dict.fromkeys(range(0, SIZE, PER_SEGMENT), "VALID")
    assert statuses(report) == expected | {seq - seq % PER_SEGMENT: "INVALID"}


def test_an_edited_last_entry_is_found_by_the_root() -> None:
    report = tampered(edited(LOG, SIZE - 1).verify(), 25)
    assert "entries 25 to 29 do not lead to the signed root" in report.sentence


def test_two_edited_entries_in_a_row_are_both_named() -> None:
    report = tampered(edited(edited(LOG, 12), 13).verify(), 12)
    assert {problem.seq for problem in report.problems} == {12, 13}


def test_an_edited_link_is_named_as_the_altered_entry_it_is() -> None:
    lines = LOG.lines.copy()
    lines[12] = rewrite(lines[12], prev="ab" * 32)
    report = tampered(LOG.with_lines(lines).verify(), 12)
    assert all(problem.seq == 12 for problem in report.problems)


@pytest.mark.parametrize("seq", range(SIZE))
def test_a_deleted_entry_is_a_gap(seq: int) -> None:
    files = LOG.files()
    name, lines = files[seq // PER_SEGMENT]
    del lines[seq % PER_SEGMENT]
    report = tampered(verify_files(files, LOG.notes), seq)
    assert report.sentence.startswith(f"entry {seq} is missing")
    assert statuses(report)[int(name)] == "GAP"
    if seq < SIZE - 1:  # the entry after it tells its hash, so all others stay proven
        assert "what else" in report.sentence
        assert list(statuses(report).values()).count("VALID") == 3


def test_several_deleted_entries_leave_what_follows_unproven() -> None:
    files = LOG.files()
    del files[1][1][2:5]  # entries 10, 11, 12
    report = tampered(verify_files(files, LOG.notes), 10)
    assert report.sentence == "entries 10 to 12 are missing"
    assert statuses(report) == {0: "VALID", 8: "GAP", 16: "UNPROVEN", 24: "UNPROVEN"}


def test_an_inserted_entry_is_found() -> None:
    files = LOG.files()
    forged = rewrite(LOG.lines[12], outcome="invented")
    files[1][1].insert(4, forged + b"\n")
    report = tampered(verify_files(files, LOG.notes), 12)
    assert statuses(report) == {0: "VALID", 8: "INVALID", 16: "VALID", 24: "VALID"}


def test_an_inserted_line_that_is_no_entry_is_found() -> None:
    files = LOG.files()
    files[1][1].insert(4, b"# a remark\n")
    tampered(verify_files(files, LOG.notes), 12)


def test_a_line_written_twice_is_found() -> None:
    files = LOG.files()
    files[1][1].insert(4, files[1][1][3])
    report = tampered(verify_files(files, LOG.notes), 11)
    assert "stands where entry 12 belongs" in report.sentence


@pytest.mark.parametrize("seq", [0, 6, 7, 12, 28])
def test_two_swapped_entries_are_found(seq: int) -> None:
    lines = LOG.lines.copy()
    lines[seq], lines[seq + 1] = lines[seq + 1], lines[seq]
    tampered(LOG.with_lines(lines).verify(), seq)


@pytest.mark.parametrize("kept", range(SIZE))
def test_a_cut_tail_is_found_because_the_checkpoint_knows_the_size(kept: int) -> None:
    report = LOG.with_lines(LOG.lines[:kept]).verify()
    tampered(report, kept)
    assert "missing" in report.sentence
    missing = {s for s, status in statuses(report).items() if status in {"MISSING", "GAP"}}
    first = kept - kept % PER_SEGMENT
    assert missing == set(range(first, SIZE, PER_SEGMENT))


def test_a_missing_segment_is_named_and_what_follows_is_unproven() -> None:
    log = make_log(SIZE, every=PER_SEGMENT)
    report = tampered(replace(log, without=frozenset({8})).verify(), 8)
    assert statuses(report) == {0: "VALID", 8: "MISSING", 16: "UNPROVEN", 24: "UNPROVEN"}
    assert report.sentence == "the segment with entry 8 is missing"


def test_entries_whose_checkpoint_lies_in_a_missing_segment_are_not_called_valid() -> None:
    report = replace(LOG, without=frozenset({8})).verify()
    assert statuses(report)[0] == "UNPROVEN"
    assert "from entry 5 on linked" in (report.segments[0].sentence or "")


def test_a_segment_under_another_name_is_found() -> None:
    files = LOG.files()
    files[1], files[2] = (files[1][0], files[2][1]), (files[2][0], files[1][1])
    assert verify_files(files, LOG.notes).verdict is Verdict.TAMPERED


def test_deleting_and_linking_anew_is_found_by_the_signed_root() -> None:
    lines = LOG.lines[:12] + LOG.lines[13:]
    report = LOG.with_lines(relink(lines)).verify()
    tampered(report, 10)
    assert "entries 10 to 14 do not lead to the signed root" in report.sentence
    assert statuses(report)[8] == "INVALID"


def test_editing_and_linking_anew_is_found_by_the_signed_root() -> None:
    lines = relink(edited(LOG, 12).lines)
    assert statuses(tampered(LOG.with_lines(lines).verify(), 10)) == {
        0: "VALID",
        8: "INVALID",
        16: "UNPROVEN",
        24: "UNPROVEN",
    }


def test_a_log_signed_anew_by_another_key_is_found() -> None:
    lines = relink(edited(LOG, 12).lines)
    notes = [note_of(lines[:at], key=signer(2)) for at in (10, 20, 30)]
    report = Log(lines=lines, notes=notes).verify(seed=1)
    assert report.verdict is Verdict.TAMPERED
    assert "none of the keys we trust" in report.sentence
    assert report.signed_size == 0


def test_one_foreign_checkpoint_among_the_kept_ones_is_found() -> None:
    notes = LOG.notes.copy()
    notes[2] = note_of(LOG.lines[:15], key=signer(2))
    report = replace(LOG, notes=notes).verify()
    assert report.verdict is Verdict.TAMPERED
    assert "checkpoint 3" in report.sentence


def test_two_checkpoints_of_one_size_with_two_roots_are_found() -> None:
    other = note_of(relink(edited(LOG, 12).lines)[:20])
    notes = sorted([*LOG.notes, other], key=lambda note: int(note.split("\n")[1]))
    report = replace(LOG, notes=notes).verify()
    assert any("different roots" in problem.sentence for problem in report.problems)


def test_kept_checkpoints_out_of_order_are_found() -> None:
    report = replace(LOG, notes=[LOG.notes[1], LOG.notes[0], *LOG.notes[2:]]).verify()
    assert report.verdict is Verdict.TAMPERED


def test_a_log_cut_and_signed_by_the_stolen_key_is_found_by_the_last_audits_checkpoint() -> None:
    kept = LOG.notes[-1]
    shorter = make_log(20)
    assert shorter.verify().verdict is Verdict.VALID  # alone, nothing can be seen
    report = shorter.verify(since=kept)
    tampered(report, 20)
    assert report.signed_size == 30


def test_a_history_rewritten_with_the_stolen_key_is_found_by_the_last_audits_checkpoint() -> None:
    lines = relink(edited(LOG, 12).lines)
    rewritten = Log(lines=lines, notes=[note_of(lines[:at]) for at in (10, 20, 30)])
    assert rewritten.verify().verdict is Verdict.VALID
    report = rewritten.verify(since=LOG.notes[3])
    assert report.verdict is Verdict.TAMPERED
    assert "last audit" in report.sentence or "different roots" in report.sentence


def test_a_log_continued_since_the_last_audit_is_valid() -> None:
    for note in LOG.notes:
        assert LOG.verify(since=note).verdict is Verdict.VALID


def test_a_checkpoint_of_the_last_audit_that_is_none_is_the_callers_mistake() -> None:
    with pytest.raises(NoteError):
        LOG.verify(since="yesterday")


def test_a_tail_that_nobody_signed_yet_is_incomplete_not_tampered() -> None:
    report = replace(LOG, notes=LOG.notes[:-1]).verify()
    assert (report.verdict, report.exit_status) == (Verdict.INCOMPLETE, 2)
    assert report.sentence == ("the last 5 entries are not signed yet; the 25 before are as signed")


def test_a_log_without_any_checkpoint_is_unknown() -> None:
    report = replace(LOG, notes=[]).verify()
    assert (report.verdict, report.exit_status) == (Verdict.INCOMPLETE, 2)
    assert "nothing here is signed" in report.sentence


def test_an_empty_folder_is_no_valid_log() -> None:
    report = Log(lines=[], notes=[]).verify()
    assert (report.verdict, report.sentence) == (Verdict.INCOMPLETE, "there is no log here")


def test_an_edit_in_the_unsigned_tail_is_still_found_by_the_links() -> None:
    tampered(edited(replace(LOG, notes=LOG.notes[:-1]), 27).verify(), 27)


def test_a_last_line_without_its_end_is_found() -> None:
    files = LOG.files()
    files[-1][1][-1] = files[-1][1][-1].rstrip(b"\n")
    assert "the line has no end" in tampered(verify_files(files, LOG.notes), 29).sentence


def test_entries_of_another_log_are_found() -> None:
    lines = LOG.lines.copy()
    lines[12] = rewrite(lines[12], log="other.example")
    report = tampered(LOG.with_lines(lines).verify(), 12)
    assert "it is of the log other.example" in report.sentence


def incident_log(numbers: list[int]) -> Log:
    """A log that the writer itself numbered wrongly."""
    plain = chain_of([draft(n, incident=INCIDENT if n else None) for n in range(len(numbers) + 1)])
    lines = [plain[0]] + [
        rewrite(line, inc_seq=number) for line, number in zip(plain[1:], numbers, strict=True)
    ]
    lines = relink(lines)
    return Log(lines=lines, notes=[note_of(lines)])


def test_an_incident_is_numbered_without_holes() -> None:
    assert incident_log([0, 1, 2]).verify().verdict is Verdict.VALID
    report = tampered(incident_log([0, 2, 3]).verify(), 2)
    assert report.sentence.startswith("entry 2 is number 2 of its incident, expected 1")


def test_an_incident_closed_with_another_count_is_a_warning() -> None:
    drafts = [
        draft(0),
        draft(1, incident=INCIDENT),
        draft(2, incident=INCIDENT, type="incident.close", body={"entries": 3, "state": "closed"}),
    ]
    report = make_log(drafts=drafts).verify()
    assert report.verdict is Verdict.VALID
    assert report.warnings == ("entry 2 closes its incident with 3 entries, the log has 2",)


@pytest.mark.parametrize(("back", "warned"), [(59, False), (61, True)])
def test_time_that_runs_back_more_than_a_minute_is_a_warning(back: int, warned: bool) -> None:  # noqa: FBT001
    drafts = [draft(0), draft(1, at=EPOCH), draft(2, at=EPOCH - timedelta(seconds=back))]
    report = make_log(drafts=drafts).verify()
    assert report.verdict is Verdict.VALID
    assert bool(report.warnings) is warned


def test_a_type_of_a_newer_version_is_a_warning() -> None:
    report = make_log(drafts=[draft(0), draft(1, type="moon.landing")]).verify()
    assert report.verdict is Verdict.VALID
    assert "unknown here: moon.landing" in report.warnings[0]


def test_a_log_full_of_damage_gives_a_short_report() -> None:
    report = LOG.with_lines([b"nonsense"] * 500).verify()
    assert report.verdict is Verdict.TAMPERED
    assert len(report.problems) <= 20
    assert report.problem_count >= 500
    assert "more problems" in as_text(report)


def test_a_name_from_far_away_does_not_exhaust_the_verifier() -> None:
    files = [*LOG.files(), ("999999999999", [b"x\n"])]
    report = verify_files(files, LOG.notes)
    assert report.verdict is Verdict.TAMPERED
    assert len(report.segments) < 50


def test_the_report_is_plain_json() -> None:
    report = LOG.verify()
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_random_damage_is_never_valid() -> None:
    """Lines dropped, doubled, moved, edited and re-linked at random."""
    chance = random.Random(7)
    for _ in range(300):
        lines = LOG.lines.copy()
        for _ in range(chance.randint(1, 4)):
            at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
            match chance.randrange(4):
                case 0:
                    del lines[at]
                case 1:
                    lines.insert(to, lines[at])
                case 2:
                    lines[at], lines[to] = lines[to], lines[at]
                case _ if lines[at].count(b"192.0.2."):
                    lines[at] = lines[at].replace(b"192.0.2.", b"198.51.")
        if lines == LOG.lines:
            continue
        report = LOG.with_lines(lines).verify()
        assert report.verdict is Verdict.TAMPERED, as_text(report)
        assert any(segment.status is not Status.VALID for segment in report.segments)


@pytest.mark.parametrize("cut", [1, 100, -1])
def test_a_last_line_cut_by_a_crash_is_incomplete_not_tampered(cut: int) -> None:
    log = replace(LOG, notes=LOG.notes[:-1])
    files = log.files()
    last = files[-1][1]
    last[1:] = [last[1][:cut]]  # entries 24, and a piece of 25; 25 are signed
    report = verify_files(files, log.notes)
    assert (report.verdict, report.exit_status) == (Verdict.INCOMPLETE, 2)
    assert "in the middle of a line; the 25 signed entries are as signed" in report.sentence


def test_a_line_without_its_end_before_others_is_tampering() -> None:
    files = LOG.files()
    files[1][1][-1] = files[1][1][-1].rstrip(b"\n")
    assert "has no end" in tampered(verify_files(files, LOG.notes), 15).sentence
