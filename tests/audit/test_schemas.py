"""Every type has a schema, and what the schemas say fits what is written."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from audit.entry import TYPES
from tests.audit.builders import INCIDENT

FOLDER = Path(__file__).parents[2] / "audit" / "schemas"
DIGEST = "ab" * 32

BODIES: dict[str, dict[str, Any]] = {
    "witness.refuse": {"node": "h1", "accepted_note": "a", "refused_note": None, "reason": "b"},
    "witness.key": {"node": "h1", "vkey": "h1+00000000+BA==", "before": None},
    "witness.clear": {"node": "h1", "size": 12},
    "log.open": {"vkey": "log+00000000+AQ==", "format": 1},
    "log.resume": {"size": 17, "version": "0.1.0"},
    "key.epochs": {
        "sequence": 2,
        "list_digest": DIGEST,
        "root_vkey": "log/root+00000000+AQ==",
        "epochs": 24,
        "revoked": [3],
    },
    "key.rotate": {
        "old_vkey": "log+00000000+AQ==",
        "new_vkey": "log+00000001+AQ==",
        "old_epoch": 3,
        "epoch": 4,
        "reason": "the epoch ends",
    },
    "node.drop": {"node": "web1.example", "count": 7},
    "log.recovery": {"length": 17, "sha256": DIGEST},
    "time.status": {"monotonic_ms": 5, "synchronized": True, "offset_us": -12, "source": "chrony"},
    "incident.open": {
        "finding_id": INCIDENT,
        "node": "web1.example",
        "condition": "disk_full",
        "subject": "/var",
        "severity": "critical",
    },
    "incident.state": {"from": "open", "to": "reasoning", "reason": ""},
    "incident.close": {"state": "resolved", "entries": 12},
    "plan.proposed": {
        "plan_id": INCIDENT,
        "origin": "model",
        "model_name": "demo",
        "model_sha256": DIGEST,
        "seed": 7,
        "parameters": {"temperature_percent": 0},
        "prompt_digest": DIGEST,
        "output_digest": None,
        "diagnosis": "a log grew",
    },
    "plan.verdict": {
        "plan_id": INCIDENT,
        "ruling": "block",
        "policy_digest": DIGEST,
        "commands": [
            {
                "index": 0,
                "text": "rm -rf /",
                "ruling": "block",
                "rule": "rules.d/20-disk.toml:14",
                "program_digest": None,
            }
        ],
    },
    "approval.grant": {
        "approval_id": INCIDENT,
        "plan_id": INCIDENT,
        "shown_digest": DIGEST,
        "mode": "dry_run",
        "comment": "",
        "not_after": "2026-03-01T12:15:00Z",
        "approval_digest": DIGEST,
        "credential_id": "AbC_-0",
        "signature_digest": DIGEST,
        "given": 1,
        "needed": 2,
    },
    "credential.request": {
        "credential_id": "AbC_-0",
        "operator": "maria",
        "fingerprint": DIGEST,
        "kind": "webauthn",
        "label": "blue key",
    },
    "credential.approve": {"credential_id": DIGEST, "operator": "maria", "fingerprint": DIGEST},
    "credential.revoke": {"credential_id": DIGEST, "operator": "maria", "fingerprint": DIGEST},
    "manual.step": {
        "plan_id": INCIDENT,
        "index": 0,
        "command": "reboot",
        "outcome": "worked",
        "output": "it is up again",
    },
    "approval.deny": {"plan_id": INCIDENT, "comment": "not at noon"},
    "approval.expire": {"plan_id": INCIDENT},
    "exec.order": {
        "order_id": INCIDENT,
        "order_digest": DIGEST,
        "node": "web1.example",
        "mode": "live",
        "not_after": None,
    },
    "exec.result": {
        "order_id": INCIDENT,
        "report_id": INCIDENT,
        "outcome": "failed",
        "mode": "live",
        "steps": [{"index": 0, "exit_status": None, "output_sha256": DIGEST}],
    },
    "exec.refuse": {"order_id": INCIDENT, "step": "3", "reason": "it names another host"},
}


def schema_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return loaded


def test_there_is_one_schema_for_each_type_and_none_besides() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == TYPES


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_schema_is_one_names_its_type_and_says_what_it_is_for(name: str) -> None:
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == name
    assert schema["description"].endswith(".")
    assert not jsonschema.Draft202012Validator(schema).is_valid([])


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_body_as_it_is_written_fits_and_without_a_required_key_it_does_not(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(name))
    validator.validate(BODIES[name])
    for key in schema_of(name)["required"]:
        without = {other: value for other, value in BODIES[name].items() if other != key}
        assert not validator.is_valid(without), key
    for key in BODIES[name]:
        assert not validator.is_valid({**BODIES[name], key: ["another type"]}) or key == "steps"
