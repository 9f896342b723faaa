"""Two administrators decide that a log which was set back goes on, and may leave what was seen.

The decision is an entry, `log.fork`, of the history that goes on: it holds both signed notes and
both signatures, so that whoever reads it later can check it without asking anybody. Notary, nodes,
command and verifier judge it here, each by the list of people it believes itself. Nothing is
written or remembered here, and people's signatures are checked by who asks: a node does that in a
process of its own.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from appliance import records
from appliance.errors import RefusedError
from appliance.fork_statement import ForkStatement, SignedFork
from appliance.operator_claim import Claim, SignatureError, claim_of
from appliance.people import People
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.counting import Counting, opened
from audit.entry import Entry
from audit.errors import AuditRefusedError, ForkError
from audit.note import Vkey

NEEDED = 2  # people; no setting makes it one


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A statement whose notes were opened under the log's keys."""

    digest: str
    reason: str
    given_up: tuple[Checkpoint, ...]
    go_on: Checkpoint

    def gives_up(self, size: int, root: bytes) -> bool:
        """Whether this very checkpoint is one of those that may be left."""
        return any((one.size, one.root) == (size, root) for one in self.given_up)


def read(statement: ForkStatement, keys: Counting | Sequence[Vkey]) -> Decision:
    """The decision, if it is one about this log; raises `ForkError`. Nobody has signed it yet."""
    # 1. what is given up are checkpoints of this log, signed by its key: one that was revoked
    #    since, or that lacks a second, may be left, for it leads nowhere
    # 2. the one to go on from counts (`counting`)
    # 3. no checkpoint stands in it twice, and the one to go on from is not given up
    # 4. it says why, on one line
    vkeys = keys.vkeys if isinstance(keys, Counting) else keys
    try:
        given_up = tuple(open_checkpoint(note, vkeys) for note in statement.given_up)  # 1
        go_on = opened(statement.go_on, keys)  # 2
    except AuditRefusedError as error:
        raise ForkError(f"one of its notes is not the log's: {error}") from error
    every = [*given_up, go_on]
    if any(one.origin != statement.log or one.size == 0 for one in every):
        raise ForkError(f"one of its notes is not of {statement.log}, or of an empty log")
    if len({(one.size, one.root) for one in every}) != len(every):  # 3
        raise ForkError("it names the same checkpoint twice")
    if not statement.reason.strip() or not statement.reason.isprintable():  # 4
        raise ForkError("it must say why, on one line")
    return Decision(
        digest=statement.digest, reason=statement.reason, given_up=given_up, go_on=go_on
    )


def claims(signed: SignedFork, people: People | None) -> tuple[Claim, ...]:
    """Whose signatures have still to be checked; raises `ForkError` when they would not do anyway.

    Every signature must be good: one that is not is no company for two that are.
    """
    # 1. there is a list of people               4. nobody counts twice
    # 2. two of them signed                      5. no credential speaks for two people
    # 3. each is an administrator on the list, with a credential of their own
    if people is None:  # 1
        raise ForkError("there is no list of people who may decide this")
    names = [one.operator for one in signed.signatures]
    if len(names) < NEEDED:  # 2
        raise ForkError(f"{len(names)} of {NEEDED} administrators have signed")
    found = [_claim(signed, people, number) for number in range(len(names))]  # 3
    if len(set(names)) != len(names):  # 4
        raise ForkError("one person signed twice")
    if len({one.credential.public_key for one in found}) != len(found):  # 5
        raise ForkError("one key signed for two people")
    return tuple(found)


def body_of(signed: SignedFork, decision: Decision) -> dict[str, Any]:
    """The body of the entry: the decision, and beside it in plain fields what readers look for."""
    return {**_plain(signed, decision), "decision": msgspec.to_builtins(signed)}


def in_entry(entry: Entry, keys: Counting | Sequence[Vkey]) -> tuple[SignedFork, Decision]:
    """What an entry says was decided; raises `ForkError` when it does not say one thing."""
    # 1. it is the notary's entry of a decision     3. about this log
    # 2. with a whole statement in it               4. and the plain fields say the same
    if entry.type != "log.fork" or entry.actor.kind != "notary":  # 1
        raise ForkError("this is no entry of a decision")
    try:
        signed = records.from_builtins(entry.body.get("decision"), SignedFork)  # 2
    except RefusedError as error:
        raise ForkError(f"it holds no decision: {error}") from error
    decision = read(signed.statement, keys)  # 3
    if signed.statement.log != entry.log:
        raise ForkError(f"it decides about {signed.statement.log}, and is of {entry.log}")
    plain = _plain(signed, decision)
    if {key: entry.body.get(key) for key in plain} != plain:  # 4
        raise ForkError("its plain fields say something else than its decision")
    if decision.go_on.size > entry.seq:
        raise ForkError("it goes on from a checkpoint that comes after it")
    return signed, decision


def sentence(decision: Decision, people: Sequence[str]) -> str:
    """The decision for a person."""
    gone = " and ".join(f"{one.size} entries ({one.root.hex()[:16]}…)" for one in decision.given_up)
    return (
        f"{' and '.join(people)} decided that the log goes on from {decision.go_on.size} entries"
        f" ({decision.go_on.root.hex()[:16]}…); given up is a history of {gone} that was signed and"
        f" seen: {decision.reason}"
    )


def _plain(signed: SignedFork, decision: Decision) -> dict[str, Any]:
    longest = max(decision.given_up, key=lambda one: one.size)
    return {
        "people": [one.operator for one in signed.signatures],
        "reason": decision.reason,
        "old_size": longest.size,
        "old_root": longest.root.hex(),
        "new_size": decision.go_on.size,
        "new_root": decision.go_on.root.hex(),
        "statement": decision.digest,
    }


def _claim(signed: SignedFork, people: People, number: int) -> Claim:
    one = signed.signatures[number]
    person = people.person(one.operator)
    if person is None or person.role != "admin":
        raise ForkError(f"{one.operator} is no administrator in force")
    try:
        return claim_of(
            people,
            act="fork",
            operator=one.operator,
            digest=signed.statement.digest,
            signature=one.signature,
        )
    except SignatureError as error:
        raise ForkError(str(error)) from error
