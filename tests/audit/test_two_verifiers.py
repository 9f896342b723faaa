"""The installed verifier and the single file say the same, over thousands of damaged logs.

A sample here; `make prove` walks SENTINEL_MUTATIONS of them. Every case is a seed, so a difference
that was found once can be looked at again.
"""

import ast
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit import single
from audit.__main__ import main
from audit.bundle import write_manifest
from audit.cosignature import WitnessKey, cosign
from audit.entry import TYPES, EntryDraft
from audit.epoch_notes import Demands
from audit.export import Wanted, take_out
from audit.note import parse_vkey
from tests.audit import two_verifiers
from tests.audit.builders import (
    INCIDENT,
    chain_of,
    draft,
    note_of,
    relink,
    rewrite,
    signer,
    uuid_of,
)
from tests.audit.mutations import Files, files_of, mutated, mutated_export
from tests.audit.two_verifiers import Asked, fresh, plain

MUTATIONS = int(os.environ.get("SENTINEL_MUTATIONS", "600"))
BATCHES = 4
VKEY = signer().vkey


def installed(path: Path, since: str | None) -> dict[str, Any]:
    return two_verifiers.installed(path, Asked(vkey=VKEY, since=since))


def alone(path: Path, since: str | None) -> dict[str, Any]:
    return two_verifiers.alone(path, Asked(vkey=VKEY, since=since))


def same(path: Path, since: str | None, case: object, export_vkey: str | None = None) -> str:
    return two_verifiers.same(path, Asked(vkey=VKEY, since=since, export_vkey=export_vkey), case)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_both_verifiers_say_the_same_of_mutated_logs(batch: int, tmp_path: Path) -> None:
    verdicts: Counter[str] = Counter()
    for seed in range(batch, MUTATIONS, BATCHES):
        files, since = mutated(seed)
        verdicts[same(fresh(tmp_path / "log", files), since, seed)] += 1
    # The cases are worth something: most are found, some are harmless, none is left out.
    assert verdicts["TAMPERED"] > MUTATIONS / BATCHES / 2
    assert verdicts["VALID"] > 0
    assert verdicts["INCOMPLETE"] > 0


EXPORT_VKEY = signer(3, name="log.example/hub/export").vkey


def exports(folder: Path) -> list[Files]:
    """A whole log, a range, and an incident with and without its closing, as files in memory."""
    files = files_of(chain_of(drafts_of_two_incidents()))
    log = fresh(folder / "log", files)
    wanted = [
        Wanted(),
        Wanted(first=9, last=17),
        Wanted(first=13),
        Wanted(incident=INCIDENT),
        Wanted(incident=uuid_of(77)),
    ]
    made = []
    for number, want in enumerate(wanted):
        target = folder / str(number)
        target.mkdir()
        take_out(log, target, want, Demands(vkeys=(parse_vkey(VKEY),)))
        write_manifest(target, signer(3, name="log.example/hub/export"))
        made.append(
            {
                f.relative_to(target).as_posix(): f.read_bytes()
                for f in target.rglob("*")
                if f.is_file()
            }
        )
    return made


def drafts_of_two_incidents() -> list[EntryDraft]:
    made, counts = [draft(0)], {INCIDENT: 0, uuid_of(77): 0}
    for number in range(1, 26):
        incident = [None, INCIDENT, uuid_of(77)][number % 3]
        closes = number == 25
        if incident is not None:
            counts[incident] += 1
        body = {"state": "resolved", "entries": counts[INCIDENT]} if closes else {"number": number}
        type_ = "incident.close" if closes else "auth.login"
        made.append(draft(number, incident=incident, type=type_, body=body))
    return made


