"""Pictures of cells: a small heat map with its numbers, and a large one by values, splits and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.report.blocks import Chart
from factorbox.report.charts import columns, safe_text
from factorbox.report.matrix import HELD_OUT, NOT_KNOWN, TRAINED, Cells

SPLIT_NAMES = {NOT_KNOWN: "none", TRAINED: "trained on", HELD_OUT: "held out"}
"""What the splits are called."""

_DIGITS = 4
_LONGEST_IN_CELL = 4
_GAP = 0.08
# Many cells reach into their neighbours, which are drawn over them: edges between pixels leave no gaps then. Few
# end at whole pixels.
_MANY = 60
_OVERLAP = 0.5


def small_matrix_chart(
    values: NDArray[np.float32], *, users: Sequence[str], items: Sequence[str], value_name: str, title: str, note: str
) -> Chart:
    """Draw few cells with their numbers.

    Parameters
    ----------
    values
        (users, items), NaN for empty cells.
    users, items
        What rows and columns are called, each different from the others.
    """
    row, column = np.nonzero(np.isfinite(values))
    shown = values[row, column]
    texts = [value_text(value) for value in shown.tolist()]
    fits = all(len(text) <= _LONGEST_IN_CELL for text in texts)
    data = columns(
        user=np.array(users)[row], item=np.array(items)[column], value=shown.astype(np.float64), text=np.array(texts)
    )
    x = {
        "field": "item",
        "type": "nominal",
        "scale": {"domain": [safe_text(item) for item in items], "paddingInner": _GAP, "paddingOuter": 0},
        "axis": {"title": None, "orient": "top", "labelAngle": -90, "labelOverlap": False, "grid": False},
    }
    y = {
        "field": "user",
        "type": "nominal",
        "scale": {"domain": [safe_text(user) for user in users], "paddingInner": _GAP, "paddingOuter": 0},
        "axis": {"title": None, "labelOverlap": False, "grid": False},
    }
    tooltip = [
        {"field": "item", "type": "nominal", "title": "Item"},
        {"field": "user", "type": "nominal", "title": "User"},
        {"field": "text", "type": "nominal", "title": value_name},
    ]
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "rect", "cornerRadius": 2},
            "encoding": {
                "color": {
                    "field": "value",
                    "type": "quantitative",
                    "legend": None,
                    "scale": {"domain": _domain(shown), "clamp": True},
                },
                "tooltip": tooltip,
            },
        }
    ]
    if fits and len(shown):
        low, high = _domain(shown)
        layers.append(
            {
                "mark": {"type": "text", "fontSize": 10, "tooltip": None},
                "encoding": {
                    "text": {"field": "text", "type": "nominal"},
                    "color": {
                        "condition": {"test": f"datum.value > {low + 0.55 * (high - low)!r}", "value": "@paper"},
                        "value": "@ink",
                    },
                },
            }
        )
    spec = {
        "data": data,
        "width": "container",
        "height": {"step": 22},
        "encoding": {"x": x, "y": y},
        "layer": layers,
    }
    return Chart(title=title, spec=spec, note=note)


def values_picture(cells: Cells, *, labels: tuple[Sequence[str], Sequence[str]], value_name: str) -> Chart:
    """Draw the cells by value."""
    known = cells.values[np.isfinite(cells.values)]
    color = _amount(known, title=value_name)
    return Chart(
        title=f"{value_name}s",
        spec=_picture(cells.values, labels=labels, value_name=value_name, color=_or_paper(color)),
        many_marks=True,
    )


def splits_picture(cells: Cells, *, labels: tuple[Sequence[str], Sequence[str]]) -> Chart:
    """Draw the cells by what they were used for."""
    color = {
        "field": "name",
        "type": "nominal",
        "title": None,
        "scale": {
            "domain": [SPLIT_NAMES[TRAINED], SPLIT_NAMES[HELD_OUT], SPLIT_NAMES[NOT_KNOWN]],
            "range": ["@accent", "@against", "@paper"],
        },
        "legend": {
            "values": [SPLIT_NAMES[split] for split in (TRAINED, HELD_OUT) if (cells.splits == split).any()],
            "symbolType": "square",
        },
    }
    names = f"{[SPLIT_NAMES[split] for split in (NOT_KNOWN, TRAINED, HELD_OUT)]}[datum.value]"
    spec = _picture(cells.splits, labels=labels, value_name="Cell", color=color, name=names)
    return Chart(title="What each pair was used for", spec=spec, many_marks=True)


def predictions_picture(
    predicted: NDArray[np.float32],
    *,
    labels: tuple[Sequence[str], Sequence[str]],
    value_name: str,
    domain: tuple[float, float] | None,
) -> Chart:
    """Draw what the model predicts for each cell.

    Parameters
    ----------
    domain
        The values that the scale of colours reaches to; None for all but the 1% at each end.
    """
    color = _amount(predicted, title=value_name, domain=domain, signed=domain is not None)
    return Chart(
        title="As the model predicts it",
        spec=_picture(predicted, labels=labels, value_name=value_name, color=_or_paper(color)),
        many_marks=True,
    )


def value_text(value: float) -> str:
    """Return a weight or rating as the shortest text that reads back to the same float32."""
    number = np.float32(value)
    return str(int(number)) if number == np.rint(number) and abs(number) < 1e7 else str(number)


def _picture(
    values: NDArray[Any],
    *,
    labels: tuple[Sequence[str], Sequence[str]],
    value_name: str,
    color: Mapping[str, Any],
    name: str = "",
) -> dict[str, Any]:
    """Return the specification of all cells as small squares, from the upper left in rows.

    Cells are numbers one after another, which takes a tenth of the room of a row of data for each.
    """
    n_rows, n_columns = values.shape
    flat = values.ravel().tolist()
    if values.dtype.kind == "f":
        # Vega-Lite takes no null here.
        known = np.isfinite(values).ravel().tolist()
        flat = [value if there else "" for value, there in zip(_rounded(values).ravel().tolist(), known, strict=True)]
    users, items = labels
    few = max(n_rows, n_columns) <= _MANY
    size = 1 if few else 1 + _OVERLAP
    scale = {"nice": False, "round": few}
    calculated = [
        {"window": [{"op": "row_number", "as": "cell"}]},
        {"calculate": f"floor((datum.cell - 1) / {n_columns})", "as": "row"},
        {"calculate": f"(datum.cell - 1) % {n_columns}", "as": "column"},
        {"calculate": f"datum.row + {size}", "as": "below"},
        {"calculate": f"datum.column + {size}", "as": "right"},
        {"calculate": "datum.data === '' ? null : datum.data", "as": "value"},
        _looked_up("row", users, "user"),
        _looked_up("column", items, "item"),
    ]
    shown = {"field": "value", "type": "quantitative", "title": value_name, "format": ".4~g"}
    if name:
        calculated.append({"calculate": name, "as": "name"})
        shown = {"field": "name", "type": "nominal", "title": value_name}
    return {
        "data": {"values": flat},
        "width": "container",
        "usermeta": {"aspect": n_rows / n_columns if 0.5 <= n_rows / n_columns <= 2 else 1.0},
        "transform": calculated,
        "mark": {"type": "rect", "clip": True, "strokeWidth": 0},
        "encoding": {
            "x": {
                "field": "column",
                "type": "quantitative",
                "scale": {**scale, "domain": [0, n_columns]},
                "axis": None,
            },
            "x2": {"field": "right"},
            "y": {
                "field": "row",
                "type": "quantitative",
                "scale": {**scale, "domain": [0, n_rows], "reverse": True},
                "axis": None,
            },
            "y2": {"field": "below"},
            "color": dict(color),
            "tooltip": [
                {"field": "item", "type": "nominal", "title": "Item"},
                {"field": "user", "type": "nominal", "title": "User"},
                shown,
            ],
        },
    }


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return values at `_DIGITS` significant digits, large ones as whole numbers; 0 for those that are not finite."""
    x = np.where(np.isfinite(values), values, 0).astype(np.float64)
    magnitude = np.floor(np.log10(np.where(x == 0, 1.0, np.abs(x))))
    scale = 10.0 ** np.clip(_DIGITS - 1 - magnitude, 0, 300)
    return np.asarray(np.rint(x * scale) / scale)


