"""The hub's side of witnessing, on a real database, against nodes that really verify."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import LogForkedError, LogStaleError
from agent.log_proof import LogProof, Standing, read
from agent.witness import Witness
from appliance import records
from appliance.envelope import ORDER_TYPE, open_sealed
from appliance.people import Keys
from appliance.records import Mode, Order
from appliance.wire import sentinel_pb2 as pb
from audit import proof
from audit.cosignature import cosigned_by, parse_witness
from audit.note import parse_vkey
from hub.approve import Answerer, approve
from hub.dispatch import OrderDesk
from hub.log_tree import LogTree
from hub.persist.database import Database
from hub.persist.status import beat
from hub.pipeline import Pipeline
from hub.validate import Gate
from hub.witnesses import Witnesses
from policy.bundle import SHIPPED_RULES, parse_bundle, read_folder
from policy.evaluate import EchoReader
from tests.hub.builders import (
    NODE,
    NOW,
    OPERATORS,
    PID,
    add_node,
    outbox,
    proposed,
    publish,
    sql,
    state_of,
)
from tests.hub.notary import InProcessNotary

pytestmark = pytest.mark.postgres


@pytest.fixture
def notary(tmp_path: Path, database: Database) -> Iterator[InProcessNotary]:
    one = InProcessNotary(tmp_path, database)
    yield one
    one.close()


@pytest.fixture
def hub(database: Database, notary: InProcessNotary, monkeypatch: pytest.MonkeyPatch) -> "Hub":
    monkeypatch.setattr("hub.witnesses.ROUND_EVERY_S", 0.0)
    monkeypatch.setattr("hub.witnesses.ROUND_PER_NODE_S", 0.0)
    return Hub(database, notary)


class Hub:
    """The hub's witnesses, spoken to as the streams do."""

    def __init__(self, db: Database, notary: InProcessNotary) -> None:
        self.db = db
        self.witnesses = Witnesses(db, LogTree(), notary.signer.vkey)

    def hears(self, node: "Node", **changes: Any) -> None:
        message = node.says()
        for name, value in changes.items():
            setattr(message, name, value)
        asyncio.run(self.witnesses.heard(node.name, message))

    def offers(self, *nodes: "Node") -> dict[str, pb.LogAdvance]:
        return dict(asyncio.run(self.witnesses.offers([node.name for node in nodes])))

    def proof(self, node: "Node", size: int) -> LogProof:
        log_from, path = asyncio.run(self.witnesses.proof(node.name, size))
        return LogProof(log_from=log_from, path=path)

    def round(self, *nodes: "Node") -> None:
        """Offer, let the nodes answer, hear them."""
        offers = self.offers(*nodes)
        for node in nodes:
            if node.name in offers:
                node.is_offered(offers[node.name])
            self.hears(node)

    def forks(self) -> list[dict[str, Any]]:
        with self.db.transaction() as work:
            return work.all("view_forks")

    def entries(self, kind: str) -> list[dict[str, Any]]:
        logged = sql(self.db, f"SELECT line::jsonb -> 'body' AS body FROM audit_entry "
                              f"WHERE type = '{kind}' ORDER BY seq")  # fmt: skip
        waiting = [row["body"] for row in outbox(self.db) if row["type"] == kind]
        return [*(row["body"] for row in logged), *waiting]


class Node:
    """A node's own memory of the log, as the executor keeps it."""

    def __init__(self, folder: Path, notary: InProcessNotary, name: str = NODE) -> None:
        (folder / name).mkdir()
        self.name = name
        self.vkey = parse_vkey(notary.signer.vkey)
        self.witness = Witness(file=folder / name / "checkpoint.json", node=name)

    def is_offered(self, advance: pb.LogAdvance) -> None:
        proof = read(advance.log_from, advance.consistency)
        assert proof is not None
        try:
            self.witness.accept(advance.note, proof, vkeys=[self.vkey])
        except (LogStaleError, LogForkedError):
            return

    def stands(self) -> Standing:
        return self.witness.standing(vkeys=[self.vkey])

    def says(self) -> pb.LogSeen:
        one = self.stands()
        return pb.LogSeen(
            size=one.size,
            root=one.root,
            cosignature=one.cosignature,
            refusal=one.refusal,
            kept=one.kept,
            vkey=one.vkey,
            fork=one.fork,
        )


