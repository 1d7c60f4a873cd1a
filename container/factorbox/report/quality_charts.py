"""Charts of how good a model is: dots with their intervals, the model beside its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factorbox.evaluation.estimates import Estimate, Group
from factorbox.evaluation.metrics import Metric
from factorbox.report.blocks import Chart
from factorbox.report.charts import columns
from factorbox.report.comparisons import BASELINES, MODEL, Comparison, display_name

_STEP, _LINE = 28, 14
# Model and baseline stand on one line, apart by so much that neither hides the other.
_APART = 3


def metrics_chart(of_metrics: Sequence[Comparison], *, title: str) -> Chart:
    """Draw metrics of one unit below one another."""
    rows = [(display_name(one.metric.name), "", one.model, one.baseline) for one in of_metrics]
    return _chart(
        rows,
        baseline=BASELINES[of_metrics[0].metric.kind],
        title=title,
        tooltip=[{"field": "label", "type": "nominal", "title": "Metric"}],
        note="",
    )


def groups_chart(
    groups: Sequence[Group], metric: Metric, *, title: str, of: str, left_out: Sequence[str], note: str
) -> Chart:
    """Draw one metric of several groups, all of which have it, below one another.

    Parameters
    ----------
    of
        What the groups are made of, for tooltips.
    left_out
        Words of the labels that the axis has no room for.
    note
        What stands before the words on intervals.
    """
    rows = [
        (
            _without(group.label, left_out),
            f"{group.users:,d} users, {group.pairs:,d} held-out interactions",
            group.metrics[metric.name],
            group.baseline[metric.name],
        )
        for group in groups
    ]
    return _chart(
        rows,
        baseline=BASELINES[metric.kind],
        title=title,
        tooltip=[
            {"field": "label", "type": "nominal", "title": of},
            {"field": "size", "type": "nominal", "title": "Size"},
        ],
        note=note,
    )


def _chart(
    rows: Sequence[tuple[str, str, Estimate, Estimate]],
    *,
    baseline: str,
    title: str,
    tooltip: Sequence[Mapping[str, Any]],
    note: str,
) -> Chart:
    """Return two dots a row, with a line for each interval."""
    drawn = [
        (label, size, name, estimate)
        for label, size, model, beside in rows
        for name, estimate in ((MODEL, model), (baseline, beside))
    ]
    data = columns(
        label=np.array([label for label, *_ in drawn]),
        size=np.array([size for _, size, *_ in drawn]),
        series=np.array([name for _, _, name, _ in drawn]),
        value=np.array([estimate.value for *_, estimate in drawn], dtype=np.float64),
        low=np.array([_or_nan(estimate.low) for *_, estimate in drawn]),
        high=np.array([_or_nan(estimate.high) for *_, estimate in drawn]),
    )
    color = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": [MODEL, baseline], "range": ["@accent", "@muted"]},
        "legend": {"symbolOpacity": 1},
    }
    more_lines = max(label.count(", ") for label, *_ in rows)
    shared = {
        "y": {
            "field": "label",
            "type": "nominal",
            "sort": None,
            # A label breaks at its commas.
            "axis": {
                "title": None,
                "labelExpr": "split(datum.label, ', ')",
                "labelLineHeight": _LINE,
                # Vega puts the first line at the middle of the row.
                "labelOffset": -_LINE * more_lines / 2,
                "labelOverlap": False,
                "grid": True,
            },
        },
        "color": color,
        "tooltip": [
            *tooltip,
            {"field": "series", "type": "nominal", "title": "Of"},
            {"field": "value", "type": "quantitative", "title": "Value", "format": ".4f"},
            {"field": "low", "type": "quantitative", "title": "95% from", "format": ".4f"},
            {"field": "high", "type": "quantitative", "title": "to", "format": ".4f"},
        ],
    }
    axis = {"title": None, "format": "~g", "tickCount": 5, "grid": True}
    apart = {"yOffset": {"expr": f"datum.series === '{MODEL}' ? {-_APART} : {_APART}"}}
    interval = {
        "mark": {"type": "rule", "strokeWidth": 3, "strokeCap": "round", "opacity": 0.45, **apart},
        "transform": [{"filter": "isValid(datum.low)"}],
        "encoding": {
            "x": {"field": "low", "type": "quantitative", "axis": axis, "scale": {"zero": False, "nice": True}},
            "x2": {"field": "high"},
        },
    }
    dot = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, **apart},
        "encoding": {"x": {"field": "value", "type": "quantitative", "axis": axis}},
    }
    spec = {
        "data": data,
        "width": "container",
        "height": {"step": _STEP + _LINE * more_lines},
        "encoding": shared,
        "layer": [interval, dot],
    }
    intervals = "" if all(e.low is None for *_, e in drawn) else "Lines are 95% intervals."
    return Chart(title=title, spec=spec, note=(note + intervals).strip())


def _without(label: str, words: Sequence[str]) -> str:
    for some in words:
        label = label.replace(some, "")
    return label


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