def _looked_up(key: str, labels: Sequence[str], name: str) -> dict[str, Any]:
    """Return the transform that puts a label at each cell by the position of its row or column."""
    rows = [{"position": position, name: label} for position, label in enumerate(labels)]
    return {"lookup": key, "from": {"data": {"values": rows}, "key": "position", "fields": [name]}}


def _amount(
    values: NDArray[np.float32],
    *,
    title: str,
    domain: tuple[float, float] | None = None,
    signed: bool = True,
) -> dict[str, Any]:
    """Return the colours of values: from low to high, or from zero to both sides where signs matter."""
    low, high = domain or _domain(values)
    scale: dict[str, Any] = {"domain": [low, high], "clamp": True, "nice": domain is None}
    if signed and low < 0 < high:
        largest = max(-low, high)
        scale = {"domain": [-largest, largest], "domainMid": 0, "clamp": True}
    return {
        "field": "value",
        "type": "quantitative",
        "title": None,
        "scale": scale,
        "legend": {"gradientLength": 120, "gradientThickness": 8, "tickCount": 3, "format": ".3~g", "title": title},
    }


def _or_paper(color: Mapping[str, Any]) -> dict[str, Any]:
    """Return colours of values with that of the page for empty cells."""
    return {"condition": {"test": "isValid(datum.value)", **color}, "value": "@paper"}


def _domain(values: NDArray[np.float32]) -> list[float]:
    """Return what colours reach from and to: all but the 1% of the values at each end, and never one point."""
    if not len(values):
        return [0.0, 1.0]
    low, high = np.percentile(values.astype(np.float64), [1, 99]).tolist()
    if low == high:
        low, high = float(values.min()), float(values.max())
    return [low, high] if low < high else [low - 1.0, high]