@pytest.fixture
def node(tmp_path: Path, notary: InProcessNotary, database: Database) -> Node:
    add_node(database)
    return Node(tmp_path, notary)


def cosignatures(db: Database) -> list[dict[str, Any]]:
    return sql(db, "SELECT * FROM audit_witness ORDER BY node, size")


def test_a_node_is_taken_along_the_log_from_wherever_it_stands(
    hub: Hub, notary: InProcessNotary, node: Node, database: Database
) -> None:
    notary.write(5)
    assert hub.offers(node) == {}  # it has not said yet where it stands
    hub.hears(node)
    for count in (1, 7, 300, 2):
        size = notary.write(count)
        hub.round(node)
        assert node.stands().size == size
        assert node.stands().fork == ""
    rows = cosignatures(database)
    assert rows[-1]["size"] == size
    assert sql(database, "SELECT seen_size, witness_vkey FROM node")[0] == {
        "seen_size": size,
        "witness_vkey": node.stands().vkey,
    }
    assert hub.forks() == []


def test_what_nodes_say_makes_no_entries_that_would_make_them_say_more(
    hub: Hub, notary: InProcessNotary, node: Node
) -> None:
    hub.hears(node)  # its key is pinned: the only entry there is
    size = notary.write(3)
    for _ in range(5):
        hub.round(node)
    assert notary.write() == size
    assert hub.offers(node) == {}
    assert len(hub.entries("witness.key")) == 1


