"""One command in several situations: how its verdict depends on evidence, role and window."""

from collections.abc import Sequence

import msgspec

from policy.evaluate import SecondReader, judge
from policy.facts import Facts
from policy.rules import Bundle
from policy.verdict import Verdict

NO_EVIDENCE = "no evidence"
EVIDENCE = "evidence"
WINDOW = "window open"


def situations(bundle: Bundle, facts: Facts) -> dict[str, Facts]:
    """Nothing known, the given facts, the same in a change window, and each role a rule names."""
    roles = sorted(
        {role for rule in bundle.commands.values() for form in rule.forms for role in form.roles}
    )
    found = {NO_EVIDENCE: Facts(), EVIDENCE: facts}
    found[WINDOW] = msgspec.structs.replace(facts, change_window_open=True)
    for role in roles:
        found[f"role {role}"] = msgspec.structs.replace(facts, role=role)
    return found


def matrix(
    commands: Sequence[str], *, bundle: Bundle, facts: Facts, second: SecondReader
) -> dict[str, dict[str, Verdict]]:
    """The verdict of each command in each situation."""
    columns = situations(bundle, facts)
    return {
        text: {
            name: judge(text, bundle=bundle, facts=known, second=second)
            for name, known in columns.items()
        }
        for text in commands
    }
