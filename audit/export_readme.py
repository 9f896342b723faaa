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
    "range": """\
Each entry carries the hash of the one before it. The inclusion proof of the first entry tells the
tree before it; with that, all of them lead to the root.""",
    "incident": """\
Each entry has an inclusion proof of its own, so nothing else need be disclosed. Entries of an
incident are numbered (`inc_seq`) and the closing one counts them, so none can be left out before
it. Without a closing entry this cannot be told, and the verifier says INCOMPLETE.""",
}
_EPOCHS = """
**The keys of this log change**, as `epochs.note` lists them; the key in `root.vkey` certified it.
`audit_verify.py` does not know such lists and says so (2); by hand, give the key that signed the
checkpoint. All of it is checked by

    sentinel-audit verify . --root 'THE ROOT KEY YOU WERE GIVEN'
"""
_FOLDER = files("audit") / "recipes"


def recipe(kind: str) -> str:
    """The commands that check an export of this kind, for bash."""
    own = "incident.sh" if kind == "incident" else "log.sh"
    return (_FOLDER / "common.sh").read_text() + (_FOLDER / own).read_text()


def readme(export: Export, *, signed_by: str | None, epochs: bool = False) -> str:
    """The text of README.md."""
    signature = "The manifest is **not signed**: no export key was given when this was made."
    if signed_by is not None:
        signature = f"`MANIFEST.note` is the manifest's signature by the export key `{signed_by}`."
    words = {
        "log": export.log,
        "what": _KINDS[export.kind].format(
            first=export.first, last=export.last, entries=export.entries, incident=export.incident
        ),
        "size": str(export.size),
        "means": _MEANS[export.kind],
        "entries": "entries.jsonl" if export.kind == "incident" else "seg/*.jsonl",
        "signature": signature,
        "withheld": str(len(export.withheld)),
        "keys": _EPOCHS if epochs else "",
        "recipe": recipe(export.kind),
    }
    text = (_FOLDER / "export.md").read_text()
    for name, value in words.items():
        text = text.replace(f"{{{name}}}", value)
    return text
