"""The hub looks whether joining tokens were opened, and tells operators when no node came of it.

The accessor of a wrapping opens nothing; it only tells whether the wrapping is still there. Gone
before its time means that somebody opened it: mostly the node, which connects soon after. When it
does not, that is an incident (`hub/persist/stolen.py`). What is done then is for a person.
"""

import logging
import threading
from datetime import UTC, datetime, timedelta

from hub.errors import DatabaseError
from hub.persist import stolen
from hub.persist.database import Database
from hub.settings import ServeSettings
from vault.access import VaultAccess
from vault.client import Client
from vault.errors import VaultError
from vault.joining import Joining
from vault.settings import VaultSite

MARGIN = timedelta(seconds=5)  # so near to its end a wrapping that is gone may have ended by itself

_log = logging.getLogger(__name__)


class OpenedTickets:
    """Looks once in a while; of a Vault or a database that is away it tells once, and waits."""

    def __init__(
        self, db: Database, *, vault: VaultSite, access: VaultAccess, joins_within: timedelta
    ) -> None:
        self._db, self._vault, self._access = db, vault, access
        self._within, self._complained = joins_within, ""

    def run(self, stop: threading.Event, *, every_s: float) -> None:
        """Until told to stop."""
        while not stop.wait(every_s):
            self.turn()

    def turn(self) -> None:
        """One look. Those who were seen to be late are told of also while Vault is away."""
        try:
            self._tell()
            self._look()
            self._complained = ""
        except (VaultError, DatabaseError) as error:
            if str(error) != self._complained:
                _log.warning("whether joining tokens were opened cannot be told: %s", error)
            self._complained = str(error)

    def _look(self) -> None:
        rows = stolen.unopened(self._db, now=_now())
        if not rows:
            return
        with self._access.opened() as door:
            joining = Joining(self._vault, Client(self._vault, token=door.token))
            for row in rows:
                # 1. the wrapping is gone    2. and its own time was not over when Vault said so
                if joining.unwrapped(row["wrap"]) and (now := _now()) < row["expires_at"] - MARGIN:
                    stolen.opened(self._db, row, now=now)
                    _log.info("the joining token of %s was opened", row["node"])

    def _tell(self) -> None:
        for node in stolen.report_overdue(self._db, within=self._within, now=_now()):
            _log.critical(
                "THE JOINING TOKEN OF %s WAS OPENED AND THE NODE HAS NOT CONNECTED: "
                "`sentinel node check %s --stolen` shuts out whoever has it",
                node,
                node,
            )


def start(db: Database, settings: ServeSettings, *, stop: threading.Event) -> None:
    """Look from now on, where Vault is set up for it."""
    vault, access = settings.vault, settings.secrets
    if vault is None:
        return
    if access is None or (access.url, access.namespace) != (vault.url, vault.namespace):
        _log.warning("opened joining tokens are not looked for: [secrets] signs in to no [vault]")
        return
    watch = OpenedTickets(
        db, vault=vault, access=access, joins_within=timedelta(seconds=settings.joins_within_s)
    )
    threading.Thread(
        target=watch.run, args=(stop,), kwargs={"every_s": settings.tickets_every_s},
        name="opened-tickets", daemon=True,
    ).start()  # fmt: skip


def _now() -> datetime:
    return datetime.now(UTC)