def test_both_verifiers_say_the_same_of_mutated_exports(tmp_path: Path) -> None:
    made = exports(tmp_path)
    verdicts: Counter[str] = Counter()
    for seed in range(MUTATIONS // 2):
        files = mutated_export(seed, made)
        export_vkey = EXPORT_VKEY if seed % 3 == 0 else None
        folder = fresh(tmp_path / "export", files)
        verdicts[same(folder, None, seed, export_vkey)] += 1
    assert verdicts["TAMPERED"] > MUTATIONS / 8
    assert verdicts["VALID"] > 0
    assert verdicts["INCOMPLETE"] > 0


@pytest.mark.parametrize(("size", "exit_status"), [(8, 2), (13, 0), (20, 0), (26, 0), (27, 1)])
def test_a_part_is_compared_with_the_last_audit(
    size: int, exit_status: int, tmp_path: Path
) -> None:
    folder = fresh(tmp_path / "export", exports(tmp_path)[2])  # from entry 13 on
    lines = chain_of([*drafts_of_two_incidents(), draft(26)])[:size]
    since = note_of(lines)
    one, other = installed(folder, since), alone(folder, since)
    assert plain(one) == plain(other)
    assert one.get("refused", 0 if one.get("verdict") == "VALID" else 1) == exit_status


def test_a_part_of_another_history_than_the_last_audits_is_found(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "export", exports(tmp_path)[2])
    lines = chain_of(drafts_of_two_incidents())
    lines[4] = rewrite(lines[4], outcome="changed")
    for size in (13, 20):
        since = note_of(relink(lines)[:size])
        assert installed(folder, since)["verdict"] == "TAMPERED"
        assert alone(folder, since)["verdict"] == "TAMPERED"


# The single file by itself


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(single.__file__).read_text(), feature_version=(3, 9))
    names = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert names <= set(sys.stdlib_module_names)


def test_it_knows_the_same_types() -> None:
    assert single.TYPES == TYPES


