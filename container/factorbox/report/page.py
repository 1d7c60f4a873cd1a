"""The report as one HTML file, which asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from factorbox import __version__
from factorbox.report.blocks import Facts, Section
from factorbox.report.markup import facts_markup, section_markup

_THEME = (
    'document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";'
)
"""Runs before anything is shown, so that a dark page is never light at first."""

_SLOT = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Opening:
    """What stands above the sections.

    Attributes
    ----------
    kicker
        A line above the title: what this is, and when it was written.
    title
        The model, in a few words.
    standfirst
        A sentence or two that say the most important.
    remark
        What went wrong with the page itself; empty for nothing.
    facts
        The verdict in numbers; None where there is none.
    """

    kicker: str
    title: str
    standfirst: str
    remark: str = ""
    facts: Facts | None = None


def page(opening: Opening, *, sections: Sequence[Section], vega: str) -> str:
    """Return the page.

    Parameters
    ----------
    opening
        What stands above the sections.
    sections
        In the order of the page.
    vega
        A script that defines `window.vegaEmbed`; empty for a page whose charts are not drawn.
    """
    scripts = (_THEME, *((_notice() + _in_script(vega), _asset("page.js")) if vega else ()))
    elements = [f"<script>{script}</script>" for script in scripts]
    slots = {
        "policy": _policy(scripts),
        "version": escape(__version__),
        "title": escape(opening.title),
        "kicker": escape(opening.kicker),
        "standfirst": escape(opening.standfirst),
        "remark": f'<p class="remark">{escape(opening.remark)}</p>' if opening.remark else "",
        "facts": facts_markup(opening.facts) if opening.facts is not None else "",
        "style": _asset("page.css"),
        "theme": elements[0],
        "first": escape(sections[0].key) if sections else "",
        "contents": _contents(sections),
        "sections": "\n".join(section_markup(section) for section in sections),
        "scripts": "\n".join(elements[1:]),
    }
    # Once through: what is filled in is not searched for slots again.
    return _SLOT.sub(lambda slot: slots[slot[1]], _asset("page.html"))


def _contents(sections: Sequence[Section]) -> str:
    links = (f'<li><a href="#{escape(section.key)}">{escape(section.title)}</a></li>' for section in sections)
    return f"<ol>{''.join(links)}</ol>"


def _policy(scripts: Sequence[str]) -> str:
    """Allow these scripts and nothing else: no address is asked, whatever a text in the page tries."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _in_script(code: str) -> str:
    """Write a script so that an HTML parser finds neither its end nor a comment within a text of it."""
    return re.sub(r"<(/script|!--)", r"<\\\1", code, flags=re.IGNORECASE)


def _notice() -> str:
    return f"/*\n{_asset('vega_notice.txt')}*/\n"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
