"""Make the table of events in audit/README.md from the schemas and from the code that writes them.

python -m tests.documents.events --write
"""

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from audit.entry import TYPES

ROOT = Path(__file__).parents[2]
README = ROOT / "audit" / "README.md"
ROOMS = ("hub", "appliance", "agent", "vault")
HEADING = "## Every event\n"
INTRODUCTION = (
    "Made from the schemas and the code (`python -m tests.documents.events --write`). That nothing"
    " changes without one of\nthese is what `tests/completeness/` walks the product for.\n"
)
NOT_YET = "nothing yet"


def written_in() -> dict[str, list[str]]:
    """For each type the files that offer or record entries of it."""
    found: dict[str, set[str]] = defaultdict(set)
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for name in _named(ast.parse(path.read_text())):
                found[name].add(path.relative_to(ROOT).as_posix())
    return {name: sorted(files) for name, files in found.items()}


def table() -> str:
    """The Markdown table."""
    files = written_in()
    lines = ["| type | says | written by |", "|---|---|---|"]
    for name in sorted(TYPES):
        schema = json.loads((ROOT / "audit" / "schemas" / f"{name}.json").read_text())
        where = ", ".join(f"[{one}](../{one})" for one in files.get(name, [])) or NOT_YET
        lines.append(f"| `{name}` | {schema['description']} | {where} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The page with the table as the code says it."""
    made = f"{HEADING}\n{INTRODUCTION}\n{table()}\n\n"
    pattern = rf"(?ms)^{re.escape(HEADING)}.*?(?=^## )"
    return re.sub(pattern, lambda _: made, text)


def _named(tree: ast.AST) -> Iterator[str]:
    """Types that are said to a function, or under the key `type`; those compared are not."""
    for node in ast.walk(tree):
        said: list[ast.expr] = []
        if isinstance(node, ast.Call):
            said = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Dict):
            keys = zip(node.keys, node.values, strict=True)
            said = [v for k, v in keys if isinstance(k, ast.Constant) and k.value == "type"]
        for one in said:
            if isinstance(one, ast.Constant) and one.value in TYPES:
                yield str(one.value)


if __name__ == "__main__":
    changed = with_table(README.read_text())
    if "--write" in sys.argv:
        README.write_text(changed)
    else:
        sys.stdout.write(table() + "\n")
