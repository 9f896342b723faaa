"""people.toml, filled in with the credentials that administrators approved in the console.

Who is there already, and with which role, comes from what is published; somebody new has the role
of their console account. It is printed for a person to read, correct and draft: a row of the
database adds nobody by itself.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from appliance import settings
from appliance.people import Credential, People, Person
from appliance.publishing.content import fingerprint
from appliance.settings import convert
from hub.console.settings import ConsoleSettings
from hub.persist.database import Database
from hub.secrets import dsn_of
from hub.trust import HubTrust


def people_toml(config: Path) -> str:
    """The whole file as text."""
    chosen = settings.load(config, ConsoleSettings)
    with Database(dsn_of(chosen), size=1) as db, db.transaction() as work:
        found = work.one("has_credentials") or {}
        rows = work.all("approved_credentials") if found.get("has") else []
        known = None
        if chosen.trust_root:
            known = HubTrust(chosen.trust_root).people(work, now=datetime.now(UTC))
    return written(with_enrolled(known or People(), rows))


def with_enrolled(known: People, rows: list[dict[str, Any]]) -> People:
    """These people, and what was approved for them or for somebody new."""
    persons = {one.name: one for one in known.persons}
    for row in rows:
        name = row["operator"]
        person = persons.get(name) or Person(name=name, role=row["role"] or "viewer")
        credential = _credential(row)
        if all(one.credential_id != credential.credential_id for one in person.credentials):
            person = msgspec.structs.replace(person, credentials=(*person.credentials, credential))
        persons[name] = person
    ordered = tuple(persons[name] for name in sorted(persons))
    return msgspec.structs.replace(known, persons=ordered)


def written(people: People) -> str:
    """People as people.toml."""
    lines = [
        f"rp_id = {_text(people.rp_id)}",
        f"origins = [{', '.join(_text(one) for one in people.origins)}]",
        f"password_only = {'true' if people.password_only else 'false'}",
        "",
        "[quorum]",
        *(f"{risk} = {count}" for risk, count in sorted(people.quorum.items())),
    ]
    for person in people.persons:
        lines += ["", "[[person]]", f"name = {_text(person.name)}", f"role = {_text(person.role)}"]
        for one in person.credentials:
            lines += _of_credential(one)
    return "\n".join(lines) + "\n"


def _of_credential(one: Credential) -> list[str]:
    return [
        "",
        f"# fingerprint {fingerprint(one)}",
        "[[person.credential]]",
        f"kind = {_text(str(one.__struct_config__.tag))}",
        f"credential_id = {_text(one.credential_id)}",
        f"public_key = {_text(one.public_key)}",
        f"label = {_text(one.label)}",
    ]


def _credential(row: dict[str, Any]) -> Credential:
    table = {name: row[name] for name in ("kind", "credential_id", "public_key", "label")}
    return convert(table, Credential, name=f"credential of {row['operator']}")  # type: ignore[arg-type]


def _text(value: str) -> str:
    """A TOML string; JSON's escapes are TOML's, and nothing else is left unescaped."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
