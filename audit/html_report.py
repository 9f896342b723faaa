"""The report as one HTML page: no script, nothing fetched, prints well.

Every text was made visible by `story` and is escaped here.
"""

import io
from html import escape

import segno

from audit.story import Case, Line, Story
from audit.summary import Summary

_CSS = """
:root{--ink:#1a1f26;--soft:#5b6673;--line:#d9dee4;--yes:#1b7a43;--no:#b3261e;--ran:#14599c}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2.5rem 1.5rem;color:var(--ink);background:#fff;
font:16px/1.5 system-ui,"Segoe UI","DejaVu Sans",sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem}
h2{font-size:1.3rem;margin:2.6rem 0 .8rem; border-bottom:2px solid var(--ink);
padding-bottom:.3rem}
h3{font-size:1.05rem;margin:0 0 .2rem}
p{margin:.5rem 0}
.soft{color:var(--soft)}
code,.mono{font:0.85em/1.45 ui-monospace,"DejaVu Sans Mono", monospace;overflow-wrap:anywhere}
.verdict{border:1px solid var(--line);border-left:.5rem solid var(--soft);padding:.9rem 1.1rem;
margin:1.4rem 0;border-radius:.3rem}
.verdict.VALID{border-left-color:var(--yes)}
.verdict.TAMPERED{border-left-color:var(--no)}
.verdict strong{font-size:1.15rem}
dl{display:grid;grid-template-columns:11rem 1fr;gap:.35rem 1rem;margin:0}
dt{color:var(--soft)}
dd{margin:0; overflow-wrap:anywhere}
.proof{display:grid;grid-template-columns:1fr 11rem;gap:1.5rem;align-items:start}
.proof svg{width:11rem;height:auto}
pre{background:#f5f7f9;padding:.8rem 1rem;border-radius:.3rem;margin:.5rem 0;
white-space:pre-wrap;overflow-wrap:anywhere;
font:0.82em/1.5 ui-monospace,"DejaVu Sans Mono",monospace}
.case{border:1px solid var(--line);border-radius:.4rem;margin:1.2rem 0;padding:1rem 1.2rem}
ol{list-style:none;margin:.8rem 0 0;padding:0;border-left:2px solid var(--line)}
li{position:relative;padding:.1rem 0 .75rem 1.3rem;break-inside:avoid}
li::before{content:"";position:absolute;left:-.45rem;top:.5rem;width:.8rem;height:.8rem;
border-radius:50%; background:#fff;border:3px solid var(--soft)}
li.yes::before{border-color:var(--yes);background:var(--yes)}
li.no::before{border-color:var(--no); background:var(--no)}
li.ran::before{border-color:var(--ran);background:var(--ran)}
li .when{font-variant-numeric:tabular-nums;color:var(--soft);font-size:.88rem}
li .what{font-weight:600}
li .detail{display:block;font-size:.9rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .8rem .35rem 0; border-bottom:1px solid var(--line);
vertical-align:top}
th{color:var(--soft);font-weight:500}
@media print{body{padding:0;max-width:none;font-size:10.5pt}h2{break-after:avoid}.case{border:0;
padding:0} @page{margin:18mm 16mm}}
"""


