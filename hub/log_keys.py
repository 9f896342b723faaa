"""Which keys sign the log, from the notary's settings: one pinned key, or epochs.

Everything is read and checked here before a byte of the log is touched: a list of epochs that the
root key did not sign, or that is older than the one in force, ends the start.
"""

from datetime import timedelta
from pathlib import Path

from appliance.errors import SettingsError
from audit.epochs import EpochList, demand_newer, open_list
from audit.errors import AuditRefusedError, VkeyError
from audit.note import Vkey, parse_vkey
from audit.signer import LocalSigner, LogKeys, PinnedKeys
from hub.epoch_keys import EpochKeys, StateFile
from hub.moved_keys import MovedKeys, OldKey
from hub.settings import NotarySettings, SecondSigner
from vault.access import secret_file
from vault.transit import TransitKey, TransitSigner

PUBLISHED_LIST = "epochs.note"  # in the log's folder, for auditors
PUBLISHED_ROOT = "root.vkey"


def keys_of(settings: NotarySettings) -> tuple[LogKeys, TransitSigner | None]:
    """The log's keys, and the second signer that is among them."""
    second = None if settings.second is None else _second(settings.second, settings.origin)
    if settings.epochs is None:
        return _pinned(settings, second), second
    if settings.epoch_root is None or settings.epoch_state is None:
        raise SettingsError("expected `key`, or `epochs` with `epoch_root` and `epoch_state`")
    epochs = _epochs(settings.epochs, settings.epoch_root)
    if epochs.log != settings.origin:
        raise SettingsError(f"{settings.epochs}: it is of {epochs.log}, not {settings.origin}")
    in_force = list_in_force(settings)
    if in_force is not None:
        demand_newer(epochs, in_force)
    before = timedelta(seconds=settings.rotate_before_s)
    state = StateFile(settings.epoch_state)
    if settings.key is None:
        return EpochKeys(epochs, state, second=second, rotate_before=before), second
    old = OldKey(settings.key, settings.origin)
    return MovedKeys(epochs, state, old, second=second, rotate_before=before), second


def list_in_force(settings: NotarySettings) -> EpochList | None:
    """The list that was published last, under the same root key."""
    published = settings.folder / PUBLISHED_LIST
    if settings.epoch_root is None or not published.exists():
        return None
    return _epochs(published, settings.epoch_root)


def _epochs(path: Path, root: Path) -> EpochList:
    try:
        return open_list(path.read_text(encoding="utf-8"), _vkey(root))
    except (OSError, UnicodeDecodeError, AuditRefusedError) as error:
        raise SettingsError(f"{path}: cannot use the list of epochs: {error}") from error


def _pinned(settings: NotarySettings, second: TransitSigner | None) -> PinnedKeys:
    if settings.key is None:
        raise SettingsError("expected `key`, or `epochs` with `epoch_root` and `epoch_state`")
    try:
        signer = LocalSigner.from_pem(settings.origin, settings.key.read_bytes())
    except (OSError, VkeyError) as error:
        raise SettingsError(f"{settings.key}: cannot use the log's key: {error}") from error
    return PinnedKeys(signer) if second is None else PinnedKeys(signer, second)


def _second(chosen: SecondSigner, origin: str) -> TransitSigner:
    vkey = _vkey(chosen.vkey)
    if vkey.name == origin:
        raise SettingsError(f"{chosen.vkey}: the second key needs a name of its own")
    key = TransitKey(
        url=chosen.url,
        token=secret_file(chosen.token, key="second.token"),
        key=chosen.key,
        mount=chosen.mount,
        namespace=chosen.namespace,
        ca=chosen.ca,
    )
    return TransitSigner(key, vkey=str(vkey), public=vkey.key)


def _vkey(path: Path) -> Vkey:
    try:
        return parse_vkey(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, VkeyError) as error:
        raise SettingsError(f"{path}: not a vkey: {error}") from error