@pytest.mark.parametrize("seed", [3, 4, 5, 10, 18])
def test_as_a_command_it_says_what_the_installed_one_says(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, _ = mutated(seed)
    folder = fresh(tmp_path / "log", files)
    words = [str(folder), "--vkey", VKEY, "--json"]
    status = main(["verify", *words])
    said = capsys.readouterr().out
    done = subprocess.run(
        [sys.executable, "-I", str(Path(single.__file__)), *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status
    expected = json.loads(said)
    del expected["cosigned"]  # who cosigned is told by the installed one only,
    assert expected.pop("decisions") == []  # and who decided to go on after a fork
    assert plain(json.loads(done.stdout)) == plain(expected)


def test_a_command_that_is_not_understood_leaves_3() -> None:
    for words in ([], ["x", "--nonsense"], ["x", "--vkey"]):
        with pytest.raises(SystemExit) as left:
            single.main(words)
        assert left.value.code == 3


# Ed25519 in pure Python


def test_signatures_are_judged_as_cryptography_judges_them() -> None:
    chance = random.Random(5)
    for number in range(120):
        key = signer(number % 3)
        raw = parse_vkey(key.vkey).key
        message = chance.randbytes(number)
        signature = bytearray(key.sign(message))
        if number % 4:
            signature[chance.randrange(64)] ^= 1 << chance.randrange(8)
        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(bytes(signature), message)
            good = True
        except InvalidSignature:
            good = False
        assert single.signed(raw, message, bytes(signature)) is good


@pytest.mark.parametrize(
    ("key", "message", "signature"),
    [  # RFC 8032, section 7.1, tests 1 to 3
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
                "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
                "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            (
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290"
                "ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
            ),
        ),
    ],
)
def test_the_vectors_of_the_rfc_verify(key: str, message: str, signature: str) -> None:
    raw, data, sig = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert single.signed(raw, data, sig)
    assert not single.signed(raw, data + b"x", sig)
    beyond = int.from_bytes(sig[32:], "little") + single.L  # the same S, written another way
    assert not single.signed(raw, data, sig[:32] + beyond.to_bytes(32, "little"))


@pytest.mark.parametrize("y", sorted(single.LOW_ORDER_Y))
@pytest.mark.parametrize("odd", [0, 1])
def test_a_key_that_signs_for_everybody_is_refused(y: int, odd: int) -> None:
    for number in {y, y + single.P} if y + single.P < 2**255 else {y}:
        raw = (number | odd << 255).to_bytes(32, "little")
        with pytest.raises(single.Refused):
            single.decompress(raw)


def test_a_key_that_is_not_canonical_is_refused() -> None:
    for number in range(single.P, 2**255):
        with pytest.raises(single.Refused, match="canonical"):
            single.decompress(number.to_bytes(32, "little"))


# Policies and witnesses

LOG_LINE = f"log {VKEY}"
WITNESSES = [
    WitnessKey(name=f"w{n}.example", key=parse_vkey(signer(10 + n, name=f"w{n}.example").vkey).key)
    for n in range(3)
]
W0, W1, W2 = (f"witness w{n} {each}" for n, each in enumerate(WITNESSES))
ALL = f"{LOG_LINE}\n{W0}\n{W1}\n{W2}\n"
POLICIES = [
    LOG_LINE,
    f"# comment\n\n\t{LOG_LINE} https://log.example\nquorum none\n",
    "",
    "quorum none",
    f"{LOG_LINE}\n{LOG_LINE}",
    f"{LOG_LINE}\nlog {signer(2).vkey}",
    f"{LOG_LINE}\nlog {signer(2, name='other.example').vkey}",
    f"{LOG_LINE} a b",
    f"{LOG_LINE}\nquorum w0",
    f"{LOG_LINE}\nroot {VKEY}",
    f"{LOG_LINE}\nsecond {signer(4, name='log.example/hub/second').vkey} 9",
    f"{LOG_LINE}\nsecond {signer(4, name='log.example/hub/second').vkey} 8",
    f"{LOG_LINE}\nsecond {signer(4, name='log.example/hub/second').vkey}",
    f"{LOG_LINE}\nsecond {signer(4, name='log.example/hub/second').vkey} -1",
    f"{LOG_LINE}\nsecond {signer(4, name='log.example/hub/second').vkey} 1 1",
    f"{LOG_LINE}\nsecond {signer(4, name='log.example/hub/second').vkey} {'9' * 17}",
    f"{LOG_LINE}\nsecond {signer(4).vkey} 9",
    f"{LOG_LINE}\nsecond",
    f"root {signer(4, name='log.example/hub/root').vkey}",
    f"root {signer(4, name='log.example/hub/root').vkey}\nsecond {signer(5).vkey}",
    f"{LOG_LINE}\nwitness w0 {VKEY}",
    f"{LOG_LINE}\nlog {WITNESSES[0]}",
    f"{ALL}quorum w0",
    f"{ALL}quorum w2",
    f"{ALL}quorum w0\nquorum w0",
    f"{ALL}{W0}",
    f"{ALL}group g all w0 w1\nquorum g",
    f"{ALL}group g all w0 w1 w2\nquorum g",
    f"{ALL}group g any w1 w2\nquorum g",
    f"{ALL}group g 2 w0 w1 w2\nquorum g",
    f"{ALL}group g 02 w0 w1 w2",
    f"{ALL}group g 0 w0",
    f"{ALL}group g 4 w0 w1 w2",
    f"{ALL}group g 2 w0 w0",
    f"{ALL}group g any w0\ngroup h any w0",
    f"{ALL}group g any w0\ngroup h 2 g w2\nquorum h",
    f"{ALL}group g any w0\ngroup h 2 g w1\nquorum h",
    f"{ALL}group none any w0",
    f"{ALL}group w0 any w1",
    f"{ALL}group g any",
    f"{ALL}group g any g",
    f"{ALL}quorum",
    ALL.replace("\n", "\r\n"),
]


def cosigned(note: str, *, wrong: bool = False) -> str:
    """The note with lines of the first two witnesses."""
    text, lines = note.split("\n\n", maxsplit=1)[0] + "\n", []
    for n in (0, 1):
        key = signer(10 + n, name=f"w{n}.example")
        lines.append(cosign(text, WITNESSES[n], sign=key.sign, at=1_700_000_000))
    if wrong:
        lines[1] = lines[1][:-8] + ("AAAA" if lines[1][-8:-4] != "AAAA" else "BBBB") + lines[1][-4:]
    return note + "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_and_its_quorum_give_the_same_exit_status(
    policy: str,
    wrong: bool,  # noqa: FBT001 - a parameter
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = files_of(chain_of([draft(n) for n in range(8)]))
    files["checkpoint"] = cosigned(files["checkpoint"].decode(), wrong=wrong).encode()
    folder, file = fresh(tmp_path / "log", files), tmp_path / "policy"
    file.write_bytes(policy.encode())
    words = [str(folder), "--policy", str(file)]
    status, other = main(["verify", *words]), single.main(words)
    capsys.readouterr()
    assert other == status
