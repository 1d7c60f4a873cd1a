"""Charts of what the data look like: popularity, activity, values and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factorbox.report.blocks import Chart
from factorbox.report.charts import columns, count
from factorbox.report.distributions import Histogram, LongTail, Periods, Values
from factorbox.report.numbers import counted

_HEIGHT = 260
_MILLISECONDS = 86_400_000
# As in 20k; what has no such letter, or one that few know, is written out.
_SHORT = (
    "datum.value === 0 ? '0' : abs(datum.value) < 1 || abs(datum.value) >= 1e15 ? format(datum.value, '.3~g')"
    " : format(datum.value, '~s')"
)
_UNITS = {"day": "%-d %B %Y", "week": "week of %-d %B %Y", "month": "%B %Y", "quarter": "from %B %Y", "year": "%Y"}


def popularity_chart(tail: LongTail) -> Chart:
    """Draw how many interactions the item of each rank has, both axes logarithmic."""
    # What nobody has is not on a logarithmic axis.
    ranks = tail.ranks[tail.counts[tail.ranks - 1] > 0]
    top = 10 ** max(1, math.ceil(math.log10(int(tail.counts[0]))))
    data = columns(rank=ranks, interactions=tail.counts[ranks - 1])
    encoding = {
        "x": {
            "field": "rank",
            "type": "quantitative",
            "axis": {**_counted("Rank of the item", ticks=log_ticks(1, len(tail.counts))), "grid": False},
            "scale": {"type": "log", "nice": False},
        },
        "y": {
            "field": "interactions",
            "type": "quantitative",
            "axis": _counted("Interactions", ticks=log_ticks(1, top)),
            "scale": {"type": "log", "domain": [1, top], "nice": False},
        },
        "tooltip": [
            {"field": "rank", "type": "quantitative", "title": "Rank", "format": ",d"},
            {"field": "interactions", "type": "quantitative", "title": "Interactions", "format": ",d"},
        ],
    }
    return Chart(
        title="Popularity of the items",
        spec=_with_hidden_points(data, {"type": "line", "strokeWidth": 2.5}, encoding),
        note=f"From the most popular item, with {counted(int(tail.counts[0]), 'interaction')}, to the least, with"
        f" {count(int(tail.counts[-1]))}. Both axes are logarithmic.",
    )


def concentration_chart(tail: LongTail) -> Chart:
    """Draw the share of the interactions that the most popular items have together."""
    n_items = len(tail.counts)
    ranks = np.concatenate([[0], tail.ranks])
    data = columns(items=ranks / n_items, share=np.concatenate([[0.0], tail.shares[tail.ranks - 1]]), number=ranks)
    encoding = {
        "x": {
            "field": "items",
            "type": "quantitative",
            "axis": {"title": "Share of the items, most popular first", "format": ".0%", "grid": False, "tickCount": 5},
            "scale": {"domain": [0, 1], "nice": False},
        },
        "y": {
            "field": "share",
            "type": "quantitative",
            "axis": {"title": "Share of the interactions", "format": ".0%", "tickCount": 5},
            "scale": {"domain": [0, 1], "nice": False},
        },
        "tooltip": [
            {"field": "number", "type": "quantitative", "title": "Most popular items", "format": ",d"},
            {"field": "items", "type": "quantitative", "title": "of all items", "format": ".1%"},
            {"field": "share", "type": "quantitative", "title": "of the interactions", "format": ".1%"},
        ],
    }
    spec = _with_hidden_points(
        data, {"type": "area", "line": {"strokeWidth": 2.5}, "fillOpacity": 0.15, "strokeOpacity": 1}, encoding
    )
    even = columns(x=[0, 1], y=[0, 1])
    spec["layer"].insert(
        1,
        {
            "data": even,
            "mark": {"type": "line", "color": "@soft", "strokeDash": [4, 4], "strokeWidth": 1},
            "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
        },
    )
    return Chart(
        title="How much the most popular items make up",
        spec=spec,
        note="Were all items equally popular, the curve would be the dashed line.",
    )


def histogram_chart(histogram: Histogram, *, title: str, of: str, number_of: str, whole: bool) -> Chart:
    """Draw bins as bars.

    Parameters
    ----------
    of
        What is sorted into bins, as the title of the lower axis.
    number_of
        What is counted, as the title of the upright axis.
    whole
        Whether the values are whole numbers.
    """
    low, high = histogram.edges[:-1], histogram.edges[1:]
    labels = [_bin_label(start, end, whole=whole) for start, end in zip(low.tolist(), high.tolist(), strict=True)]
    data = columns(low=low, high=high, number=histogram.counts, bin=np.array(labels))
    kind = {"type": "log"} if histogram.logarithmic else {"type": "linear", "zero": False}
    ticks = log_ticks(float(low[0]), float(high[-1])) if histogram.logarithmic else None
    axis = {**_counted(of, ticks=ticks), "grid": False}
    if not whole:
        del axis["tickMinStep"]
    # A bar of given ends: a logarithmic axis takes no bins.
    scale = {**kind, "domain": [float(low[0]), float(high[-1])], "nice": False}
    spec = {
        "data": data,
        "width": "container",
        "height": _HEIGHT,
        "mark": {"type": "rect", "stroke": "@paper", "strokeWidth": 1},
        "encoding": {
            "x": {"field": "low", "type": "quantitative", "axis": axis, "scale": scale},
            "x2": {"field": "high"},
            "y": {
                "field": "number",
                "type": "quantitative",
                "axis": _counted(number_of),
                "scale": {"zero": True},
            },
            "y2": {"datum": 0},
            "tooltip": [
                {"field": "bin", "type": "nominal", "title": of},
                {"field": "number", "type": "quantitative", "title": number_of, "format": ",d"},
            ],
        },
    }
    note = "Bars widen with the value: the axis is logarithmic." if histogram.logarithmic else ""
    return Chart(title=title, spec=spec, note=note)


def values_chart(values: Values, *, title: str, of: str) -> Chart:
    """Draw how often each distinct value occurs."""
    data = columns(
        value=np.array([f"{value:g}".replace("-", "−") for value in values.values.tolist()]),
        number=values.counts,
        share=values.counts / max(int(values.counts.sum()), 1),
    )
    return Chart(
        title=title,
        spec={
            "data": data,
            "width": "container",
            "height": _HEIGHT,
            "mark": {"type": "bar"},
            "encoding": {
                "x": {
                    "field": "value",
                    "type": "ordinal",
                    "sort": None,
                    "axis": {"title": of, "labelAngle": 0, "labelOverlap": True},
                },
                "y": {
                    "field": "number",
                    "type": "quantitative",
                    "axis": _counted("Interactions"),
                },
                "tooltip": [
                    {"field": "value", "type": "nominal", "title": of},
                    {"field": "number", "type": "quantitative", "title": "Interactions", "format": ",d"},
                    {"field": "share", "type": "quantitative", "title": "of all", "format": ".1%"},
                ],
            },
        },
    )


def activity_chart(periods: Periods) -> Chart:
    """Draw the rows of each period as an area over time."""
    # The last period ends where one more would begin.
    times = np.append(periods.starts, periods.end).astype(np.int64) * _MILLISECONDS
    labels = [period_label(start, unit=periods.unit) for start in periods.starts]
    data = columns(
        time=times,
        rows=np.append(periods.counts, periods.counts[-1]),
        period=np.array([*labels, labels[-1]]),
    )
    encoding = {
        "x": {
            "field": "time",
            "type": "temporal",
            "scale": {"type": "utc", "nice": False},
            "axis": {"title": None, "grid": False, "tickCount": 6, "labelOverlap": True},
        },
        "y": {
            "field": "rows",
            "type": "quantitative",
            "axis": _counted(f"Rows a {periods.unit}"),
        },
        "tooltip": [
            {"field": "period", "type": "nominal", "title": periods.unit.capitalize()},
            {"field": "rows", "type": "quantitative", "title": "Rows", "format": ",d"},
        ],
    }
    mark = {"type": "area", "line": {"strokeWidth": 1.5}, "fillOpacity": 0.15, "interpolate": "step-after"}
    return Chart(
        title="Activity over time",
        spec=_with_hidden_points(data, mark, encoding),
        note=f"Rows of the training data by {periods.unit}, in universal time.",
    )


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis: powers of ten, with 2 and 5 between them where these are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high < 1_000 * low else (1,)
    ticks = [digit * 10.0**power for power in powers for digit in digits]
    step = 1 + len(powers) // 8
    return [tick for tick in ticks if low <= tick <= high][:: step if len(digits) == 1 else 1]


def period_label(start: np.datetime64, *, unit: str) -> str:
    """Return what a period is called, as in `March 1998` or `1990 to 1999`."""
    year = int(start.astype("datetime64[Y]").astype(np.int64)) + 1970
    if unit not in _UNITS:
        return f"{year} to {year + int(unit.split()[0]) - 1}"
    if not 1 <= year <= 9999:
        # Beyond what the calendar of the standard library knows.
        return str(start)
    return str(start.astype("datetime64[D]").item().strftime(_UNITS[unit]))


def _counted(title: str, *, ticks: Sequence[float] | None = None) -> dict[str, Any]:
    """Return an axis of numbers that may be large, as in `20k`."""
    at = {"tickCount": 4} if ticks is None else {"values": list(ticks)}
    return {"title": title, "labelExpr": _SHORT, "tickMinStep": 1, **at}


def _with_hidden_points(
    data: Mapping[str, Any], mark: Mapping[str, Any], encoding: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a line or an area with a tooltip at each of its points, which are not seen."""
    points = {"type": "point", "opacity": 0, "size": 150, "filled": True}
    drawn = {channel: value for channel, value in encoding.items() if channel != "tooltip"}
    return {
        "data": data,
        "width": "container",
        "height": _HEIGHT,
        "layer": [{"mark": {**mark, "tooltip": None}, "encoding": drawn}, {"mark": points, "encoding": dict(encoding)}],
    }


def _bin_label(start: float, end: float, *, whole: bool) -> str:
    if not whole:
        return f"{start:.4g} to {end:.4g}".replace("-", "−")
    return count(int(start)) if end == start + 1 else f"{count(int(start))} to {count(int(end) - 1)}"
