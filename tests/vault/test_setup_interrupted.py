"""The setup is cut off after any of its writes, done but not answered: the next run ends it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.launch import Launcher
from tests.vault.servers import DevServer
from vault.door import Door
from vault.errors import VaultAwayError
from vault.setup.authority import OwnCa
from vault.setup.plan import applied, planned, steps
from vault.setup.settings import SetupSettings
from vault.setup.step import State

pytestmark = pytest.mark.vault

WRITES = 33  # of a whole setup, as counted below
TOUCHY = range(7, 12)  # around the authority, where the order matters most


class CutOff(Door):
    """Does the n-th write and loses its answer."""

    left = 0
    done = 0

    def write(self, path: str, data: Mapping[str, Any], *, method: str = "post") -> dict[str, Any]:
        answer = super().write(path, data, method=method)
        self.done += 1
        if self.done == self.left:
            raise VaultAwayError("the line was cut")
        return answer


@pytest.fixture(scope="module")
def server(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> DevServer:
    return DevServer(tmp_path_factory.mktemp("cut"), launcher, name="bao-cut").start()


@pytest.mark.parametrize("after", sorted({1, *TOUCHY, 20, WRITES}))
def test_cut_off_after_a_write_the_next_run_ends_it(
    server: DevServer, tmp_path: Path, after: int
) -> None:
    space = f"cut{after}"
    server.door().write(f"sys/namespaces/{space}", {})
    settings = SetupSettings(url=server.url, namespace=space)
    everything = steps(settings, OwnCa())
    door = CutOff(url=server.url, token=server.token, namespace=space)
    door.left = after
    with pytest.raises(VaultAwayError):
        list(applied(door, everything))
    session = door.read("sentinel-kv/data/session") if after == WRITES else None

    door.left = 0
    list(applied(door, everything))
    states = {step.what: found.state for step, found in planned(door, everything)}
    assert states.pop("secret vault:database#password") is State.BY_HAND
    assert set(states.values()) == {State.EXISTS}
    assert door.done == WRITES + again(after)
    # One key, one authority each; what was made before the cut is what is used.
    assert len(door.list("pki_root/issuers")) == 1
    (key,) = door.list("pki_int/keys")
    assert (door.read("pki_int/issuer/default") or {})["key_id"] == key
    if session is not None:
        assert door.read("sentinel-kv/data/session") == session


def again(after: int) -> int:
    """What the next run has to ask for again, or no longer has to."""
    # 8: the key's request again   9: that, and the root's signature
    # 10: the intermediate counts already, and is the default without being named so
    return {8: 1, 9: 2, 10: -1}.get(after, 0)
