"""Advice about rules that work but could be better: too few examples, missing words.

Errors are found when a bundle is parsed; this is what a careful reviewer would say after that.
"""

from policy.rules import Bundle, CommandRule
from policy.verdict import Effect

MIN_EXAMPLES = 3  # of each kind: enough to show the usual call and the doors that stay shut


def advice(bundle: Bundle) -> list[str]:
    """One line for each thing worth changing, in the order of the files."""
    found = [
        line
        for command in sorted(bundle.commands.values(), key=lambda command: command.rule)
        for line in _about(command)
    ]
    both = sorted(name for name in bundle.commands if any(_always(bundle, name)))
    return found + [f"{bundle.commands[name].rule}: {name} is also forbidden" for name in both]


def _always(bundle: Bundle, name: str) -> list[bool]:
    return [not rule.words for rule in bundle.forbids.get(name, ())]


def _about(command: CommandRule) -> list[str]:
    found = []
    if len(command.allow) < MIN_EXAMPLES:
        found.append(f"{command.rule}: {command.name}: fewer than {MIN_EXAMPLES} allow examples")
    if len(command.deny) < MIN_EXAMPLES:
        found.append(f"{command.rule}: {command.name}: fewer than {MIN_EXAMPLES} deny examples")
    for form in command.forms:
        if form.effect > Effect.READ and not form.undo:
            found.append(f"{form.rule}: {command.name}: says nothing about undo")
        if form.effect is Effect.DESTROY and not {"risk"} & (form.own | command.own):
            found.append(f"{form.rule}: {command.name}: destroys, and says nothing about risk")
        if form.effect > Effect.READ and not form.hint:
            found.append(f"{form.rule}: {command.name}: has no hint for refusals")
    return found
