"""Blocks of a report as HTML."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import count
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from factorbox.report.blocks import Block, Chart, Download, Facts, Row, Section, Table, Text

_WIDE = 7
"""Columns from which a table scrolls in its box rather than breaks its texts."""

_PROSE = 60
"""Signs from which a text makes its column one of prose, which is never narrow."""

_SHORT = 16
"""Rows up to which a table is not cut across pages of paper."""

_FACTS_ACROSS = 5

_LONG_FACT = 11
"""Signs from which a fact is written smaller."""

_UNSAFE = re.compile("[<>&\u2028\u2029]")


def as_json(value: Any) -> str:
    """Return a value as JSON: arrays as lists, and null for numbers that are not finite.

    Raises
    ------
    TypeError
        Where it holds what JSON does not know.
    """
    return orjson.dumps(value, default=_known, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()


def _known(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def json_script(identity: str, value: Any) -> str:
    """Return a script element that holds a value as JSON, whatever texts are in it."""
    safe = _UNSAFE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", as_json(value))
    return f'<script type="application/json" id="{escape(identity)}">{safe}</script>'


def section_markup(section: Section) -> str:
    """Return a section as HTML.

    Raises
    ------
    TypeError
        Where a chart holds what JSON does not know.
    """
    numbers = count(1)
    key = escape(section.key)
    blocks = "\n".join(_block(block, section.key, numbers) for block in section.blocks)
    lead = f'\n<p class="lead">{escape(section.lead)}</p>' if section.lead else ""
    return (
        f'<section id="{key}" aria-labelledby="{key}-title">\n<h2 id="{key}-title">{escape(section.title)}</h2>{lead}\n'
        f"{blocks}\n</section>"
    )


def _block(block: Block, key: str, numbers: Iterator[int]) -> str:
    match block:
        case Text():
            return f"<p>{escape(block.text)}</p>"
        case Facts():
            return facts_markup(block)
        case Table():
            return _table(block)
        case Chart():
            return _chart(block, f"{key}-chart-{next(numbers)}")
        case Download():
            return _download(block)
        case Row():
            inner = "\n".join(_block(part, key, numbers) for part in block.blocks)
            return f'<div class="row{" three" * (len(block.blocks) == 3)}">\n{inner}\n</div>'


def facts_markup(block: Facts) -> str:
    """Return facts as HTML."""
    facts = "".join(
        f"<div><dt>{escape(label)}</dt><dd{_class('long', len(value) >= _LONG_FACT)}>{escape(value)}</dd></div>"
        for label, value in block.facts
    )
    # Lines of equal length rather than one that is left alone.
    across = math.ceil(len(block.facts) / math.ceil(len(block.facts) / _FACTS_ACROSS)) if block.facts else 1
    return f'<dl class="facts" style="--across:{across}">{facts}</dl>'


def _class(name: str, applies: bool) -> str:
    return f' class="{name}"' if applies else ""


def _table(block: Table) -> str:
    kinds = [
        _class("number", True) if position in block.numeric else _class("prose", any(len(t) > _PROSE for t in texts))
        for position, texts in enumerate(_by_column(block))
    ]
    head = "".join(f'<th scope="col"{n}>{escape(c)}</th>' for n, c in zip(kinds, block.columns, strict=True))
    rows = "\n".join(f"<tr>{_cells(row, kinds)}</tr>" for row in block.rows)
    wide = _class("wide", len(block.columns) >= _WIDE)
    name = escape(block.title)
    table = (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">\n'
        f"<table{wide}><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>\n</div>{_note(block.note)}"
    )
    length = "short" if len(block.rows) <= _SHORT else "long"
    heading = f"<h3>{name}</h3>"
    if not block.folded and not block.folded_on_phones:
        return f'<figure class="table {length}"><figcaption>{heading}</figcaption>\n{table}</figure>'
    kind = "" if block.folded else ' class="on-phones" open'
    rows_in_all = f"<span>{len(block.rows):,d} row{'s' * (len(block.rows) != 1)}</span>"
    return (
        f'<details data-rows="{len(block.rows)}"{kind}><summary>{heading}{rows_in_all}</summary>\n'
        f'<figure class="table {length}">{table}</figure></details>'
    )


def _by_column(block: Table) -> list[tuple[str, ...]]:
    """Return the texts of each column below its heading."""
    return [texts[1:] for texts in zip(block.columns, *block.rows, strict=True)]


def _cells(row: Sequence[str], kinds: Sequence[str]) -> str:
    cells = (f"<td{n}>{escape(text)}</td>" for n, text in zip(kinds[1:], row[1:], strict=True))
    return f'<th scope="row"{kinds[0]}>{escape(row[0])}</th>{"".join(cells)}'


def _note(note: str) -> str:
    return f'\n<p class="note">{escape(note)}</p>' if note else ""


def _chart(block: Chart, identity: str) -> str:
    title = escape(block.title)
    return (
        f'<figure><figcaption id="{identity}-title"><h3>{title}</h3></figcaption>\n'
        f'<div class="chart" role="group" aria-labelledby="{identity}-title" data-spec="{identity}"'
        f' data-many="{str(block.many_marks).lower()}" style="min-height:{_likely_height(block.spec)}px"></div>'
        f"{_note(block.note)}\n{json_script(identity, block.spec)}</figure>"
    )


def _likely_height(spec: Mapping[str, Any]) -> int:
    """Guess how high a chart will be, so that the page hardly moves when it is drawn."""
    height = spec.get("height", 400 if "usermeta" in spec else 280)
    if isinstance(height, int | float):
        return round(height) + 60
    field = spec.get("encoding", {}).get("y", {}).get("field")
    column = spec.get("data", {}).get("columns", {}).get(field, ())
    rows = len(column["texts"] if isinstance(column, dict) else column) or 15
    return min(640, 60 + 22 * rows)


def _download(block: Download) -> str:
    content = base64.b64encode(block.content.encode()).decode()
    kind = "text/csv" if block.name.endswith(".csv") else "text/plain"
    return (
        f'<p class="download"><a download="{escape(block.name)}"'
        f' href="data:{quote(kind, safe="/")};charset=utf-8;base64,{content}">'
        f'<span aria-hidden="true">↓</span>{escape(block.label)}</a></p>'
    )
