"""The policies: one file each in `vault/policies`, with the site's own names filled in."""

from pathlib import Path
from string import Template

from vault.errors import VaultError
from vault.setup.settings import SetupSettings
from vault.setup.step import Step, written

FOLDER = Path(__file__).parents[1] / "policies"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.hcl")))


def policies(settings: SetupSettings) -> list[Step]:
    """Write each as it is in its file."""
    return [_policy(settings, name) for name in NAMES]


def text_of(settings: SetupSettings, name: str) -> str:
    """A policy's text; an unknown name in it is an error and not an empty word."""
    mounts = settings.mounts
    words = {
        "pki": mounts.pki,
        "transit": mounts.transit,
        "kv": mounts.kv,
        "cert": mounts.cert,
        "log_key": settings.log_key,
        "prefix": settings.prefix,
    }
    try:
        return Template((FOLDER / f"{name}.hcl").read_text(encoding="utf-8")).substitute(words)
    except (OSError, KeyError, ValueError) as error:
        raise VaultError(f"policy {name}: cannot be read: {error}") from error


def _policy(settings: SetupSettings, name: str) -> Step:
    full = f"{settings.prefix}-{name}"
    text = text_of(settings, name)
    return written(f"policy {full}", f"sys/policies/acl/{full}", lambda _: {"policy": text})
