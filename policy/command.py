"""Judge one command of a line: forbidden programs, the node's overlay, and the program's rule.

A program no rule knows is `review`. A word its rule does not fit is `review` where the program only
reads and `block` where it can act; what names a secret or protected place is `block` either way.
"""

import posixpath

import msgspec

from policy.arguments import Context, Misfit, match_form, operand_words, required_present
from policy.needs import named_by, writable
from policy.places import Guard, normal_path
from policy.reader import Command
from policy.rules import Bundle, CommandRule, Form, Overlay
from policy.verdict import Effect, JudgedCommand, Reason, Risk, Ruling

READER = "reader"  # the rule of refusals that come from the language itself
WHOLE = -2  # a reason about the whole command, not one word
# Faults that are never a matter of taste: the program would reach what it must not.
_AT_STAKE = frozenset(
    {
        *("door", "subcommand", "protected", "not-in-evidence", "placeholder"),
        *("secret-path", "device-path", "precious-path", "outside-roots", "dot-dot"),
    }
)

# Faults whose `expected` is all there is to say; the rule's hint is about other things.
_SAYS_ENOUGH = frozenset({"bad-value", "not-in-inventory"})


def judge_command(
    command: Command, text: str, bundle: Bundle, context: Context
) -> tuple[JudgedCommand, list[Reason]]:
    """One command against the forbidden programs and its specification."""
    name = posixpath.basename(command.argv[0])
    overlaid, least = _overlaid(command, name, text, bundle.overlay, context)
    reasons = [*_forbidden(command, name, text, bundle), *overlaid]
    rule = bundle.commands.get(name)
    if rule is None:
        reasons += _unknown(command, text, context.guard)
        judged = JudgedCommand(argv=command.argv, paths=(), rule="default", effect=None)
    else:
        form, reason = _by_rule(command, text, rule, context)
        reasons.append(reason)
        if reason.ruling is Ruling.REVIEW:
            reasons += _out_of_reach(command, text, context.guard)
        judged = JudgedCommand(argv=command.argv, paths=rule.paths, rule=reason.rule, effect=None)
        if form:
            judged = _granted(judged, rule, form, least, context)
    return judged, reasons


def _granted(
    judged: JudgedCommand, rule: CommandRule, form: Form, least: Risk, context: Context
) -> JudgedCommand:
    """What the executor needs to know about a command that fits a form."""
    operands = operand_words(judged.argv, rule, form, context) if form.needs else ()
    return msgspec.structs.replace(
        judged,
        effect=form.effect.word,
        undo=form.undo,
        risk=max(form.risk, least),
        needs=tuple(sorted({*form.needs, *named_by(judged.argv)})),
        writes=writable(form.needs, operands),
    )


def _forbidden(command: Command, name: str, text: str, bundle: Bundle) -> list[Reason]:
    reasons = []
    for rule in bundle.forbids.get(name, ()):
        index = next((at for at, word in enumerate(command.argv) if at and word in rule.words), 0)
        if index or not rule.words:
            reasons.append(
                _reason(
                    command, text, index, Ruling.BLOCK, "forbidden", rule.rule, rule.why, rule.hint
                )
            )
    return reasons


def _overlaid(
    command: Command, name: str, text: str, overlay: Overlay | None, context: Context
) -> tuple[list[Reason], Risk]:
    """What the node's overlay has against the command, and the risk it sees at least."""
    if overlay is None:
        return [], Risk.LOW
    reasons = [
        _reason(command, text, 0, ruling, code, rule.rule, rule.why, rule.hint)
        for code, ruling, rules in (
            ("overlay:forbid", Ruling.BLOCK, overlay.forbids),
            ("overlay:review", Ruling.REVIEW, overlay.reviews),
            ("overlay:removed", Ruling.REVIEW, overlay.removed),
        )
        if (rule := rules.get(name))
    ]
    if narrowed := overlay.narrowed.get(name):
        form, reason = _by_rule(command, text, narrowed, context)
        if reason.ruling > Ruling.ALLOW:
            reasons.append(msgspec.structs.replace(reason, rule=narrowed.rule))
        return reasons, form.risk if form else Risk.LOW
    return reasons, Risk.LOW


def _unknown(command: Command, text: str, guard: Guard) -> list[Reason]:
    """No rule knows the program: review at best, block when it names what nothing may touch."""
    return [_default(command, text), *_out_of_reach(command, text, guard)]


