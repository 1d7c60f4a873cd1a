"""What a report is made of: sections of text, tables and charts, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Facts:
    """A few values that matter, each large with its label: (label, value) pairs, both as they are shown."""

    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Attributes
    ----------
    title
        What it shows.
    columns
        Headings.
    rows
        As they are shown, one text a column.
    numeric
        Positions of the columns that are aligned to the right.
    note
        A sentence below; empty for none.
    folded
        Whether the page shows it only on a click: for long ones.
    folded_on_phones
        Whether it does so where the page is narrow.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()
    note: str = ""
    folded: bool = False
    folded_on_phones: bool = False


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite chart.

    Attributes
    ----------
    title
        What it shows; the page writes it, so the specification has none.
    spec
        Vega-Lite without `$schema`, `config`, `background` or title: the page brings fonts and the colours of both
        themes. A width of "container" follows the page.
    note
        A sentence below; empty for none.
    many_marks
        Whether it has thousands of marks, and is therefore drawn on a canvas rather than as SVG.
    """

    title: str
    spec: Mapping[str, Any]
    note: str = ""
    many_marks: bool = False


@dataclass(frozen=True)
class Download:
    """A small file that the page offers, as in the CSV of a table."""

    label: str
    name: str
    content: str


@dataclass(frozen=True)
class Row:
    """Blocks side by side where there is room, below one another on a phone."""

    blocks: Sequence[Block]


Block = Text | Facts | Table | Chart | Download | Row


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes
    ----------
    key
        Its name in report.json, and its anchor in the page.
    title
        Its heading.
    lead
        A sentence or two on what to look for.
    blocks
        What the page shows, in order.
    numbers
        Everything that it shows, as JSON values.
    """

    key: str
    title: str
    lead: str
    blocks: Sequence[Block]
    numbers: Mapping[str, Any] = field(default_factory=dict)
