"""What somebody may do to the files of a log, by a seed: careful forgers and blind chance.

A `Files` is a folder in memory. Each mutation changes it in place; some use the log's own key, as
a thief would, so that not the signature but the form of an entry has to tell.
"""

import base64
import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.entry import EntryDraft, leaf_hash
from audit.note import sign
from audit.signer import LocalSigner
from tests.audit.builders import INCIDENT, ORIGIN, PER_SEGMENT, chain_of, draft, signer, uuid_of

Files = dict[str, bytes]
WORDS = (
    "e\u0301 \u20ac \U0001f600",
    'a "quote" \\ and /',
    "tab\tline\nnul\x00",
    "\u2028 \ufeff",
    "",
)


def drafts(size: int, chance: random.Random) -> list[EntryDraft]:
    """Entries with incidents, other scripts, control characters and nesting."""
    made = [draft(0)]
    for number in range(1, size):
        incident = chance.choice([None, None, INCIDENT, uuid_of(77)])
        body = {
            "text": chance.choice(WORDS),
            "number": chance.choice([0, -1, 2**53 - 1, 7]),
            "flags": [True, None, {"deep": {"er": [[[]]]}}],
        }
        made.append(draft(number, incident=incident, body=body))
        if chance.random() < 0.2:
            made[-1] = draft(number, type="exec.result", body=report_body(number, chance))
    return made


def report_body(number: int, chance: random.Random) -> dict[str, Any]:
    """A node's numbered report, sometimes with a hole, twice, or late."""
    said = chance.choice([1, 1, 2, 3, number, "3", True, 0])
    digest = chance.choice([None, "ab" * 32, "cd" * 32, 7])
    return {"number": said, "result_key": "key", "previous": digest, "report_digest": digest}


def note(lines: list[bytes], key: LocalSigner) -> bytes:
    """A note over whatever bytes these lines are."""
    tree = merkle.Range()
    for line in lines:
        tree.append(leaf_hash(line))
    return sign(Checkpoint(origin=ORIGIN, size=len(lines), root=tree.root()).text, key).encode()


def files_of(lines: list[bytes], every: int = 5, key: LocalSigner | None = None) -> Files:
    """The folder of these lines, with a checkpoint every so many."""
    key = key or signer()
    files: Files = {"log.vkey": signer().vkey.encode() + b"\n"}
    for first in range(0, max(1, len(lines)), PER_SEGMENT):
        part = lines[first : first + PER_SEGMENT]
        files[f"seg/{first:012}.jsonl"] = b"".join(b"%b\n" % line for line in part)
    for at in sorted({*range(every, len(lines), every), len(lines)}):
        name = f"checkpoints/{(at - 1) // PER_SEGMENT * PER_SEGMENT:012}.notes"
        files["checkpoint"] = note(lines[:at], key)
        files[name] = files.get(name, b"") + files["checkpoint"] + b"\n"
    return files