def test_one_checkpoint_makes_the_round_of_all_nodes(  # noqa: PLR0917 - fixtures
    hub: Hub, notary: InProcessNotary, node: Node, tmp_path: Path, database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add_node(database, "h2.test")
    other = Node(tmp_path, notary, "h2.test")
    for one in (node, other):
        hub.hears(one)
    size = notary.write(4)
    first = hub.offers(node)[NODE]
    monkeypatch.setattr("hub.witnesses.ROUND_EVERY_S", 3600.0)
    notary.write(4)  # the log goes on while the round is under way
    second = hub.offers(node, other)["h2.test"]
    assert first.note == second.note
    for one, advance in ((node, first), (other, second)):
        one.is_offered(advance)
        hub.hears(one)
    assert {row["size"] for row in cosignatures(database)} == {size}
    assert len(cosignatures(database)) == 2


@pytest.mark.parametrize("cheat", ["garbage", "of another size", "another node's key", "no key"])
def test_a_cosignature_that_does_not_verify_counts_for_nothing(  # noqa: PLR0917 - fixtures
    hub: Hub, notary: InProcessNotary, node: Node, database: Database, tmp_path: Path, cheat: str
) -> None:
    hub.hears(node)
    notary.write(4)
    hub.round(node)
    good = cosignatures(database)
    add_node(database, "h2.test")
    other = Node(tmp_path, notary, "h2.test")
    old = node.says().cosignature
    notary.write(4)
    offer = hub.offers(node)[NODE]
    node.is_offered(offer)
    changes = {
        "garbage": {"cosignature": "\u2014 h1.test AAAA"},
        "of another size": {"cosignature": old},
        "another node's key": {"vkey": other.says().vkey, "cosignature": other.says().cosignature},
        "no key": {"vkey": "nonsense", "cosignature": "nonsense"},
    }[cheat]
    hub.hears(node, **changes)
    assert cosignatures(database) == good
    assert sql(database, "SELECT witness_vkey FROM node WHERE name = 'h1.test'") == [
        {"witness_vkey": node.says().vkey}
    ]


def test_another_key_of_a_node_is_shown_and_not_believed(
    hub: Hub, notary: InProcessNotary, node: Node, database: Database
) -> None:
    hub.hears(node)
    notary.write(4)
    hub.round(node)
    pinned, good = node.says().vkey, cosignatures(database)
    (node.witness.file.parent / "witness.key").unlink()
    node.witness._key = None
    notary.write(4)
    hub.round(node)
    assert cosignatures(database) == good
    (row,) = sql(database, "SELECT witness_vkey, witness_other FROM node")
    assert row == {"witness_vkey": pinned, "witness_other": node.says().vkey}


def test_a_hub_that_was_set_back_hears_it_from_the_first_node_that_speaks(
    hub: Hub, notary: InProcessNotary, node: Node, database: Database
) -> None:
    size = notary.write(5)
    hub.hears(node)
    notary.backup()
    ahead = notary.write(6)
    hub.round(node)
    assert node.stands().size == ahead
    notary.set_back(size)
    hub.hears(node)
    (alarm,) = hub.forks()
    assert f"it has accepted {ahead} entries of the log, this hub has {size}" in alarm["reason"]
    notary.write()  # the alarm itself is an entry
    before = node.stands()
    hub.round(node)  # the node is offered what this hub has, and refuses
    assert node.stands().size == ahead
    assert node.stands().root == before.root
    assert "the log had" in node.stands().fork
    (alarm,) = hub.forks()
    assert alarm["evidence"]
    assert "the log had" in alarm["reason"]
    refusals = hub.entries("witness.refuse")
    assert len(refusals) == 2
    assert refusals[-1]["accepted_note"] == before.kept[:-1]
    assert refusals[-1]["refused_note"]
    notary.write(3)
    for _ in range(3):  # one alarm is enough: neither offers nor entries go on for ever
        assert hub.offers(node) == {}
        hub.hears(node)
    assert len(hub.entries("witness.refuse")) == 2


def test_a_hub_that_was_set_back_and_went_on_is_found_by_the_root(
    hub: Hub, notary: InProcessNotary, node: Node
) -> None:
    size = notary.write(5)
    hub.hears(node)
    notary.backup()
    notary.write(6)
    hub.round(node)
    notary.set_back(size)
    notary.write(30)
    hub.hears(node)
    (alarm,) = hub.forks()
    assert "are not those of this hub" in alarm["reason"]
    hub.round(node)
    assert "does not extend" in node.stands().fork
    assert hub.forks()[0]["evidence"]


def test_a_node_that_a_person_set_right_ends_the_alarm(
    hub: Hub, notary: InProcessNotary, node: Node
) -> None:
    notary.write(5)
    hub.hears(node)
    hub.round(node)
    hub.hears(node, fork="two histories")
    assert hub.forks()
    assert hub.offers(node) == {}
    hub.hears(node)
    assert hub.forks() == []
    assert len(hub.entries("witness.clear")) == 1


def test_evidence_that_our_key_did_not_sign_is_not_kept(
    hub: Hub, notary: InProcessNotary, node: Node
) -> None:
    notary.write(5)
    hub.hears(node)
    hub.round(node)
    forged = node.says().kept.replace("\n5\n", "\n9\n").replace("\n6\n", "\n9\n")
    hub.hears(node, fork="it says so", kept=forged + "x" * 10)
    (alarm,) = hub.forks()
    assert not alarm["evidence"]
    hub.hears(node, fork="it says so", kept="\ud7ff" * 200_000)
    assert not hub.forks()[0]["evidence"]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 2**63, "root": "ab" * 32},
        {"size": 5, "root": "zz"},
        {"size": 5, "root": ""},
        {"size": 0, "root": "ab" * 32},
        {"fork": "x" * 100_000},
        {"refusal": "\x1b[31m"},
        {"kept": "\n\n" * 1000},
    ],
)
def test_nonsense_from_a_node_is_stored_as_little_as_it_is_worth(
    hub: Hub, notary: InProcessNotary, node: Node, database: Database, changes: dict[str, Any]
) -> None:
    notary.write(5)
    hub.hears(node, **changes)
    (row,) = sql(database, "SELECT seen_size, seen_root FROM node")
    assert row["seen_size"] in (0, node.stands().size)
    for alarm in hub.forks():
        assert len(alarm["reason"]) < 1000
        assert "\x1b" not in alarm["reason"]


