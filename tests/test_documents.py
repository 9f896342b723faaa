"""The documents say what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from audit.entry import TYPES
from tests.documents import events
from tests.documents.tables import README, with_tables


def test_every_settings_key_is_in_the_readme_as_the_code_has_it() -> None:
    text = README.read_text()
    assert with_tables(text) == text, "run: python -m tests.documents.tables --write"


def test_every_event_is_in_the_audits_readme_with_where_it_is_written() -> None:
    text = events.README.read_text()
    assert events.with_table(text) == text, "run: python -m tests.documents.events --write"


def test_a_type_that_nobody_writes_yet_is_one_we_know_of() -> None:
    """A schema without a writer is a promise; the list only gets shorter."""
    promised = {"export.create", "node.enroll", "node.revoke"}
    promised |= {"retention.prune", "witness.refuse"}
    assert TYPES - set(events.written_in()) <= promised


def test_every_file_the_documents_link_to_is_there(repository: Path) -> None:
    for document in [*repository.glob("*.md"), *repository.glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("appliance", ["--help"]),
        ("appliance", ["demo", "--help"]),
        ("appliance", ["approve", "--help"]),
        ("appliance", ["policy", "--help"]),
        ("hub", ["--help"]),
        ("hub", ["serve", "--help"]),
        ("agent", ["--help"]),
        ("policy", ["--help"]),
        ("audit", ["--help"]),
    ],
)
def test_help_is_there_and_quick(program: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", program, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert "usage:" in done.stdout
    for heavy in ("grpc", "flask", "psycopg", "llama_cpp", "numpy", "tuf", "webauthn"):
        assert not re.search(rf"\| +{heavy}$", done.stderr, re.MULTILINE), f"--help imports {heavy}"


def test_the_make_targets_of_the_readme_exist(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^    )make ([a-z-]+)", README.read_text(), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"README names make {target}"


def test_the_licence_is_stated(repository: Path) -> None:
    assert "GNU GENERAL PUBLIC LICENSE" in (repository / "LICENSE").read_text()
    assert "GPL-3.0-or-later" in README.read_text()