def html_report(summary: Summary, story: Story) -> str:
    """The page."""
    key = (
        '<p class="soft">The log\'s public key, to compare with the one noted when it was begun:'
        f"<br><code>{_e(summary.vkey)}</code></p>"
    )
    verdict = (
        f'<div class="verdict {summary.verdict}"><strong>{_e(summary.headline)}</strong>'
        f"<p>{_e(summary.verdict_sentence)}</p></div>"
    )
    note = f"<pre>{_e(summary.checkpoint)}</pre>{_qr(summary.checkpoint)}"
    parts = [
        f"<h1>{_e(summary.title)}</h1>",
        f'<p class="soft">{_e(summary.subtitle)}</p>',
        verdict,
        _facts(summary.facts),
        *_glance(story),
        "<h2>The signed checkpoint</h2>",
        f"<p>{_e(summary.checkpoint_words)}</p>",
        f'<div class="proof">{note}</div>',
        key,
        *_cases(story),
        *_people(story),
        *_changes(story),
        "<h2>How to check this without trusting us</h2>",
        *(f"<p>{_e(each)}</p>" for each in summary.how_to_check),
        f"<pre>{_e(summary.command)}</pre>",
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        " style-src 'unsafe-inline'\">\n"
        f"<title>{_e(summary.title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _facts(facts: tuple[tuple[str, str], ...]) -> str:
    rows = "".join(f"<dt>{_e(name)}</dt><dd>{_e(value)}</dd>" for name, value in facts)
    return f"<dl>{rows}</dl>"


GLANCE = ("what", "approved by", "what ran", "outcome")
"""The columns of the table at the front."""


def _glance(story: Story) -> list[str]:
    if not story.cases:
        return []
    head = "".join(f"<th>{name}</th>" for name in GLANCE)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_e(cell)}</td>' for cell in case.glance)}</tr>"
        for case in story.cases.values()
    )
    return ["<h2>At a glance</h2>", f"<table><tr>{head}</tr>{rows}</table>"]


def _cases(story: Story) -> list[str]:
    if not story.cases:
        return []
    parts = ["<h2>What happened</h2>", *(_case(case) for case in story.cases.values())]
    if story.more_cases:
        parts.append(
            f"<p>{story.more_cases} more incidents are in the entries, not on this page.</p>"
        )
    return parts


def _case(case: Case) -> str:
    lines = "\n".join(_line(line) for line in case.lines)
    left = case.entries - len(case.lines)
    more = f"<p>{left} more entries of this incident are not on this page.</p>" if left else ""
    return (
        f'<section class="case"><h3>{_e(case.title)}</h3>'
        f'<p class="soft">{_e(case_words(case))}<br><code>{_e(case.incident)}</code></p>'
        f"<ol>{lines}</ol>{more}</section>"
    )


def case_words(case: Case) -> str:
    """Its state and who said yes, in one line."""
    names = ", ".join(dict.fromkeys(case.approved_by))
    approved = f"approved by {names}" if names else "approved by nobody"
    return f"Since {case.opened} · now {case.state} · {approved} · {case.entries} entries"


def _line(line: Line) -> str:
    details = "".join(f'<span class="detail">{_e(each)}</span>' for each in line.details)
    return (
        f'<li class="{line.tone}"><span class="when">{_e(line.time)} · {_e(line.who)} · entry'
        f' {line.seq}</span><br><span class="what">{_e(line.what)}</span>{details}</li>'
    )


def _people(story: Story) -> list[str]:
    if not story.people:
        return []
    rows = "".join(
        f"<tr><td>{_e(name)}</td><td>{_e(deeds(did))}</td></tr>"
        for name, did in sorted(story.people.items())
    )
    return ["<h2>People</h2>", f"<table><tr><th>who</th><th>did</th></tr>{rows}</table>"]


_DEEDS = {
    "approval.grant": "approved a plan",
    "approval.deny": "rejected a plan",
    "auth.login": "signed in",
    "auth.logout": "signed out",
    "auth.fail": "failed to sign in",
    "config.change": "changed the configuration",
    "exec.order": "ordered",
    "incident.state": "moved an incident",
    "incident.close": "closed an incident",
    "manual.step": "acted by hand",
    "policy.change": "changed the policy",
}


def deeds(did: dict[str, int]) -> str:
    """`approved a plan 3 times, signed in once`."""
    return ", ".join(
        f"{_DEEDS.get(kind, kind)} {'once' if often == 1 else f'{often} times'}"
        for kind, often in sorted(did.items())
    )


def _changes(story: Story) -> list[str]:
    if not story.changes:
        return []
    lines = "\n".join(_line(line) for line in story.changes)
    more = f"<p>{story.more_changes} more are not on this page.</p>" if story.more_changes else ""
    return ["<h2>Outside of incidents</h2>", f"<ol>{lines}</ol>{more}"]


def _qr(text: str) -> str:
    stream = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        stream, kind="svg", xmldecl=False, svgns=True, nl=False, border=2, omitsize=True
    )
    return stream.getvalue().decode()


def _e(text: str) -> str:
    return escape(text, quote=True)