def test_the_proof_of_an_order_leads_either_way(
    hub: Hub, notary: InProcessNotary, node: Node, database: Database
) -> None:
    sizes = [notary.write(count) for count in (3, 5, 9)]
    hub.hears(node)
    notes = {
        row["size"]: row["note"] for row in sql(database, "SELECT size, note FROM audit_checkpoint")
    }
    for size in (sizes[1], sizes[0], sizes[2], sizes[1], sizes[0]):
        node.witness.accept(notes[size], hub.proof(node, size), vkeys=[node.vkey])
        hub.hears(node)
    assert node.stands().size == sizes[2]
    assert node.stands().fork == ""


def test_before_a_node_has_spoken_the_database_says_where_it_stood(
    hub: Hub, notary: InProcessNotary, node: Node, database: Database
) -> None:
    notary.write(5)
    hub.hears(node)
    hub.round(node)
    size = notary.write(5)
    restarted = Hub(database, notary)
    assert restarted.proof(node, size).log_from == node.stands().size
    restarted.witnesses.stale(NODE, 0)
    assert restarted.proof(node, size) == LogProof()


def test_a_node_that_adds_to_its_evidence_for_ever_makes_two_entries(
    hub: Hub, notary: InProcessNotary, node: Node
) -> None:
    notary.write(5)
    hub.hears(node)
    hub.round(node)
    note = node.says().kept[:-1]
    for count in range(1, 20):
        more = "".join(f"\u2014 x{number} AAAAAAAA\n" for number in range(count))
        hub.hears(node, fork="it forked", kept=f"{note}{more}\n{note}{more}\n")
    assert len(hub.entries("witness.refuse")) == 1
    assert hub.forks()[0]["evidence"]


# Orders where a quorum is demanded.


@pytest.fixture
def pipeline(
    database: Database, notary: InProcessNotary, monkeypatch: pytest.MonkeyPatch
) -> Pipeline:
    beat(database, part="notary", instance="n1", detail={})
    monkeypatch.setattr("hub.persist.status.NOTARY_SILENT", timedelta(days=100_000))
    monkeypatch.setattr("hub.persist.status.OUTBOX_LATE", timedelta(days=100_000))
    return Pipeline(
        db=database,
        gate=Gate(bundle=parse_bundle(read_folder(SHIPPED_RULES)), second=EchoReader()),
        desk=OrderDesk(
            key=Ed25519PrivateKey.generate(),
            vkey=notary.signer.vkey,
            valid_for=timedelta(minutes=5),
            command_timeout_s=5,
        ),
        mode=Mode.LIVE,
        answer_within=timedelta(hours=1),
        report_within=timedelta(minutes=10),
    )


def approved(database: Database, pipeline: Pipeline) -> str:
    publish(database)
    incident_id, _ = proposed(database, f"kill -TERM {PID}")
    pipeline.turn(NOW)
    with database.transaction() as work:
        row = work.one("lock_judgement", incident_id=incident_id)
    assert row is not None
    approve(
        database,
        incident_id=incident_id,
        who=Answerer(name="operator-1", role="operator", session="s1"),
        shown_digest=str(row["shown_digest"]),
        comment="",
        now=NOW,
        signature=OPERATORS[0].sign(str(row["shown_digest"])),
    )
    return incident_id