def write(files: Files, folder: Path) -> None:
    """The folder on disk."""
    for part in ("seg", "checkpoints"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def lines_of(files: Files) -> list[bytes]:
    """All lines without newlines."""
    names = sorted(name for name in files if name.startswith("seg/"))
    return b"".join(files[name] for name in names).split(b"\n")[:-1]


# Blind chance


def any_byte(files: Files, chance: random.Random) -> None:
    """One byte flipped, put in, or taken out, in any file."""
    name = chance.choice([name for name in sorted(files) if files[name]])
    data = bytearray(files[name])
    at = chance.randrange(len(data))
    match chance.randrange(4):
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            data[at] = chance.randrange(256)
        case 2:
            data.insert(at, chance.choice(b'\n\r "\\,{}[]0\x00\x7f\xff'))
        case _:
            del data[at]
    files[name] = bytes(data)


def cut(files: Files, chance: random.Random) -> None:
    """The end of a file is gone."""
    name = chance.choice(sorted(files))
    files[name] = files[name][: chance.randrange(len(files[name]) + 1)]


def lose(files: Files, chance: random.Random) -> None:
    """A file is gone."""
    del files[chance.choice(sorted(files))]


def swap_files(files: Files, chance: random.Random) -> None:
    """Two files have each other's names."""
    one, other = chance.sample(sorted(files), 2)
    files[one], files[other] = files[other], files[one]


def rename(files: Files, chance: random.Random) -> None:
    """A segment under another name."""
    names = [name for name in sorted(files) if name.startswith("seg/")]
    if names:
        data = files.pop(chance.choice(names))
        files[f"seg/{chance.choice([0, 1, 4, 8, 17, 40, 10**11]):012}.jsonl"] = data


def line_ends(files: Files, chance: random.Random) -> None:
    """CRLF, a byte order mark, or spaces, as an editor leaves them."""
    name = chance.choice(sorted(files))
    match chance.randrange(3):
        case 0:
            files[name] = files[name].replace(b"\n", b"\r\n")
        case 1:
            files[name] = b"\xef\xbb\xbf" + files[name]
        case _:
            files[name] = files[name].replace(b"\n", b" \n", 1)


def move_lines(files: Files, chance: random.Random) -> None:
    """Lines deleted, doubled, or swapped within a segment."""
    names = [name for name in sorted(files) if name.startswith("seg/")]
    if not names:
        return
    name = chance.choice(names)
    lines = files[name].splitlines(keepends=True) or [b"\n"]
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            del lines[one]
        case 1:
            lines.insert(other, lines[one])
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case _:
            lines.insert(one, chance.choice([b"{}\n", b"\n", b"null\n", b"[" * 5000 + b"\n"]))
    files[name] = b"".join(lines)


# Careful forgers

_SPELLINGS: list[tuple[bytes, bytes]] = [
    (rb'"v":1', b'"v":1.0'),
    (rb'"v":1', b'"v":true'),
    (rb'"v":1', b'"v":1,"v":1'),
    (rb'"v":1', b'"v":2'),
    (rb'"v":1', b'"v":01'),
    (rb'"number":-?\d+', b'"number":1.5'),
    (rb'"number":-?\d+', b'"number":1e3'),
    (rb'"number":-?\d+', b'"number":-0'),
    (rb'"number":-?\d+', b'"number":9007199254740992'),
    (rb'"number":-?\d+', b'"number":-9007199254740991'),
    (rb'"number":-?\d+', b'"number":99999999999999999999999999'),
    (rb'"number":-?\d+', b'"number":NaN'),
    (rb'"number":-?\d+', b'"number":1,"number":1'),
    (rb'"number":-?\d+', b'"_sd":7,"number":1'),
    (rb'"number":-?\d+', b'"Number":1'),
    (rb'"number":-?\d+', b'"_x":1'),
    (rb'"number":-?\d+', b'"number":Infinity'),
    (rb'"number":-?\d+', b'"number":1' + b"0" * 5000),
    (rb'"text":"[^"]*"', b'"text":"\\u0061"'),
    (rb'"text":"[^"]*"', b'"text":"\\/"'),
    (rb'"text":"[^"]*"', b'"text":"\\ud800"'),
    (rb'"text":"[^"]*"', b'"text":"\\ud83d\\ude00"'),
    (rb'"text":"[^"]*"', b'"text":"\xed\xa0\x80"'),
    (rb'"text":"[^"]*"', b'"text":"\xc0\x80"'),
    (rb'"text":"[^"]*"', b'"text":"\xff"'),
    (rb'"text":"[^"]*"', b'"text":"\x7f"'),
    (rb'"text":"[^"]*"', b'"text":"\\u007f"'),
    (rb'"text":"[^"]*"', b'"text":"\x01"'),
    (rb'"text":"[^"]*"', b'"text":"\\u001F"'),
    (rb'"text":"[^"]*"', b'"text":"\\u001f"'),
    (rb'"text":"[^"]*"', b'"text":"\\u0008"'),
    (rb'"text":"[^"]*"', b'"text":"\\b"'),
    (rb'"text":"[^"]*"', b'"text":"\xef\xbf\xbf\xf4\x8f\xbf\xbf"'),
    (rb'"text":"[^"]*"', b'"text":"' + b"x" * 59_000 + b'"'),
    (rb'"text":"[^"]*"', b'"text":"' + b"x" * 60_001 + b'"'),
    (rb'"flags":.*?\]\]\]\}\}\]', b'"flags":' + b"[" * 7 + b"]" * 7),
    (rb'"flags":.*?\]\]\]\}\}\]', b'"flags":' + b"[" * 8 + b"]" * 8),
    (rb'"flags":.*?\]\]\]\}\}\]', b'"flags":' + b"[" * 7 + b"0" + b"]" * 7),
    (rb'"flags":.*?\]\]\]\}\}\]', b'"flags":' + b"[" * 8 + b"0" + b"]" * 8),
    (rb'"flags":.*?\]\]\]\}\}\]', b'"flags":' + b"[" * 20_000 + b"]" * 20_000),
    (rb'"flags":.*?\]\]\]\}\}\]', b'"flags":' + b'{"a":' * 9000 + b"1" + b"}" * 9000),
    (rb'"id":"maria"', b'"id":""'),
    (rb'"id":"maria"', b'"id":null'),
    (rb'"id":"maria"', b'"id":7'),
    (rb'"id":"maria"', b'"id":"' + "\u20ac".encode() * 255 + b'"'),
    (rb'"id":"maria"', b'"id":"' + b"m" * 256 + b'"'),
    (rb'"id":"maria"', b'"id":"maria","ie":1'),
    (rb'"id":"maria",', b""),
    (rb'"node":null', b'"node":""'),
    (rb'"node":null', b'"node":0'),
    (rb'"node":null', b'"node":false'),
    (rb'"node":null', b'"node":"n"'),
    (rb'"session":null', b'"session":[]'),
    (rb'"outcome":null', b'"outcome":""'),
    (rb'"outcome":null', b'"outcome":false'),
    (rb'"outcome":null', b'"outcome":"' + b"o" * 255 + b'"'),
    (rb'"outcome":null', b'"outcome":"' + b"o" * 256 + b'"'),
    (rb'"outcome":null', b'"outcomf":null'),
    (rb'"outcome":null,', b""),
    (rb'"outcome":null', b'"outcome":null,"p":1'),
    (rb'"incident":null', b'"incident":"None"'),
    (rb'"incident":null', b'"incident":"00000000-0063-7000-8000-000000000063"'),
    (rb'"inc_seq":\d+', b'"inc_seq":null'),
    (rb'"inc_seq":\d+', b'"inc_seq":-1'),
    (rb'"inc_seq":\d+', b'"inc_seq":true'),
    (rb'"inc_seq":\d+', b'"inc_seq":5'),
    (rb'"inc_seq":\d+', b'"inc_seq":9007199254740992'),
    (rb'"seq":\d+', b'"seq":-1'),
    (rb'"seq":\d+', b'"seq":true'),
    (rb'"seq":\d+', b'"seq":"3"'),
    (rb'"seq":\d+', b'"seq":3'),
    (rb'"seq":\d+', b'"seq":9007199254740991'),
    (rb'"prev":"..', b'"prev":"AB'),
    (rb'"prev":"..', b'"prev":"ab'),
    (rb'"prev":"[0-9a-f]*"', b'"prev":null'),
    (rb'"ts":"2026', b'"ts":"0000'),
    (rb'"ts":"2026', b'"ts":"2025'),
    (rb'"ts":"2026', b'"ts":"2027'),
    (rb'"ts":"2026-03-01', b'"ts":"2026-02-30'),
    (rb'"ts":"2026-03-01T12', b'"ts":"2026-03-01T24'),
    (rb'"ts":"[^"]*"', b'"ts":"2026-03-01T12:00:60.000000Z"'),
    (rb'"ts":"[^"]*"', b'"ts":"2026-03-01T12:00:00.000000+00:00"'),
    (rb'"ts":"[^"]*"', b'"ts":5'),
    (rb'"type":"[a-z.]*"', b'"type":"moon.landing"'),
    (rb'"type":"[a-z.]*"', b'"type":"auth"'),
    (rb'"type":"[a-z.]*"', b'"type":"auth.login\\n"'),
    (rb'"log":"log.example/hub"', b'"log":"log.example/hub2"'),
    (rb'"log":"log.example/hub"', b'"log":".example"'),
    (rb'"id":"0000', b'"id":"000g'),
    (rb'"id":"(........)-(....)-7', rb'"id":"\1-\2-4'),
    (rb"^\{", b" {"),
    (rb"\}$", b"} "),
    (rb"\}$", b"}\r"),
    (rb"\}$", b"}}"),
    (rb"^\{", b"\xef\xbb\xbf{"),
    (rb",", b", "),
    (rb'"body":\{[^}]*\}', b'"body":[]'),
    (rb'"body":\{.*?\},"id"', b'"body":{},"id"'),
    (rb'"body":\{.*?\},"id"', b'"body":{"a":[],"b":{},"c":""},"id"'),
    (rb'"actor":\{.*?\}', b'"actor":null'),
]


def spell(files: Files, chance: random.Random) -> None:
    """A line spelled another way, everything after it linked and signed with the log's own key.

    Only the form can tell: the links and roots are those of the forged bytes.
    """
    lines = lines_of(files)
    if not lines:
        return
    at = chance.randrange(len(lines))
    pattern, by = chance.choice(_SPELLINGS)
    literal = by if rb"\1" in by else by.replace(b"\\", rb"\\")
    lines[at] = re.sub(pattern, literal, lines[at], count=1)
    relink(lines, at + 1)
    keep(files, lines)


def relink(lines: list[bytes], start: int) -> None:
    """Link anew by changing nothing but the hash."""
    for n in range(max(1, start), len(lines)):
        link = b'"prev":"%b"' % leaf_hash(lines[n - 1]).hex().encode()
        lines[n] = re.sub(rb'"prev":"[0-9a-f]{64}"', link, lines[n], count=1)


def keep(files: Files, lines: list[bytes], key: LocalSigner | None = None) -> None:
    """These lines instead, signed anew."""
    for name in list(files):
        if name.startswith(("seg/", "checkpoint")):
            del files[name]
    files.update(files_of(lines, key=key))


def rewrite_history(files: Files, chance: random.Random) -> None:
    """An entry edited or taken out and all after it linked anew; with a key or without."""
    lines = lines_of(files)
    if not lines:
        return
    at = chance.randrange(len(lines))
    if chance.random() < 0.5:
        lines[at] = lines[at].replace(b"maria", b"mario")
    else:
        del lines[at]
        for n in range(at, len(lines)):
            lines[n] = re.sub(rb'"seq":\d+', b'"seq":%d' % n, lines[n])
    relink(lines, at)
    match chance.randrange(3):
        case 0:  # the checkpoints are as they were
            for name in [name for name in files if name.startswith("seg/")]:
                del files[name]
            files.update({k: v for k, v in files_of(lines).items() if k.startswith("seg/")})
        case 1:
            keep(files, lines, key=signer(2))
        case _:
            keep(files, lines)


def edit_entry(files: Files, chance: random.Random) -> None:
    """One entry or two in canonical form, but not as signed."""
    for _ in range(chance.randint(1, 2)):
        names = [name for name in sorted(files) if name.startswith("seg/")]
        if names:
            name = chance.choice(names)
            lines = files[name].splitlines(keepends=True) or [b""]
            at = chance.randrange(len(lines))
            lines[at] = lines[at].replace(*chance.choice([(b"maria", b"mario"), (b":0", b":1")]), 1)
            files[name] = b"".join(lines)


# Notes


def _signature(note: str, chance: random.Random) -> str:
    """The signature with S + L, R zero, too short, too long, or a byte changed."""
    head, _, encoded = note.rstrip("\n").rpartition(" ")
    try:
        blob = bytearray(base64.b64decode(encoded))
    except ValueError:
        return note
    order = 2**252 + 27742317777372353535851937790883648493
    match chance.randrange(6):
        case 0:
            s = int.from_bytes(blob[36:68], "little") + order
            blob[36:68] = (s % 2**256).to_bytes(32, "little")
        case 1:
            blob[4:36] = bytes(32)
        case 2:
            blob = blob[:-1]
        case 3:
            blob += b"\0"
        case 4:
            blob[4:] = bytes([1]) + bytes(63)
        case _ if blob:
            blob[chance.randrange(len(blob))] ^= 1 << chance.randrange(8)
        case _:
            pass
    return f"{head} {base64.b64encode(bytes(blob)).decode()}\n"


_NOTES: list[Callable[[str, random.Random], str]] = [
    lambda note, _: note.rstrip("\n"),
    lambda note, _: note + "\n",
    lambda note, _: "\n" + note,
    lambda note, _: note.replace("\n", "\r\n"),
    lambda note, _: note.replace("\n\n", "\n"),
    lambda note, _: note.replace("\n\n", "\nextension\n\n"),
    lambda note, _: note.replace("\n\n", "\n\n\n"),
    lambda note, _: note.replace("\u2014", "-"),
    lambda note, _: note.replace("=\n\n", "\n\n"),
    lambda note, _: note.replace(ORIGIN, "other.example", 1),
    lambda note, _: note.replace(f"\u2014 {ORIGIN}", "\u2014 other.example"),
    lambda note, _: re.sub(r"\n(\d+)\n", r"\n0\1\n", note),
    lambda note, _: re.sub(r"\n(\d+)\n", r"\n+\1\n", note),
    lambda note, _: re.sub(r"\n(\d+)\n", "\n99999999999999999999\n", note),
    lambda note, _: re.sub(r"\n(\d+)\n", "\n\u0661\n", note),
    lambda note, _: re.sub(r"\n(\d+)\n", "\n0\n", note),
    lambda note, _: note + "\u2014 witness.example " + base64.b64encode(b"w" * 76).decode() + "\n",
    lambda note, _: note + "\u2014 witness.example AAAA\n",
    lambda note, _: note + "\u2014 wit+ness " + base64.b64encode(b"w" * 76).decode() + "\n",
    lambda note, _: note + note.split("\n\n")[-1],
    lambda note, _: note + (note.split("\n\n")[-1]) * 100,
    lambda note, _: note.replace("\n\n", "\n\n\u2014 " + "x AAAAAAAA\n"),
    _signature,
    lambda note, chance: note[: chance.randrange(len(note))],
    lambda note, _: "",
    lambda note, _: note + "\x00",
    lambda note, _: "x" * 1_100_000 + note,
]


def mangle_note(files: Files, chance: random.Random) -> None:
    """The published note, or one of the kept ones."""
    names = [name for name in sorted(files) if name.startswith("checkpoint")]
    if not names:
        return
    name = chance.choice(names)
    mangle = chance.choice(_NOTES)
    if name == "checkpoint":
        files[name] = mangle(files[name].decode(errors="replace"), chance).encode()
        return
    notes = re.findall(rb".*?\n\n.*?\n\n", files[name], re.DOTALL) or [b"\n\n"]
    at = chance.randrange(len(notes))
    notes[at] = mangle(notes[at][:-1].decode(errors="replace"), chance).encode() + b"\n"
    files[name] = b"".join(notes)


def swap_notes(files: Files, chance: random.Random) -> None:
    """Kept notes in another order, twice, without one, or one as the published one."""
    names = [name for name in sorted(files) if name.startswith("checkpoints/")]
    if not names:
        return
    name = chance.choice(names)
    notes = re.findall(rb".*?\n\n.*?\n\n", files[name], re.DOTALL) or [b"\n\n"]
    match chance.randrange(4):
        case 0:
            notes.reverse()
        case 1:
            notes.append(notes[0])
        case 2:
            notes.pop()
        case _:
            files["checkpoint"] = notes[0][:-1]
    files[name] = b"".join(notes)


def unsigned_tail(files: Files, chance: random.Random) -> None:
    """The last checkpoints are gone: what they signed is signed by nobody now."""
    files.pop("checkpoint", None)
    for name in sorted((n for n in files if n.startswith("checkpoints/")), reverse=True)[:1]:
        notes = re.findall(rb".*?\n\n.*?\n\n", files[name], re.DOTALL)
        files[name] = b"".join(notes[: chance.randrange(len(notes) + 1)])


MUTATIONS: list[Callable[[Files, random.Random], None]] = [
    any_byte,
    any_byte,
    cut,
    lose,
    swap_files,
    rename,
    line_ends,
    move_lines,
    move_lines,
    spell,
    spell,
    spell,
    rewrite_history,
    edit_entry,
    edit_entry,
    mangle_note,
    mangle_note,
    swap_notes,
    unsigned_tail,
]


def mutated(seed: int) -> tuple[Files, str | None]:
    """A log after one to three mutations, and the note of an earlier audit, or None."""
    chance = random.Random(seed)
    size = chance.choice([1, 2, 7, 8, 9, 20, 30])
    lines = chain_of(drafts(size, chance))
    files = files_of(lines, every=chance.choice([1, 3, 5, 8]))
    since = None
    if chance.random() < 0.2:
        since = note(lines[: chance.randint(1, size)], signer(chance.choice([1, 1, 1, 2]))).decode()
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        if files:
            chance.choice(MUTATIONS)(files, chance)
    return files, since


# Exports

COMPANIONS = ("README.md", "audit_verify.py", "report.html", "blobs/00", "stranger.txt")


def of_export(files: Files, chance: random.Random) -> None:  # noqa: C901 - one case a trick
    """What can be done to an export beside to its entries; sometimes the manifest is made anew."""
    match chance.randrange(7):
        case 0:
            files[chance.choice(COMPANIONS)] = b"anything"
        case 1:
            files["export.json"] = files.get("export.json", b"").replace(
                *chance.choice(
                    [
                        (b'"first":', b'"first":1'),
                        (b"range", b"whole"),
                        (b"whole", b"range"),
                        (b"incident", b"range"),
                        (b"sentinel-export/v1", b"sentinel-export/v2"),
                        (b'"kind"', b'"kind" '),
                        (b'"first":', b'"first":-'),
                        (b"}\n", b"}"),
                    ]
                )
            )
        case 2:
            proofs = [name for name in sorted(files) if name.startswith("proofs/")]
            if proofs:
                name = chance.choice(proofs)
                mangle_proof(files, name, chance)
        case 3:
            mangle_manifest(files, chance)
        case 4:
            files.pop("MANIFEST.note", None)
        case 5:
            name = "entries.jsonl"
            lines = files.get(name, b"").splitlines(keepends=True)
            if lines:
                at = chance.randrange(len(lines))
                match chance.randrange(3):
                    case 0:
                        del lines[at]
                    case 1:
                        lines.insert(at, lines[0])
                    case _:
                        lines[at] = lines[at].replace(b"maria", b"mario")
                files[name] = b"".join(lines)
        case _:
            any_byte(files, chance)


def mangle_proof(files: Files, name: str, chance: random.Random) -> None:
    """A proof with a hash less, twice or changed, of another entry, or under another checkpoint."""
    lines = files[name].split(b"\n")
    at = chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines[at] = lines[at][::-1]
        case _:
            lines[1] = b"index 0"
    files[name] = b"\n".join(lines)


def mangle_manifest(files: Files, chance: random.Random) -> None:
    """A line less, or a name that leads out of the folder."""
    lines = files.get("MANIFEST.sha256", b"").splitlines(keepends=True) or [b"\n"]
    at = chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines[at] = lines[at][:66] + b"../../etc/passwd\n"
        case 2:
            lines[at] = lines[at][:66] + b"/etc/passwd\n"
        case _:
            lines[at] = lines[at].replace(b"  ", b" *")
    files["MANIFEST.sha256"] = b"".join(lines)


def list_anew(files: Files) -> None:
    """A manifest that fits, as a forger makes it."""
    names = sorted(name for name in files if not name.startswith("MANIFEST"))
    rows = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in names]
    files["MANIFEST.sha256"] = "".join(rows).encode()


def mutated_export(seed: int, exports: list[Files]) -> Files:
    """One of these exports after one or two mutations."""
    chance = random.Random(seed)
    files = dict(chance.choice(exports))
    for _ in range(chance.choice([0, 1, 1, 2])):
        chance.choice([of_export, of_export, *MUTATIONS])(files, chance)
    if chance.random() < 0.5:
        list_anew(files)
    return files
