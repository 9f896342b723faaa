"""Make the settings tables of README.md from the records: key, default, and the field's comment.

python -m tests.documents.tables --write
"""

import ast
import inspect
import re
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec

from agent.executor_settings import ExecutorSettings
from agent.settings import AgentSettings
from audit.witness_command import WitnessSettings
from hub.console.settings import ConsoleSettings
from hub.reason.settings import ReasonSettings
from hub.settings import NotarySettings, ServeSettings

README = Path(__file__).parents[2] / "README.md"
FILES: dict[str, Any] = {
    "serve.toml": ServeSettings,
    "notary.toml": NotarySettings,
    "reason.toml": ReasonSettings,
    "console.toml": ConsoleSettings,
    "agent.toml": AgentSettings,
    "executor.toml": ExecutorSettings,
    "witness.toml": WitnessSettings,
}


def rows(kind: Any, prefix: str = "") -> list[tuple[str, str, str]]:
    """Key, default and meaning of each field, nested records flattened."""
    comments = _comments(kind)
    found: list[tuple[str, str, str]] = []
    for field in msgspec.structs.fields(kind):
        kinds = [one for one in get_args(field.type) or (field.type,) if isinstance(one, type)]
        nested = next((one for one in kinds if issubclass(one, msgspec.Struct)), None)
        if nested is not None:
            found += rows(nested, prefix=f"{prefix}{field.name}.")
        else:
            found.append((f"{prefix}{field.name}", _default(field), comments.get(field.name, "")))
    return found


def table(kind: Any) -> str:
    """The Markdown table of one settings record."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in rows(kind)]
    return "\n".join(lines)


def with_tables(text: str) -> str:
    """README's text with each table as the code says it."""
    for name, kind in FILES.items():
        heading = re.escape(f"### {name}\n")
        made = f"### {name}\n\n{table(kind)}\n\n"
        text = re.sub(rf"(?ms){heading}.*?(?=^##)", lambda _, made=made: made, text)
    return text


def _default(field: Any) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    if field.default is msgspec.NODEFAULT:
        return "required"
    value = field.default
    if value is None:
        return "none"
    return f"`{getattr(value, 'value', value)}`" if value not in ("", ()) else "empty"


def _comments(kind: Any) -> dict[str, str]:
    """The comment behind each field."""
    source = inspect.getsource(kind)
    lines = source.splitlines()
    found: dict[str, str] = {}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            line = lines[(node.end_lineno or 1) - 1]
            _, _, comment = line[node.end_col_offset or 0 :].partition("# ")
            found[node.target.id] = re.sub(r"noqa: \S+ - ", "", comment).replace("|", "\\|").strip()
    return found


if __name__ == "__main__":
    made = with_tables(README.read_text())
    if "--write" in sys.argv:
        README.write_text(made)
    sys.exit(0 if README.read_text() == made else 1)
