"""What may become of a log whose keys change, by a seed: honest notaries, thieves, mangled lists.

A story is written entry by entry, some of its steps as no honest notary takes them; then its
files are changed like those of any log, and sometimes the list of epochs, signed by its own root.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from audit.counting import Second
from audit.epochs import EpochList, certify, open_list
from audit.errors import AuditRefusedError
from audit.note import parse_vkey, sign
from tests.audit.builders import ORIGIN, PER_SEGMENT, signer
from tests.audit.epoch_log import DAY, LONG, OTHER_ROOT, ROOT, SECOND, EpochLog, forged, list_of
from tests.audit.mutations import MUTATIONS, Files
from tests.audit.test_epochs import revoked_at

Step = Callable[[EpochLog, random.Random], None]
ANYBODY = "log.example/hub+3b6a2c1d+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def files_of_story(log: EpochLog, epochs: EpochList) -> Files:
    """The folder of a log, in segments, with this list of epochs beside it."""
    files: Files = {
        "log.vkey": f"{log.epochs.epochs[0].vkey}\n".encode(),
        "root.vkey": f"{ROOT.vkey}\n".encode(),
        "epochs.note": certify(epochs, ROOT).encode(),
    }
    for first in range(0, len(log.lines), PER_SEGMENT):
        part = log.lines[first : first + PER_SEGMENT]
        files[f"seg/{first:012}.jsonl"] = b"".join(b"%b\n" % line for line in part)
    for note in log.notes:
        size = max(1, int(note.split("\n")[1]))
        name = f"checkpoints/{(size - 1) // PER_SEGMENT * PER_SEGMENT:012}.notes"
        files[name] = files.get(name, b"") + f"{note}\n".encode()
        files["checkpoint"] = note.encode()
    return files


# Steps of a notary


def things_happen(log: EpochLog, chance: random.Random) -> None:
    log.now += chance.choice([0, 1, 2]) * DAY
    for _ in range(chance.randint(1, 4)):
        log.write("config.change", {"what": "test", "number": chance.randrange(9)})
        if chance.random() < 0.7:
            log.sign()
    log.sign()


def next_epoch(log: EpochLog, _: random.Random) -> None:
    if log.ratchet.epoch + 1 < len(log.epochs.epochs):
        log.rotate()


def list_in_force(log: EpochLog, chance: random.Random) -> None:
    sequence = log.epochs.sequence + chance.choice([0, 0, 0, -1, 1])
    digest = chance.choice([log.epochs.digest] * 3 + ["ab" * 32])
    log.write("key.epochs", {"sequence": sequence, "list_digest": digest})
    log.sign()


def stolen_and_replaced(log: EpochLog, chance: random.Random) -> None:
    if log.epochs.sequence > 1:
        return  # the one other secret is in use
    epoch = max(0, log.ratchet.epoch - chance.choice([0, 0, 1]))
    trusted = max(0, len(log.lines) + chance.choice([0, -1, -3, 2]))
    log.epochs, secret = revoked_at(epoch, trusted, log.epochs)
    if chance.random() < 0.8:
        log.take_over(secret)


HONEST: list[Step] = [things_happen, things_happen, next_epoch, next_epoch, list_in_force]


# Steps that no honest notary takes


def change_without_the_old_key(log: EpochLog, _: random.Random) -> None:
    new = log.ratchet.next()
    log.change(new)
    log.sign(new.signer())
    log.ratchet = new


def change_without_its_entry(log: EpochLog, _: random.Random) -> None:
    new = log.ratchet.next()
    log.write("config.change", {"what": "test"})
    log.sign(log.ratchet.signer(), new.signer())
    log.ratchet = new


def skip_an_epoch(log: EpochLog, _: random.Random) -> None:
    log.ratchet = log.ratchet.next()
    if log.ratchet.epoch + 1 < len(log.epochs.epochs):
        log.rotate()


def change_and_go_on_with_the_old_key(log: EpochLog, chance: random.Random) -> None:
    old = log.ratchet
    next_epoch(log, chance)
    log.write("config.change", {"what": "test"})
    log.sign(*chance.choice([[old.signer()], [old.signer(), log.ratchet.signer()]]))


def change_without_signature(log: EpochLog, _: random.Random) -> None:
    log.change(log.ratchet.next())


def change_to_a_stranger(log: EpochLog, _: random.Random) -> None:
    log.write("key.rotate", {"old_vkey": "?", "new_vkey": ANYBODY, "epoch": 1, "old_epoch": 0})
    log.sign()


def too_late(log: EpochLog, chance: random.Random) -> None:
    log.now += chance.choice([1, 2, 3]) * LONG
    things_happen(log, chance)


def too_early(log: EpochLog, _: random.Random) -> None:
    now, new = log.now, log.ratchet.next().next()
    log.change(new)
    log.sign(log.ratchet.signer(), new.signer())
    log.ratchet, log.now = new, now


def another_signs(log: EpochLog, chance: random.Random) -> None:
    log.write("config.change", {"what": "test"})
    third = signer(5) if log.second else SECOND
    log.sign(*chance.choice([[signer(5)], [signer(5), log.ratchet.signer()], [third]]))


def the_second_is_silent(log: EpochLog, chance: random.Random) -> None:
    second, log.second = log.second, None
    things_happen(log, chance)
    log.second = second


def history_is_written_anew(log: EpochLog, chance: random.Random) -> None:
    other = forged(log, upto=chance.randrange(len(log.lines)))
    log.lines, log.tree, log.head = other.lines, other.tree, other.head
    log.sign()


ODD: list[Step] = [
    stolen_and_replaced,
    stolen_and_replaced,
    change_without_the_old_key,
    change_without_its_entry,
    skip_an_epoch,
    change_and_go_on_with_the_old_key,
    change_without_signature,
    change_to_a_stranger,
    too_late,
    too_early,
    another_signs,
    the_second_is_silent,
    history_is_written_anew,
]


def story(chance: random.Random) -> EpochLog:
    """A log of a few steps, one of them now and then odd."""
    second = SECOND if chance.random() < 0.3 else None
    log = EpochLog.begun(list_of(6, second=second), second=second)
    for _ in range(chance.randint(1, 6)):
        steps = ODD if chance.random() < 0.25 and log.ratchet.epoch < 3 else HONEST
        chance.choice(steps)(log, chance)
    return log


# The list of epochs, as its own root may sign it by mistake, or another root


def _set(field: str, *values: Any) -> Callable[[dict[str, Any], random.Random], None]:
    return lambda made, chance: made.update({field: chance.choice(values)})


def _epoch(field: str, *values: Any) -> Callable[[dict[str, Any], random.Random], None]:
    return lambda made, chance: chance.choice(made["epochs"]).update({field: chance.choice(values)})


def _times(made: dict[str, Any], chance: random.Random) -> None:
    one, other = chance.choice(made["epochs"]), chance.choice(made["epochs"])
    field = chance.choice(["not_before", "not_after"])
    one[field] = other[chance.choice(["not_before", "not_after"])]


LISTS: list[Callable[[dict[str, Any], random.Random], None]] = [
    _set("v", 2, 1.0, True, None),
    _set("log", "other.example/log", "", 7),
    _set("sequence", 0, 2**53, -1, 2, 1.5, True, "1"),
    _set("epochs", [], None, {}, [1]),
    _set("more", 1),
    _epoch("epoch", 0, 7, True, "1", None),
    _epoch("vkey", ANYBODY, "", None, SECOND.vkey, signer(9).vkey, signer(9).vkey + "\n"),
    _epoch("second", ANYBODY, "", 7, SECOND.vkey, signer(9).vkey, SECOND.vkey + "\n"),
    _epoch("not_before", "2026-01-01", "2026-13-01T00:00:00.000000Z", None, 1),
    _epoch("not_after", "2026-01-01T00:00:00.000000Z", "9", None),
    _epoch("revoked", None, {}, {"trusted_size": 3, "reason": "x"}, {"trusted_size": 0}),
    _epoch("revoked", {"trusted_size": -1, "reason": "x"}, {"trusted_size": 4, "reason": "\x7f"}),
    _epoch("revoked", {"trusted_size": 4, "reason": ""}, {"trusted_size": 9, "reason": "é" * 255}),
    _times,
    lambda made, chance: made["epochs"].pop(chance.randrange(len(made["epochs"]))),
    lambda made, chance: made["epochs"].append(dict(chance.choice(made["epochs"]))),
    lambda made, chance: chance.choice(made["epochs"]).pop(chance.choice(["second", "vkey"])),
    lambda made, _: made["epochs"].reverse(),
]


def mangle_list(files: Files, chance: random.Random) -> None:
    """Another list under the same root, another root, or another spelling."""
    text = files.get("epochs.note", b"").decode(errors="replace").split("\n\n")[0]
    try:
        made = msgspec.json.decode(text)
        chance.choice(LISTS)(made, chance)
    except (ValueError, AttributeError, IndexError, KeyError, TypeError):
        return  # of two mangles the second may find no list, or none of its entries
    line = msgspec.json.encode(made, order="sorted").decode()
    match chance.randrange(8):
        case 0:
            line = line.replace(",", ", ", 1)
        case 1:
            line = line.replace('"v":1', '"v":1,"v":1')
        case _:
            pass
    root = OTHER_ROOT if chance.random() < 0.1 else ROOT
    files["epochs.note"] = sign(f"{line}\n", root).encode()


def strip_signatures(files: Files, chance: random.Random) -> None:
    """A signature line less in one note, or in all that have several."""
    for name in [name for name in sorted(files) if name.startswith("checkpoint")]:
        lines = files[name].split(b"\n")
        marks = [at for at, line in enumerate(lines) if line.startswith("\u2014".encode())]
        if marks and chance.random() < 0.7:
            at = chance.choice(marks)
            follows = lines[at + 1 : at + 2] == [b""]
            if not (follows and lines[at - 1] == b""):
                del lines[at]
        files[name] = b"\n".join(lines)


def mutated_story(seed: int) -> tuple[Files, str | None, tuple[Second, ...]]:
    """Files, the note of an earlier audit or None, and second keys that the auditor demands."""
    chance = random.Random(seed)
    log = story(chance)
    if chance.random() < 0.25:
        del log.notes[-1]  # the machine stopped before it signed
    epochs = log.epochs if chance.random() < 0.9 else list_of(6)
    files = files_of_story(log, epochs)
    since = chance.choice([*log.notes, ""]) if chance.random() < 0.3 else None
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2])):
        if files:
            chance.choice([mangle_list, strip_signatures, *MUTATIONS])(files, chance)
    files.setdefault("epochs.note", b"")
    seconds = ()
    if chance.random() < 0.15:
        vkey = parse_vkey(chance.choice([SECOND, signer(33, name=f"{ORIGIN}/other")]).vkey)
        seconds = (Second(vkey=vkey, from_size=chance.choice([0, 5, 100])),)
    return files, since, seconds


def opens(note: bytes) -> bool:
    """Whether it is a list that the root signed."""
    try:
        open_list(note.decode(), parse_vkey(ROOT.vkey))
    except (AuditRefusedError, UnicodeDecodeError):
        return False
    return True
