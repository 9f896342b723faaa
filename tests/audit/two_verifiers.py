"""The installed verifier and the single file, asked the same of one folder."""

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import SentinelError
from audit import single
from audit.check import check
from audit.counting import Second
from audit.epoch_notes import Demands
from audit.epochs import open_list
from audit.note import parse_vkey
from tests.audit.builders import PER_SEGMENT
from tests.audit.mutations import Files, write

REASON = re.compile(r"^(entry \d+|line \d+ of entries.jsonl|\w+ checkpoint \d+): .*", re.DOTALL)
"""Why a line is no entry is told in the words of two JSON readers; that it is none, is compared."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to believe: the key of `vkey`, or the epochs that `root` certified; and second keys."""

    vkey: str = ""
    root: str = ""
    seconds: tuple[Second, ...] = ()
    since: str | None = None
    export_vkey: str | None = None

    def demands(self, path: Path) -> Demands:
        """As the installed verifier takes them."""
        if not self.root:
            return Demands(vkeys=(parse_vkey(self.vkey),), seconds=self.seconds)
        epochs = open_list((path / "epochs.note").read_text(), parse_vkey(self.root))
        return Demands(vkeys=epochs.vkeys, epochs=epochs, seconds=self.seconds)

    def keys(self, path: Path) -> single.Keys:
        """As the single file takes them."""
        beside = [(single.parse_vkey(str(one.vkey)), one.from_size) for one in self.seconds]
        if not self.root:
            return single.Keys([single.parse_vkey(self.vkey)], beside)
        note = (path / "epochs.note").read_text()
        return single.Keys([], beside, single.open_list(note, single.parse_vkey(self.root)))


def installed(path: Path, asked: Asked) -> dict[str, Any]:
    """What the installed verifier says."""
    try:
        report, live = check(
            path,
            demands=asked.demands(path),
            since=asked.since,
            export_vkey=None if asked.export_vkey is None else parse_vkey(asked.export_vkey),
            segment_entries=PER_SEGMENT,
        )
    except SentinelError as error:
        return {"refused": error.exit_status}
    except OSError as error:
        return {"refused": 2, "errno": error.errno}
    except UnicodeDecodeError:
        return {"refused": 2}
    return {**msgspec.to_builtins(report), "live": live}


def alone(path: Path, asked: Asked) -> dict[str, Any]:
    """What the single file says."""
    try:
        return single.check(
            path,
            asked.keys(path),
            asked.since,
            None if asked.export_vkey is None else single.parse_vkey(asked.export_vkey),
            per_segment=PER_SEGMENT,
        )
    except single.Refused as error:
        return {"refused": error.status}
    except OSError as error:
        return {"refused": 2, "errno": error.errno}
    except UnicodeDecodeError:
        return {"refused": 2}


def plain(value: Any) -> Any:
    """The report without the words of JSON readers."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return REASON.sub(r"\1", value) if isinstance(value, str) else value


def same(path: Path, asked: Asked, case: object) -> str:
    """The verdict on which both agree."""
    one, other = installed(path, asked), alone(path, asked)
    assert plain(one) == plain(other), f"case {case}"
    return str(one.get("verdict", "refused"))


def fresh(folder: Path, files: Files) -> Path:
    """A folder with these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    write(files, folder)
    return folder
