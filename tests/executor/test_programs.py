"""Only a file that nobody but root can change is a program, wherever its name leads."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import OrderRefusedError
from agent.programs import demand_own, system_file

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of root's and others'")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder outside /tmp, which everybody may write to: /tmp itself is refused."""
    folder = Path("/opt") / f"sentinel-test-{tmp_path.name}"
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


def test_a_file_of_roots_is_taken_under_its_own_name(home: Path) -> None:
    link = home / "bin" / "other-name"
    link.symlink_to("../bin/./program")
    assert system_file(("/nonexistent/x", str(link), "/bin/sh")) == str(link)


def test_the_systems_own_programs_are_taken() -> None:
    for path in ("/bin/sh", "/usr/bin/env", "/usr/bin/awk"):
        assert system_file((path,)) == path


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (lambda home: os.chown(home / "bin/program", 65534, 0), "bin/program"),
        (lambda home: (home / "bin/program").chmod(0o775), "bin/program"),
        (lambda home: (home / "bin/program").chmod(0o757), "bin/program"),
        (lambda home: (home / "bin").chmod(0o777), "bin"),
        (lambda home: os.chown(home / "bin", 65534, 0), "bin"),
        (lambda home: home.chmod(0o1777), ""),  # nor where a sticky bit protects it
        (lambda home: os.chown(home, 65534, 65534), ""),
    ],
)
def test_what_another_could_change_is_refused(
    home: Path, attack: Callable[[Path], None], named: str
) -> None:
    demand_own(str(home / "bin/program"))
    attack(home)
    with pytest.raises(OrderRefusedError, match="10 program") as refused:
        demand_own(str(home / "bin/program"))
    assert f"{home / named} can be changed by others" in str(refused.value)


def test_a_link_through_a_folder_of_anothers_is_refused_though_it_leads_to_roots_file(
    home: Path, tmp_path: Path
) -> None:
    """Whoever owns the folder in the middle could lead elsewhere a moment later."""
    middle = tmp_path / "middle"
    middle.symlink_to(home / "bin" / "program")
    for link, target in (
        (home / "bin" / "a", middle),
        (home / "bin" / "b", home / "bin" / "c"),
        (home / "bin" / "c", tmp_path / "middle"),
    ):
        link.symlink_to(target)
        assert link.resolve() == home / "bin" / "program" or not link.exists()
    for name in ("a", "b", "c"):
        with pytest.raises(OrderRefusedError, match="can be changed by others"):
            system_file((str(home / "bin" / name),))


def test_a_link_that_leads_to_itself_is_refused(home: Path) -> None:
    link = home / "bin" / "loop"
    link.symlink_to(link)
    with pytest.raises(OrderRefusedError, match="link without an end"):
        demand_own(str(link))
    with pytest.raises(OrderRefusedError, match="is here"):
        system_file((str(link),))


def test_a_file_that_cannot_be_run_is_no_program(home: Path) -> None:
    (home / "bin/program").chmod(0o644)
    with pytest.raises(OrderRefusedError, match="none of"):
        system_file((str(home / "bin/program"),))
