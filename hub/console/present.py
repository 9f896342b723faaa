"""How values look: times, sizes, badges; and text from outside made harmless and visible.

Templates escape everything; these helpers also make control characters and characters that
reorder or hide text visible, so that an operator approves what is there.
"""

from datetime import UTC, datetime

from flask import Flask
from markupsafe import Markup, escape

from appliance import __version__
from appliance.journal import shown
from appliance.lifecycle import State
from hub.console.words import CONDITIONS, MANUAL, OUTCOMES, RULINGS, SEVERITIES, STATES, Badge
from policy import explain

_HIDDEN = {  # direction marks, zero width, joiners, byte order mark: what is read must be what is
    code: f"\\u{code:04x}"
    for code in (
        0x00AD,
        0x061C,
        0x180E,
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2060, 0x2070),
        0xFEFF,
        *range(0xFFF9, 0xFFFC),
    )
}
_MOST = 20_000  # characters of one text on a page
_WHOLE = 24  # characters of a command's word that fit the narrowest screen
_KIB = 1024


def install(app: Flask) -> None:
    """Make the helpers known to the templates."""
    app.jinja_env.filters |= {
        "visible": visible,
        "lines": lines,
        "sentence": sentence,
        "ascii": ascii_only,
        "said": said,
        "word": word,
        "unbroken": unbroken,
        "when": when,
        "until": until,
        "amount": amount,
        "digest": digest,
    }
    app.jinja_env.globals |= {
        "state_badge": lambda state: badge(STATES[State(state)]),
        "severity_badge": lambda name: badge(SEVERITIES.get(name, Badge(name, "•", "quiet"))),
        "ruling_badge": lambda name: badge(RULINGS.get(name, Badge(name, "?", "bad"))),
        "effect_badge": badge,
        "outcome_badge": lambda name: badge(OUTCOMES.get(name, Badge(name, "?", "bad"))),
        "manual_badge": lambda name: badge(MANUAL.get(name, Badge(name, "?", "quiet"))),
        "condition_name": lambda name: CONDITIONS.get(name, name),
        "state_name": lambda state: STATES[State(state)].text,
        "asset": lambda name: f"/static/{name}?v={__version__}",  # url_for fails on a foreign host
    }


def visible(text: object) -> str:
    """Text from outside on one line, with nothing hidden in it."""
    return shown(str(text), most=_MOST).translate(_HIDDEN)


def lines(text: object) -> str:
    """The same for text of many lines."""
    plain = str(text)[: 4 * _MOST].replace("\r\n", "\n")
    return "\n".join(visible(line) for line in plain.split("\n"))


def ascii_only(text: object) -> str:
    """Words of a command: whatever is not printable ASCII is written as an escape.

    A letter that only looks like one of ours must not be taken for it.
    """
    return explain.visible(str(text)[:_MOST])


def said(text: object) -> str:
    """What the policy says about them, in the same letters."""
    return explain.said(str(text)[:_MOST])


def word(text: object) -> Markup:
    """One word of an argument vector, with the spaces inside it drawn, and said to be empty."""
    if not text:
        return Markup('<span class="no-text">empty</span>')
    return Markup('<span class="space"> </span>').join(ascii_only(text).split(" "))


def unbroken(text: str) -> Markup:
    """Text whose words a narrow screen does not break at their hyphens, unless they are long."""
    return Markup(" ").join(
        Markup('<span class="whole">{}</span>').format(part) if 0 < len(part) <= _WHOLE else part
        for part in text.split(" ")
    )


def sentence(text: object) -> str:
    """Text from outside on one line, beginning and ending as a sentence does."""
    plain = visible(text).strip()
    end = "" if plain.endswith((".", "!", "?", "…")) else "."
    return f"{plain[:1].upper()}{plain[1:]}{end}" if plain else ""


def when(moment: datetime | None, *, missing: str = "never") -> Markup:
    """An absolute UTC time; the page's script adds how long ago that is."""
    if moment is None:
        return escape(missing)
    moment = moment.astimezone(UTC)
    return Markup('<time datetime="{}" data-ago>{}</time>').format(
        moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d %H:%M:%S}Z"
    )


def until(moment: datetime) -> Markup:
    """A deadline; the page's script counts down to it."""
    moment = moment.astimezone(UTC)
    return Markup('<time datetime="{}" data-until>{}</time>').format(
        moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d %H:%M:%S}Z"
    )


def amount(value: float, unit: str = "bytes") -> str:
    """A figure with its unit, short enough to read."""
    if unit == "bytes":
        return _bytes(value)
    if unit in ("bytes/s", "bytes_per_s"):
        return f"{_bytes(value)}/s"
    if unit in ("percent", "%"):
        return f"{value:.1f} %"
    return f"{value:.4g} {visible(unit)}".strip()


def digest(text: str | None) -> Markup:
    """The beginning of a digest, with the whole of it at hand."""
    if not text:
        return Markup("none")
    return Markup('<code class="digest" title="{}">{}…</code>').format(text, text[:12])


def badge(look: Badge) -> Markup:
    """A word with a sign before it; the colour only repeats what they say."""
    return Markup('<span class="badge {}"><span aria-hidden="true">{}</span> {}</span>').format(
        look.tone, look.sign, look.text
    )


def _bytes(value: float) -> str:
    size, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < _KIB or unit == "TiB":
            break
        size /= _KIB
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
