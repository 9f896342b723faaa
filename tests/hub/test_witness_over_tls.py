"""A witness elsewhere speaks TLS: the hub asks the one that its `witness_ca` vouches for alone."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.channel import Identity
from appliance.errors import SettingsError
from hub.log_tree import LogTree
from hub.outside_witness import Outside, client
from hub.outside_witnesses import Submitter
from hub.persist.database import Database
from hub.witnesses import Witnesses
from tests.audit.witnessing import WitnessProcess
from tests.hub.notary import InProcessNotary
from tests.hub.test_outside_witnesses import Site, tell
from tests.identity.authority import SERVER, AnyAuthority

pytestmark = pytest.mark.postgres


@pytest.fixture
def authority() -> AnyAuthority:
    return AnyAuthority("the auditor's root")


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Iterator[Site]:
    """The witness is not started yet: its certificate is each test's own."""
    notary = InProcessNotary(tmp_path, database)
    notary.write(3)
    (tmp_path / "elsewhere").mkdir()
    witness = WitnessProcess(tmp_path / "elsewhere", logs=(notary.signer.vkey,))
    one = Site(database, notary, witness)
    yield one
    one.http.close()
    witness.close()
    notary.close()


def start(site: Site, shown: Identity) -> None:
    site.witness.settings = (
        f'certificate = "{shown.certificate}"\ncertificate_key = "{shown.key}"\n'
    )
    site.witness.write(port=0)
    site.witness.start()


def turn(site: Site, ca: Path | None, *, scheme: str = "https", host: str = "127.0.0.1") -> bool:
    """One request of the hub, with the `witness_ca` of its settings."""
    one = Outside(key=site.witness.key, url=f"{scheme}://{host}:{site.witness.port}")
    tell(site.db, one)
    witnesses = Witnesses(site.db, LogTree(), site.notary.signer.vkey)
    submitter = Submitter(db=site.db, witnesses=witnesses, one=one, ca=ca)
    with client(ca) as http:
        return submitter.turn(http)


def is_refused(site: Site, because: str) -> None:
    assert site.cosigned() == []
    assert site.witness.memory() == {}
    assert because in site.row()["trouble"]
    assert site.entries() == []  # it is no alarm: nobody has said that the log forked


def test_a_witness_under_the_right_ca_cosigns(
    site: Site, authority: AnyAuthority, tmp_path: Path
) -> None:
    shown = authority.issue(tmp_path / "witness", usage=(SERVER,))
    start(site, shown)
    assert turn(site, shown.ca)
    assert site.cosigned() == [site.notary.notary.log.size]
    assert site.row()["trouble"] == ""


@pytest.mark.parametrize("ours", ["another CA", "public CAs"])
def test_a_witness_under_another_ca_is_told_nothing(
    site: Site, authority: AnyAuthority, tmp_path: Path, ours: str
) -> None:
    start(site, authority.issue(tmp_path / "witness", usage=(SERVER,)))
    other = AnyAuthority("the auditor's root").issue(tmp_path / "other").ca
    assert not turn(site, other if ours == "another CA" else None)
    is_refused(site, "CERTIFICATE_VERIFY_FAILED")


def test_a_witness_with_another_name_or_a_certificate_that_ended_is_told_nothing(
    site: Site, authority: AnyAuthority, tmp_path: Path
) -> None:
    ended = authority.issue(
        tmp_path / "ended", usage=(SERVER,), starts=timedelta(days=-2), ends=timedelta(days=-1)
    )
    start(site, ended)
    assert not turn(site, ended.ca)
    is_refused(site, "certificate has expired")
    site.witness.stop()
    named = authority.issue(tmp_path / "named", usage=(SERVER,), dns="elsewhere.example")
    start(site, named)
    assert not turn(site, named.ca, host="localhost")  # the address is right, the name is not
    is_refused(site, "Hostname mismatch")


def test_plain_http_to_a_witness_that_speaks_tls_is_refused_and_it_goes_on(
    site: Site, authority: AnyAuthority, tmp_path: Path
) -> None:
    shown = authority.issue(tmp_path / "witness", usage=(SERVER,))
    start(site, shown)
    assert not turn(site, shown.ca, scheme="http")
    is_refused(site, "it does not answer: ")
    assert turn(site, shown.ca)
    assert site.cosigned() == [site.notary.notary.log.size]


def test_tls_to_a_witness_that_speaks_plain_http_is_refused(
    site: Site, authority: AnyAuthority, tmp_path: Path
) -> None:
    site.witness.start()
    assert not turn(site, authority.issue(tmp_path / "unused").ca)
    is_refused(site, "SSL")


def test_a_ca_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    for name, text in (("absent.pem", None), ("broken.pem", "no certificate")):
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        with pytest.raises(SettingsError, match=name):
            client(path)
