"""A database that notes every change of every table, and whether an entry was offered with it.

Triggers of the test's own stand on all tables there are, so that a new table or a new statement
is watched without being named here. What may change silently is named, with its reason.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema

from hub.persist.database import Database
from tests.hub.builders import outbox, sql

SCHEMAS = Path(__file__).parents[2] / "audit" / "schemas"

SILENT: dict[tuple[str, str], tuple[frozenset[str] | None, str]] = {
    ("heartbeat", "INSERT"): (None, "a sign of life every few seconds; it decides nothing later"),
    ("heartbeat", "UPDATE"): (None, "as above"),
    ("event", "INSERT"): (None, "remembers an id, so that a repeat is harmless"),
    ("event", "DELETE"): (None, "an event that was refused is not remembered"),
    ("node", "UPDATE"): (frozenset({"last_seen"}), "a stream that lives"),
    ("node_certificate", "UPDATE"): (frozenset({"last_seen"}), "the node came back with it"),
    ("incident", "UPDATE"): (frozenset({"lease_until"}), "a reasoner goes on thinking"),
    ("exec_order", "UPDATE"): (
        frozenset({"taken_at"}), "the node has the order; its report is the record",
    ),
    ("live_output", "INSERT"): (
        None, "a glimpse of a running command; the signed report is the record",
    ),
    ("live_output", "UPDATE"): (None, "as above"),
    ("outside_witness", "INSERT"): (None, "the settings name it: config.change says so"),
    ("outside_witness", "UPDATE"): (None, "where it stands; that it refuses is an entry"),
    ("outside_witness", "DELETE"): (None, "the settings name it no more: config.change"),
    ("outside_cosignature", "INSERT"): (None, "what a witness says of the log is beside the log"),
    ("outside_cosignature", "UPDATE"): (None, "the same again"),
    ("outside_cosignature", "DELETE"): (None, "old ones are of no use"),
    ("signin_session", "UPDATE"): (frozenset({"seen_at"}), "a click"),
    ("signin_failure", "INSERT"): (None, "a guess is counted before it is looked at"),
    ("signin_failure", "DELETE"): (None, "guesses that no longer count"),
}  # fmt: skip
"""Table and statement: which columns alone (all, when None) need no entry, and why."""

NOT_WATCHED = ("watched", "audit_entry", "audit_checkpoint")  # the log's own index

_INSTALL = """
CREATE TABLE watched (tx bigint, tab text, op text, cols text[]);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed text[] := '{}';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT coalesce(array_agg(n.key), '{}') INTO changed
        FROM jsonb_each(to_jsonb(NEW)) n JOIN jsonb_each(to_jsonb(OLD)) o USING (key)
        WHERE n.value IS DISTINCT FROM o.value;
        IF changed = '{}' THEN RETURN NULL; END IF;
    END IF;
    INSERT INTO watched VALUES (txid_current(), TG_TABLE_NAME, TG_OP, changed);
    RETURN NULL;
END $$;
"""


def install(db: Database) -> None:
    """Watch every table."""
    sql(db, _INSTALL)
    found = sql(
        db,
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        " AND tablename NOT LIKE %(mask)s AND NOT tablename = ANY (%(others)s)",
        mask="%yoyo%",
        others=list(NOT_WATCHED),
    )
    assert len(found) > 10
    for row in found:
        name = row["tablename"]
        sql(
            db,
            f'CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON "{name}"'
            " FOR EACH ROW EXECUTE FUNCTION watch()",
        )


def forget(db: Database) -> None:
    """What was changed so far was the test's own preparation."""
    sql(db, "TRUNCATE watched")
    sql(db, "DELETE FROM audit_outbox")
    sql(db, "TRUNCATE watched")


def changes(db: Database) -> list[dict[str, Any]]:
    """Everything that changed, but the outbox."""
    return sql(db, "SELECT * FROM watched WHERE tab <> 'audit_outbox'")


def silent(db: Database) -> list[str]:
    """Changes that were committed without an entry, and are not on the list above."""
    rows = sql(
        db,
        "SELECT * FROM watched w WHERE tab <> 'audit_outbox' AND NOT EXISTS ("
        " SELECT FROM watched o WHERE o.tx = w.tx AND o.tab = 'audit_outbox' AND o.op = 'INSERT')",
    )
    found = []
    for row in rows:
        columns, _ = SILENT.get((row["tab"], row["op"]), (frozenset(), ""))
        if columns is not None and (not columns or not set(row["cols"]) <= columns):
            found.append(f"{row['op']} {row['tab']} {sorted(row['cols'])}")
    return sorted(set(found))


def misshapen(db: Database) -> list[str]:
    """Entries that wait whose body is not what the schema of their type says."""
    found = []
    for row in outbox(db):
        schema = json.loads((SCHEMAS / f"{row['type']}.json").read_text())
        errors = jsonschema.Draft202012Validator(schema).iter_errors(row["body"])
        found += [f"{row['type']}: {error.message}" for error in errors]
    return sorted(set(found))


def types(db: Database) -> list[str]:
    """The types of the entries that wait."""
    return [row["type"] for row in outbox(db)]
