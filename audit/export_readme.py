"""The README of an export: what it is, how to check it with our program, with Python, by hand."""

from importlib.resources import files

from audit.exported import Export

_KINDS = {
    "whole": "entries {first} to {last} of the audit log, which is all from its beginning",
    "range": "entries {first} to {last} of the audit log, without a hole",
    "incident": "the {entries} entries of one incident ({incident}), and no other entry",
}
_MEANS = {
    "whole": "Each entry carries the hash of the one before it, and all of them lead to the root.",
    "range": (
        "Each entry carries the hash of the one before it. The inclusion proof of the first entry"
        " tells the\ntree before it; with that, all of them lead to the root."
    ),
    "incident": (
        "Each entry has an inclusion proof of its own, so nothing else need be disclosed. Entries of an"
        "\nincident are numbered (`inc_seq`) and the closing one counts them, so none can be left out"
        " before it.\nWithout a closing entry this cannot be told, and the verifier says INCOMPLETE."
    ),
}


def recipe(kind: str) -> str:
    """The commands that check an export of this kind, for bash."""
    folder = files("audit") / "recipes"
    own = "incident" if kind == "incident" else "log"
    return (folder / "common.sh").read_text() + (folder / f"{own}.sh").read_text()


def readme(export: Export, *, signed_by: str | None) -> str:
    """The text of README.md."""
    what = _KINDS[export.kind].format(
        first=export.first, last=export.last, entries=export.entries, incident=export.incident
    )
    signature = "The manifest is **not signed**: no export key was given when this was made."
    if signed_by is not None:
        signature = f"`MANIFEST.note` is the manifest's signature by the export key `{signed_by}`."
    return f"""\
# An export of the audit log `{export.log}`

In here: {what}, as signed by the log's key in the
checkpoint of its first {export.size} entries. `report.html` and `report.pdf` tell it for readers; they prove nothing.

{_MEANS[export.kind]}

| file | is |
|---|---|
| `{"entries.jsonl" if export.kind == "incident" else "seg/*.jsonl"}` | the entries, one a line, byte for byte as written |
| `checkpoint` | size and root of the log, signed (C2SP tlog-checkpoint); everything leads to it |
| `checkpoints/` | the checkpoints signed on the way, if this is more than one incident |
| `proofs/SEQ.tlog-proof` | inclusion proofs (C2SP tlog-proof) |
| `blobs/DIGEST` | bytes that an entry commits to: 32 of salt, then the data; DIGEST is SHA-256("sentinel-blob/v1", a zero byte, the file) |
| `log.vkey` | the log's public key; compare it with the one noted when the log was begun |
| `schemas/` | what the body of each type of entry holds |
| `export.json` | which part this is, and what was withheld; nothing in it is believed without proof |
| `audit_verify.py` | the verifier: one file, nothing but Python 3.9 or newer |
| `MANIFEST.sha256` | the SHA-256 of every file |

{signature}
Withheld blobs: {len(export.withheld)}. A withheld blob leaves its digest in the entry, so every proof holds without it.

## Check it with Python

    python3 audit_verify.py . --vkey 'THE KEY YOU NOTED'

0: valid; 1: something was changed, cut or put in; 2: incomplete, or it cannot be told; 3: the command was not
understood. `sentinel-audit verify .` says the same. With `--since FILE` the part must extend the checkpoint
kept from the last audit. Keep the file `checkpoint` for the next one.

## Check it by hand

With bash, coreutils, `jq` and `openssl` 3, in this folder. Set `VKEY` to the key you noted.

```bash
{recipe(export.kind)}```
"""
