"""The audit log's keys as they were installed on this node, for a site without signed trust.

`audit_vkey` names the keys themselves, one a line, or the root key that certified the list of
epochs in `audit_epochs`. A list is remembered before it is used: none that is older, or takes
something back, is used later. What a line may say is in `audit/counting.py`.
"""

from pathlib import Path

from agent.durable import remember, remembered
from agent.executor_settings import ExecutorSettings
from appliance.errors import SettingsError
from appliance.records import Record
from audit.counting import Counting, parse_keys
from audit.errors import AuditRefusedError, VkeyError
from audit.note import parse_vkey


class EpochsInUse(Record, frozen=True, kw_only=True):
    """The newest list that this node used, as it was certified."""

    note: str


def load(settings: ExecutorSettings, *, checking: bool) -> Counting | None:
    """The keys; raises `SettingsError`. `checking` only looks and remembers nothing."""
    path, epochs = settings.audit_vkey, settings.audit_epochs
    if path is None:
        if epochs is not None:
            raise SettingsError("audit_epochs: expected audit_vkey, the root key that certified it")
        return None
    try:
        text = path.read_text(encoding="ascii")
        return parse_keys(text) if epochs is None else _epochs(settings, text, epochs, checking)
    except (OSError, UnicodeDecodeError, VkeyError) as error:
        raise SettingsError(f"{path}: cannot use the audit log's key: {error}") from error


def _epochs(settings: ExecutorSettings, root: str, path: Path, checking: bool) -> Counting:  # noqa: FBT001 - passed on
    # Only here: a node that pins keys spares itself what reads lists of them.
    from audit.epochs import demand_newer, open_list  # noqa: PLC0415 - as said

    key = parse_vkey(root.strip())
    file = settings.state_dir / "epochs.json"
    try:
        note = path.read_text(encoding="utf-8")
        made = open_list(note, key)
        before = remembered(file, EpochsInUse, "the list of epochs that was in use")
        if before is not None:
            demand_newer(made, open_list(before.note, key))
    except (OSError, UnicodeDecodeError, AuditRefusedError) as error:
        raise SettingsError(f"{path}: cannot use the list of epochs: {error}") from error
    if not checking and (before is None or before.note != note):
        remember(file, EpochsInUse(note=note))
        # From here on a restart takes this list or a newer one.
    return Counting(keys=tuple(one.counting for one in made.epochs))