def _out_of_reach(command: Command, text: str, guard: Guard) -> list[Reason]:
    """A person should not be asked to run what names a secret place, whatever the program is."""
    for index, word in enumerate(command.argv):
        for part in (word, word.partition("=")[2]) if "/" in word else ():
            if part.startswith("/") and guard.secret.covers(path := normal_path(part)):
                message = f"{path} is in a place that holds secrets"
                rule = "[places]"
                return [_reason(command, text, index, Ruling.BLOCK, "secret-path", rule, message)]
    return []


def _default(command: Command, text: str) -> Reason:
    name = command.argv[0]
    if "/" in name and not name.startswith("/"):
        message = f"{name} is a relative path; what it names depends on the folder"
        return _reason(command, text, 0, Ruling.BLOCK, "relative-program", READER, message)
    message = f"no rule knows {name}; a person has to decide and run it"
    return _reason(command, text, 0, Ruling.REVIEW, "default", "default", message)


def _by_rule(
    command: Command, text: str, rule: CommandRule, context: Context
) -> tuple[Form | None, Reason]:
    """The form that allows the command, or the misfit of the form that came closest."""
    if "/" in command.argv[0] and command.argv[0] not in rule.paths:
        message = f"{command.argv[0]} is not where this program lives"
        hint = f"write {rule.name}"
        return None, _reason(
            command, text, 0, Ruling.BLOCK, "program-path", rule.rule, message, hint
        )
    misfits: list[tuple[Form, Misfit]] = []
    for form in _candidates(rule, command.argv):
        try:
            match_form(command.argv, rule, form, context)
        except Misfit as misfit:
            misfits.append((form, misfit))
        else:
            return form, _conditions(command, text, form, context)
    if len(misfits) > 1:
        form, closest = max(misfits, key=lambda entry: _closeness(command.argv, *entry))
    else:
        ((form, closest),) = misfits
    if any(misfit.code in _AT_STAKE for _, misfit in misfits):
        ruling = Ruling.BLOCK
    else:
        ruling = Ruling.REVIEW if _only_looks(form, closest) else rule.otherwise
    hint = closest.hint or ("" if closest.code in _SAYS_ENOUGH else form.hint or rule.hint)
    return None, _reason(
        command,
        text,
        closest.index,
        ruling,
        closest.code,
        form.rule,
        closest.message,
        hint,
        closest.expected,
    )


def _only_looks(form: Form, misfit: Misfit) -> bool:
    """A call that only reads and lacks a word is for a person, whatever else the program can do."""
    return form.effect is Effect.READ and misfit.code.startswith("missing:")


def _candidates(rule: CommandRule, argv: tuple[str, ...]) -> tuple[Form, ...]:
    """The forms whose subcommand is among the words; none of the others could fit.

    When there is none, one of the others says so.
    """
    if rule.style != "subcommand":
        return rule.forms
    named = tuple(form for form in rule.forms if not form.heads.isdisjoint(argv))
    bare = tuple(form for form in rule.forms if not form.heads)
    return named + bare if named else tuple(form for form in rule.forms if form.heads)[:1] + bare


def _closeness(argv: tuple[str, ...], form: Form, misfit: Misfit) -> tuple[int, int]:
    """How near a form came: required words there first, then how far it was read."""
    return required_present(argv, form), len(argv) if misfit.index < 0 else misfit.index


def _conditions(command: Command, text: str, form: Form, context: Context) -> Reason:
    """The arguments fit; the host's role and the change window decide between allow and review."""
    facts = context.facts
    if form.roles and facts.role not in form.roles:
        message = f"only for hosts with the role {', '.join(sorted(form.roles))}"
        return _reason(command, text, 0, Ruling.REVIEW, "role", form.rule, message)
    if form.change_window and not facts.change_window_open:
        message = "only while a change window is open"
        return _reason(command, text, 0, Ruling.REVIEW, "change-window", form.rule, message)
    return _reason(command, text, WHOLE, Ruling.ALLOW, "allowed", form.rule, form.why)


def _reason(  # noqa: PLR0917  # private, and each call reads like the record
    command: Command,
    text: str,
    index: int,
    ruling: Ruling,
    code: str,
    rule: str,
    message: str,
    hint: str = "",
    expected: str = "",
) -> Reason:
    """A reason about one word of a command, about all of it, or (-1) about what is missing."""
    whole = command.spans[0][0], command.spans[-1][1]
    start, end = whole if index == WHOLE else command.spans[max(index, 0)]
    return Reason(
        ruling=ruling,
        code=code,
        rule=rule,
        message=message,
        span=(start, end),
        token=text[start:end],
        expected=expected,
        hint=hint,
    )
