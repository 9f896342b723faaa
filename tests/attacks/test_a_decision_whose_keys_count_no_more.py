"""Two administrators decided, but the key was revoked, or Vault did not sign: no node moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.decided import Offered
from agent.log_proof import LogProof
from appliance import records
from audit import proof
from audit.checkpoint import parse_text
from audit.counting import parse_keys
from audit.merkle import Subtrees
from audit.note import Signer, sign, split_note
from tests.attacks.forge import ORIGIN, Forge, _leaf
from tests.attacks.test_a_decision_to_go_on import ADMINS, SetBack
from tests.audit.builders import signer

SECOND = signer(79, name=f"{ORIGIN}/second")
NEXT = signer(80, name=ORIGIN)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SetBack]:
    one = SetBack(Forge(tmp_path))
    one.record(one.signed(one.statement(), *ADMINS))
    yield one
    one.log.close()
    one.forge.log.close()


def start(site: SetBack) -> int:
    """How many entries the decision goes on from: those before it."""
    return site.log.size - 1


def believe(site: SetBack, lines: str) -> None:
    text = lines.format(
        mine=site.forge.signer.vkey, second=SECOND.vkey, next=NEXT.vkey,
        start=start(site), after=start(site) + 1,
    )  # fmt: skip
    site.forge.trust.audit_keys = parse_keys(text)


def bring(site: SetBack, *signers: Signer) -> str:
    """Bring the decision under the newest checkpoint, signed by these; why it was refused."""
    text = split_note(site.log.checkpoint())[0]
    note, seq = sign(text, *signers), site.log.size - 1
    offered = Offered(
        entry=site.log.line(seq).decode(),
        proof=proof.make(seq, note, Subtrees(lambda at: _leaf(site.log, at))),
    )
    path = site.forge.proof_to(site.log.size, log=site.log, seen_size=start(site)).path
    said = LogProof(path=path, decision=records.to_json(offered))
    return site.forge.executor.witness(note, said).refusal


@pytest.mark.parametrize(
    ("lines", "by", "because"),
    [
        ("{mine} upto {start}\n{next}", "mine", "was revoked beyond"),
        ("{mine}\nsecond {second} {after}", "mine", "lacks a signature"),
        ("{mine} upto 1\n{next}", "mine", "was revoked beyond 1 entries"),
        ("{mine}\nsecond {second}", "mine", "lacks a signature"),
        ("{mine} with {second}", "mine", "lacks a signature"),
        ("{mine} upto 1\n{next}", "next", "was revoked beyond 1 entries"),
        ("{mine}\nsecond {second}", "both", "lacks a signature"),
        ("{mine} with {second}", "both", "lacks a signature"),
    ],
    ids=[
        "only the newest is under a revoked key", "only the newest is without Vault's",
        "the log's newest is under a revoked key", "the newest without Vault's signature",
        "the newest without its epoch's second", "only its start is under a revoked key",
        "only its start is without Vault's", "only its start is without its epoch's second",
    ],
)  # fmt: skip
def test_a_decision_under_keys_that_do_not_count_moves_no_node(
    site: SetBack, lines: str, by: str, because: str
) -> None:
    believe(site, lines)
    mine = site.forge.signer
    before = site.memory()
    signers = {"mine": [mine], "next": [NEXT], "both": [mine, SECOND]}[by]
    assert because in bring(site, *signers)
    assert site.memory() == before


def test_a_history_that_a_revoked_key_signed_may_be_left(site: SetBack) -> None:
    """It was stolen, its history is what the administrators give up, and a new key goes on."""
    assert parse_text(split_note(site.seen)[0]).size > start(site)
    believe(site, "{mine} upto {start}\n{next}")
    assert bring(site, NEXT) == ""
    assert site.forge.trust.seen is not None
    assert site.forge.trust.seen.size == site.log.size
