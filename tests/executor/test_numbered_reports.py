"""Reports with a number, a place in a chain and the node's signature, over restarts and crashes."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import JournalError
from agent.execution_journal import ExecutionJournal, Line
from agent.journal_file import KEEP_AT_LEAST, shorten
from agent.keys import load_or_make
from agent.moment import Moment
from appliance import report_chain
from appliance.errors import RefusedError
from appliance.ids import uuid7
from appliance.records import Event, Outcome, Report, StepResult
from appliance.wire import sentinel_pb2 as pb
from appliance.wire.convert import from_wire, to_wire
from tests.attacks.forge import changed

KEY = Ed25519PrivateKey.generate()
START = datetime(2026, 3, 1, tzinfo=UTC)


def moment(seconds: float = 0) -> Moment:
    return Moment(at=START + timedelta(seconds=seconds), boot="b", up_s=100 + seconds)


def report(**changes: object) -> Report:
    values: dict = {
        "report_id": uuid7(),
        "order_id": uuid7(),
        "outcome": Outcome.SUCCEEDED,
        "finished_at": START,
        "reason": "ünïcode, and \\x7f as it is shown",
        "steps": (
            StepResult(
                index=0,
                argv=(("kill", "-TERM", "4711"), ("true",)),
                exit_status=None,
                started_at=START + timedelta(microseconds=123457),
                duration_s=0.1234567,
                output="line\n\ttab",
                output_bytes=10,
                output_sha256="0" * 64,
            ),
        ),
    }
    return Report(**{**values, **changes})


def opened(path: Path, key: Ed25519PrivateKey | None = KEY) -> ExecutionJournal:
    return ExecutionJournal(path / "journal.jsonl", key=key)


def test_numbers_are_dense_and_each_report_names_the_one_before_it(tmp_path: Path) -> None:
    book, told = opened(tmp_path), []
    for restart in (False, False, True, False):
        if restart:
            book.close()
            book = opened(tmp_path)
        told.append(book.end(report(), now=moment()))
    assert [one.number for one in told] == [1, 2, 3, 4]
    assert [one.previous for one in told] == ["", *map(report_chain.digest, told[:-1])]
    assert all(report_chain.is_signed_by(one, KEY.public_key()) for one in told)


def test_a_number_goes_on_after_half_a_line_was_lost(tmp_path: Path) -> None:
    book = opened(tmp_path)
    first = book.end(report(), now=moment())
    size = (tmp_path / "journal.jsonl").stat().st_size
    book.end(report(), now=moment())
    book.close()
    with (tmp_path / "journal.jsonl").open("r+b") as file:
        file.truncate(size + 40)  # the second was never told: its number is free
    again = opened(tmp_path)
    second = again.end(report(), now=moment())
    assert (second.number, second.previous) == (2, report_chain.digest(first))


def test_a_signature_survives_the_wire(tmp_path: Path) -> None:
    signed = opened(tmp_path).end(report(undo_of=uuid7(), log_size=17), now=moment())
    sent = to_wire(Event(event_id=uuid7(), body=signed), pb.Event())
    arrived = from_wire(pb.Event.FromString(sent.SerializeToString()), Event).body
    assert arrived == signed
    assert report_chain.is_signed_by(arrived, KEY.public_key())


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": Outcome.FAILED},
        {"number": 7},
        {"previous": "0" * 64},
        {"order_id": "other"},
        {"undo_of": "other"},
        {"log_size": 1},
        {"reason": ""},
        {"steps": ()},
        {"finished_at": START + timedelta(microseconds=1)},
        {"signature": ""},
        {"signature": "AAAA"},
        {"signature": "not base64!"},
    ],
)
def test_a_report_with_anything_changed_is_not_signed(tmp_path: Path, change: dict) -> None:
    signed = opened(tmp_path).end(report(), now=moment())
    assert not report_chain.is_signed_by(changed(signed, **change), KEY.public_key())
    other = Ed25519PrivateKey.generate().public_key()
    assert not report_chain.is_signed_by(signed, other)


def test_a_signature_has_one_spelling(tmp_path: Path) -> None:
    signed = opened(tmp_path).end(report(), now=moment())
    text = signed.signature
    assert text.endswith("==")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = letters[letters.index(text[-3]) ^ 1]  # the unused bits of base64
    for spelled in (f"{text[:-3]}{other}==", text + "\n", " " + text):
        assert not report_chain.is_signed_by(changed(signed, signature=spelled), KEY.public_key())


@pytest.mark.parametrize("text", ["", "AAAA", "A" * 44, "A" * 43 + "!", "é"])
def test_a_public_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        report_chain.read_key(text)


def test_a_new_key_begins_a_chain_of_its_own_and_old_reports_keep_theirs(tmp_path: Path) -> None:
    old = opened(tmp_path)
    told = old.end(report(), now=moment())
    old.close()
    new = opened(tmp_path, Ed25519PrivateKey.generate())
    assert new.untold() == [told]
    one = new.end(report(), now=moment())
    assert (one.number, one.previous) == (1, "")


def test_the_key_is_made_once_for_its_owner_only_and_a_damaged_one_is_not_replaced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "result.key"
    key = load_or_make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert report_chain.spelled(load_or_make(path).public_key()) == report_chain.spelled(
        key.public_key()
    )
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(JournalError, match=re.escape(str(path))):
        load_or_make(path)


# A journal that is made shorter ------------------------------------------------------------------


def lived(book: ExecutionJournal, number: int, *, at: Moment, until: datetime) -> str:
    """A whole order, from its claim to its confirmed report."""
    order_id = f"o{number}"
    book.append(
        Line(
            at=at.at,
            what="claimed",
            order_id=order_id,
            approval_ids=(f"a{number}",),
            shown_digest=f"d{number}",
            until=until,
        )
    )
    book.append(
        Line(at=at.at, what="started", order_id=order_id, index=0, acts=1, boot="b", up_s=at.up_s)
    )
    told = book.end(report(order_id=order_id), now=at)
    book.told(told.report_id, now=at.at)
    return order_id


def a_long_life(tmp_path: Path, count: int = KEEP_AT_LEAST + 50) -> list[str]:
    book = opened(tmp_path)
    made = [
        lived(book, number, at=moment(number), until=START + timedelta(seconds=number + 300))
        for number in range(count)
    ]
    book.close()
    return made


def test_a_shorter_journal_forgets_no_order_that_could_still_be_in_time(tmp_path: Path) -> None:
    made = a_long_life(tmp_path)
    path = tmp_path / "journal.jsonl"
    keep = timedelta(days=1)
    assert shorten(path, keep=keep, now=START + timedelta(minutes=5)) == 0  # nothing is old
    assert shorten(path, keep=keep, now=START + timedelta(days=2)) == 50
    book = opened(tmp_path)
    assert book.orders == set(made[50:])
    assert {"a50", "d50"} <= book.approvals
    assert book.forgot_until == START + timedelta(seconds=49 + 300)
    assert shorten(path, keep=keep, now=START + timedelta(days=2)) == 0


def test_a_shorter_journal_goes_on_with_the_next_number_and_the_same_chain(tmp_path: Path) -> None:
    a_long_life(tmp_path)
    last = opened(tmp_path)._last_digest
    shorten(tmp_path / "journal.jsonl", keep=timedelta(days=1), now=START + timedelta(days=2))
    told = opened(tmp_path).end(report(), now=moment())
    assert (told.number, told.previous) == (KEEP_AT_LEAST + 51, last)


def test_an_order_that_lasts_for_ever_is_never_forgotten(tmp_path: Path) -> None:
    book = opened(tmp_path)
    lived(book, 9999, at=moment(), until=datetime(9999, 1, 1, tzinfo=UTC))
    book.close()
    a_long_life(tmp_path)
    shorten(tmp_path / "journal.jsonl", keep=timedelta(days=1), now=START + timedelta(days=900))
    again = opened(tmp_path)
    assert "o9999" in again.orders
    assert again.forgot_until is not None
    assert again.forgot_until < START + timedelta(days=1)  # honest plans of today still pass


def test_what_is_open_or_was_not_told_is_never_forgotten(tmp_path: Path) -> None:
    book = opened(tmp_path)
    until = START + timedelta(seconds=300)
    book.append(Line(at=START, what="claimed", order_id="open", until=until))
    book.append(Line(at=START, what="claimed", order_id="untold", until=until))
    untold = book.end(report(order_id="untold"), now=moment())
    undone = lived(book, 77777, at=moment(), until=until)
    book.append(Line(at=START, what="undoing", order_id=undone))
    book.close()
    a_long_life(tmp_path)
    shorten(tmp_path / "journal.jsonl", keep=timedelta(days=1), now=START + timedelta(days=900))
    again = opened(tmp_path)
    assert {"open", "untold", undone} <= again.orders
    assert untold in again.untold()
    assert len(again.recover(now=moment())) == 2


def test_a_crash_while_the_journal_is_made_shorter_leaves_one_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = a_long_life(tmp_path)
    path = tmp_path / "journal.jsonl"
    before = path.read_bytes()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        shorten(path, keep=timedelta(days=1), now=START + timedelta(days=2))
    assert path.read_bytes() == before
    assert opened(tmp_path).orders == set(made)
