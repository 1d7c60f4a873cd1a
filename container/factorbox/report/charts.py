"""What the sections write their charts with: data as the page takes them, two usual charts, numbers as texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 5
"""Significant digits of numbers in charts: more than a screen has pixels."""

_ABSENT = "\N{EN DASH}"

_WORD_JOINER = "\u2060"
"""A sign that is not seen."""

_NAMES_OF_JAVASCRIPT = frozenset(
    (
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    )
)
"""What every object of JavaScript has: Vega looks for what it has met by its text, and would find these."""


def columns(**named: NDArray[Any] | Sequence[Any]) -> dict[str, Any]:
    """Return columns of equal length as the `data` of a specification; the page makes rows of them.

    This takes a fraction of the room of Vega-Lite's own rows. Numbers that are not finite become null, texts that
    repeat are written once, and those that Vega would take for its own are made safe (`safe_text`).

    Raises
    ------
    ValueError
        Where the columns differ in length.
    """
    written = {name: _column(values) for name, values in named.items()}
    if len({_length(column) for column in written.values()}) > 1:
        raise ValueError(f"columns of a chart differ in length: { {n: _length(c) for n, c in written.items()} }")
    return {"columns": written}


def safe_text(text: str) -> str:
    """Return a text as charts may take it for a category; it looks the same."""
    return _WORD_JOINER + text if text in _NAMES_OF_JAVASCRIPT else text


def _length(column: Any) -> int:
    return len(column["codes"] if isinstance(column, dict) else column)


def _column(values: NDArray[Any] | Sequence[Any]) -> Any:
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return [rounded(value) for value in array.tolist()]
    if array.dtype.kind != "U":
        # Numbers and switches; objects are lists with None among them.
        return [rounded(value) if isinstance(value, float) else value for value in array.tolist()]
    written = [safe_text(text) for text in array.tolist()]
    texts = list(dict.fromkeys(written))
    if 2 * len(texts) > len(written):
        return written
    code = {text: position for position, text in enumerate(texts)}
    return {"texts": texts, "codes": [code[text] for text in written]}


def rounded(value: float, digits: int = _DIGITS) -> float | None:
    """Return a number with so many significant digits; None where it is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def bar_chart(
    data: Mapping[str, Any],
    *,
    label: str,
    value: str,
    title: str = "",
    format: str = "~g",
    color: Mapping[str, Any] | None = None,
    tooltip: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return lying bars, one a row of the data and in its order, with labels to their left.

    Parameters
    ----------
    data
        As `columns` gives it.
    label, value
        The columns of the labels, which are different from one another, and of the lengths.
    title
        Of the axis of lengths.
    format
        How the tooltip writes lengths, in d3's notation.
    color
        An encoding; None for the accent.
    tooltip
        Fields of the tooltip; none for the label and the value.
    """
    fields = list(tooltip) or [
        {"field": label, "type": "nominal", "title": label.capitalize()},
        {"field": value, "type": "quantitative", "title": title or value.capitalize(), "format": format},
    ]
    encoding: dict[str, Any] = {
        "y": {"field": label, "type": "nominal", "sort": None, "axis": {"title": None}},
        "x": {"field": value, "type": "quantitative", "axis": {"title": title or None}},
        "tooltip": fields,
    }
    if color is not None:
        encoding["color"] = color
    return {"data": data, "width": "container", "height": {"step": 22}, "mark": "bar", "encoding": encoding}


def count(number: int) -> str:
    """Return a count as text, as in `12,345`."""
    return f"{number:,d}".replace("-", "−")


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number with so many decimals, and a dash where there is none."""
    if value is None or not math.isfinite(value):
        return _ABSENT
    return f"{value:,.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as text, as in `12.3%`; one that would be written as 0 gets as many decimals as it needs."""
    if share is None or not math.isfinite(share):
        return _ABSENT
    if 0 < abs(share) < 0.5 * 10 ** -(digits + 2):
        return f"{100 * share:.1g}%".replace("-", "−") if abs(share) >= 1e-6 else "< 0.0001%"
    return f"{100 * share:.{digits}f}%".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a time as text: `0.42 s`, `12.3 s`, `1 min 23 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(number_of_bytes: int) -> str:
    """Return a number of bytes as text, in powers of 1,000."""
    value, unit = float(number_of_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{number_of_bytes} bytes" if unit == "bytes" else f"{value:.3g} {unit}"
