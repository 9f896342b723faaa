"""`sentinel setup vault`: print the plan; with `--apply` carry it out.

0: everything is as it should be; 1: something is left to do, by `--apply` or by hand; 2: it could
not be told. The administrator's token comes from a file, the environment or a prompt, is used for
this one run and is written nowhere.
"""

import argparse
import getpass
import os
from pathlib import Path

from appliance import settings
from vault.access import demand_encrypted, secret_file
from vault.door import Door
from vault.errors import VaultError
from vault.setup.authority import OwnCa
from vault.setup.plan import applied, is_done, planned, steps
from vault.setup.settings import SetupSettings
from vault.setup.step import Found, State, Step

DONE = {State.MAKE: "made", State.CHANGE: "changed"}


def run(asked: argparse.Namespace) -> int:
    """Look, or look and act."""
    chosen = settings.load(asked.config, SetupSettings)
    demand_encrypted(chosen.url)
    files = OwnCa(request=asked.csr, answer=asked.signed)
    if (asked.csr or asked.signed) and not chosen.own_ca:
        raise VaultError("--csr and --signed are for a site's own CA: set own_ca = true")
    door = Door(
        url=chosen.url, token=_token(asked.token_file), namespace=chosen.namespace, ca=chosen.ca
    )
    everything = steps(chosen, files)
    where = f"{chosen.url}{f', namespace {chosen.namespace}' if chosen.namespace else ''}"
    print(f"{'setting up' if asked.apply else 'plan for'} {where}")
    found: list[Found] = []
    for step, one in (applied if asked.apply else planned)(door, everything):
        found.append(one)
        _line(step, one, done=asked.apply)
    return _end(found, done=asked.apply)


def _line(step: Step, found: Found, *, done: bool) -> None:
    state = DONE.get(found.state, found.state.value) if done else found.state.value
    print(f"  {state:8} {step.what}{f': {found.why}' if found.why else ''}")


def _end(found: list[Found], *, done: bool) -> int:
    by_hand = sum(one.state is State.BY_HAND for one in found)
    ours = sum(one.ours_to_do for one in found)
    if is_done(found):
        print("everything is there; nothing to do")
        return 0
    left = f"{by_hand} to do by hand" if by_hand else "nothing to do by hand"
    print(f"{ours} {'done' if done else 'to do with --apply'}, {left}")
    return 1 if by_hand or not done else 0


def _token(file: Path | None) -> str:
    if file is not None:
        return secret_file(file, key="--token-file")
    for name in ("BAO_TOKEN", "VAULT_TOKEN"):
        if found := os.environ.get(name):
            return found
    try:
        token = getpass.getpass("administrator's token for Vault: ").strip()
    except (EOFError, OSError) as error:
        raise VaultError("a token is needed: --token-file, $BAO_TOKEN, or a terminal") from error
    if not token:
        raise VaultError("a token is needed: --token-file, $BAO_TOKEN, or a terminal")
    return token