def order_of(database: Database, pipeline: Pipeline) -> Order:
    (row,) = sql(database, "SELECT envelope, log_size FROM exec_order")
    payload = open_sealed(
        bytes(row["envelope"]), payload_type=ORDER_TYPE, key=pipeline.desk.key.public_key()
    )
    order = records.from_json(payload, Order)
    proven = proof.verify(
        order.approvals[0].proof, order.approvals[0].entry.encode(), pipeline.desk.vkey
    )
    assert proven.checkpoint.size == row["log_size"]
    return order


def test_without_a_quorum_an_order_leaves_under_the_newest_checkpoint(
    database: Database, pipeline: Pipeline, notary: InProcessNotary
) -> None:
    incident_id = approved(database, pipeline)
    size = notary.write(2)
    pipeline.turn(NOW)
    assert state_of(database, incident_id) == "dispatched"
    assert order_of(database, pipeline)
    assert sql(database, "SELECT log_size FROM exec_order") == [{"log_size": size}]


def test_an_order_waits_until_enough_witnesses_have_seen_its_approval(
    database: Database, pipeline: Pipeline, notary: InProcessNotary, hub: Hub, tmp_path: Path
) -> None:
    nodes = []
    for name in ("w1.test", "w2.test", "w3.test"):
        add_node(database, name)
        nodes.append(Node(tmp_path, notary, name))
        hub.hears(nodes[-1])
    keys = tuple(parse_witness(one.stands().vkey) for one in nodes)
    pipeline.desk.take_keys(
        Keys(
            order_keys=("",),
            audit_vkeys=(notary.signer.vkey,),
            witness_vkeys=tuple(map(str, keys)),
            witness_quorum=2,
        )
    )
    notary.write(2)
    hub.round(*nodes)  # all have cosigned, but from before the approval
    incident_id = approved(database, pipeline)
    notary.write()
    pipeline.turn(NOW)
    assert state_of(database, incident_id) == "approved"
    hub.round(nodes[0])
    pipeline.turn(NOW)
    assert state_of(database, incident_id) == "approved"
    hub.round(nodes[2])
    pipeline.turn(NOW)
    assert state_of(database, incident_id) == "dispatched"
    note = proof.parse(order_of(database, pipeline).approvals[0].proof).note
    assert {one.witness.name for one in cosigned_by(note, keys)} == {"w1.test", "w3.test"}


def test_cosignatures_of_nodes_that_are_no_witnesses_let_no_order_leave(
    database: Database, pipeline: Pipeline, notary: InProcessNotary, hub: Hub, tmp_path: Path
) -> None:
    nodes: list[Node] = []
    for name in ("w1.test", "w2.test", "x1.test", "x2.test"):
        add_node(database, name)
        nodes.append(Node(tmp_path, notary, name))
        hub.hears(nodes[-1])
    keys = tuple(parse_witness(one.stands().vkey) for one in nodes[:2])
    pipeline.desk.witness_vkeys, pipeline.desk.witness_quorum = keys, 2
    incident_id = approved(database, pipeline)
    notary.write()
    hub.round(nodes[0], *nodes[2:])
    pipeline.turn(NOW)
    assert state_of(database, incident_id) == "approved"


def test_a_database_set_back_under_a_running_hub_is_read_anew(
    hub: Hub, notary: InProcessNotary, node: Node
) -> None:
    size = notary.write(5)
    notary.backup()
    notary.write(6)
    hub.hears(node)
    hub.proof(node, size)
    hub.round(node)
    notary.set_back(size)
    notary.write(20)
    fresh: Callable[[], dict[str, pb.LogAdvance]] = lambda: hub.offers(node)  # noqa: E731
    hub.witnesses.stale(NODE, size)
    advance = fresh()[NODE]
    other = Witness(file=node.witness.file.parent / "other.json", node=NODE)
    rows = sql(hub.db, "SELECT note FROM audit_checkpoint WHERE size = %(size)s", size=size)
    other.accept(rows[0]["note"], LogProof(), vkeys=[node.vkey])
    proof_read = read(advance.log_from, advance.consistency)
    assert proof_read is not None
    other.accept(advance.note, proof_read, vkeys=[node.vkey])
