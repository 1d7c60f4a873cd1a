"""How a training went, epoch by epoch: its loss, and what was measured on held-out interactions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.evaluation.metrics import LOSS, RATING_METRICS
from factorbox.report.blocks import Chart
from factorbox.report.charts import columns, count, decimal
from factorbox.report.comparisons import display_name
from factorbox.report.inputs import CurvePoint

MOST_POINTS = 200
"""Epochs of a chart at most."""

_HEIGHT = 240
_MOST_METRICS = 3
_PADDING = 28
# With so few epochs each is seen as a point of its own.
_FEW = 30
# And with so few, each has its number below it.
_EACH = 8
_SMALLER_IS_BETTER = {LOSS, *(metric.log_name for metric in RATING_METRICS)}


def curve_charts(curve: Sequence[CurvePoint]) -> list[Chart]:
    """Draw the loss and each metric by epoch, each in a chart of its own; nothing for no epochs."""
    if not curve:
        return []
    metrics = [name for name in _metric_names(curve) if name != LOSS]
    return [_loss_chart(curve), *(_metric_chart(curve, name) for name in metrics[:_MOST_METRICS])]


def best_epoch(curve: Sequence[CurvePoint], name: str) -> CurvePoint | None:
    """Return the first of the epochs with the best value of a metric; None where it was never measured."""
    measured = [point for point in curve if math.isfinite(point.metrics.get(name, math.nan))]
    if not measured:
        return None
    sign = -1 if name in _SMALLER_IS_BETTER else 1
    return max(measured, key=lambda point: sign * point.metrics[name])


def objective_of(curve: Sequence[CurvePoint]) -> str | None:
    """Return the metric by which the training told epochs apart: the first that each epoch has."""
    return next(iter(_metric_names(curve)), None)


def curve_numbers(curve: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """Return all epochs as JSON values."""
    return [
        {"epoch": point.epoch, "train_loss": _finite(point.train_loss)}
        | {name: _finite(value) for name, value in point.metrics.items()}
        for point in curve
    ]


def thinned(curve: Sequence[CurvePoint], *, keep: CurvePoint | None = None) -> list[CurvePoint]:
    """Return at most `MOST_POINTS` epochs at equal distances with the first and the last, and one more to keep."""
    if len(curve) <= MOST_POINTS:
        return list(curve)
    at: NDArray[np.int64] = np.linspace(0, len(curve) - 1, MOST_POINTS).round().astype(np.int64)
    chosen = {int(position) for position in at}
    return [point for position, point in enumerate(curve) if position in chosen or point is keep]


def _metric_names(curve: Sequence[CurvePoint]) -> list[str]:
    return list(dict.fromkeys(name for point in curve for name in point.metrics))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _loss_chart(curve: Sequence[CurvePoint]) -> Chart:
    shown = thinned(curve)
    series = [("training", point.epoch, point.train_loss) for point in shown]
    held_out = [("held out", point.epoch, point.metrics[LOSS]) for point in shown if LOSS in point.metrics]
    names, epochs, losses = zip(*series, *held_out, strict=True)
    data = columns(series=np.array(names), epoch=np.array(epochs), loss=np.array(losses, dtype=np.float64))
    encoding = _axes(curve, "loss", "Loss", format=".4~g")
    if held_out:
        scale = {"domain": ["training", "held out"], "range": ["@muted", "@accent"]}
        encoding["color"] = {"field": "series", "type": "nominal", "title": None, "scale": scale}
    first, last = curve[0], curve[-1]
    note = f"From {decimal(first.train_loss, 4)} to {decimal(last.train_loss, 4)} in {count(len(curve))} epochs."
    mark: dict[str, Any] = {"type": "line", "point": len(shown) <= _FEW}
    if not held_out:
        mark["color"] = "@muted"
        if mark["point"]:
            mark["point"] = {"color": "@muted"}
    return Chart(
        title="Loss by epoch" if held_out else "Training loss by epoch",
        spec={"data": data, "width": "container", "height": _HEIGHT, "mark": mark, "encoding": encoding},
        note=note if len(curve) > 1 else "",
    )


def _metric_chart(curve: Sequence[CurvePoint], name: str) -> Chart:
    best = best_epoch(curve, name)
    shown = [point for point in thinned(curve, keep=best) if name in point.metrics]
    title = display_name(name)
    data = columns(
        epoch=np.array([point.epoch for point in shown]),
        value=np.array([point.metrics[name] for point in shown], dtype=np.float64),
    )
    encoding = _axes(curve, "value", title, format=".4f")
    layers: list[dict[str, Any]] = [{"mark": {"type": "line", "point": len(shown) <= _FEW}, "encoding": encoding}]
    if len(shown) > _FEW:
        hidden = {"type": "point", "opacity": 0, "size": 120}
        layers.append({"mark": hidden, "encoding": encoding})
    note = ""
    if best is not None:
        is_late = 2 * best.epoch > curve[0].epoch + curve[-1].epoch
        layers += _marked(best.epoch, best.metrics[name], encoding, late=is_late, below=name in _SMALLER_IS_BETTER)
        note = f"Best at epoch {count(best.epoch)} of {count(curve[-1].epoch)}: {decimal(best.metrics[name], 4)}."
    spec = {"data": data, "width": "container", "height": _HEIGHT, "layer": layers}
    return Chart(title=f"{title} on held-out interactions", spec=spec, note=note)


def _marked(epoch: int, value: float, encoding: dict[str, Any], *, late: bool, below: bool) -> list[dict[str, Any]]:
    """Return a ring around the best epoch and its name, above or below it, where the curve is not."""
    place = {channel: {key: encoding[channel][key] for key in ("field", "type")} for channel in ("x", "y")}
    data = columns(epoch=[epoch], value=[value], name=np.array([f"best: {count(epoch)}"]))
    ring = {"type": "point", "filled": False, "size": 160, "strokeWidth": 2, "stroke": "@against", "opacity": 1}
    text = {
        "type": "text",
        "align": "right" if late else "left",
        "dx": 6 if late else 4,
        "dy": 20 if below else -20,
        "color": "@against",
    }
    return [
        {"data": data, "mark": ring, "encoding": place},
        {"data": data, "mark": text, "encoding": {**place, "text": {"field": "name", "type": "nominal"}}},
    ]


def _axes(curve: Sequence[CurvePoint], value: str, title: str, *, format: str) -> dict[str, Any]:
    first, last = curve[0].epoch, curve[-1].epoch
    # One epoch stands in the middle of its axis.
    domain = [first, last] if first < last else [first - 1, first + 1]
    ticks: dict[str, Any] = {"tickMinStep": 1} if last - first > _EACH else {"values": list(range(first, last + 1))}
    return {
        "x": {
            "field": "epoch",
            "type": "quantitative",
            "axis": {"title": "Epoch", "format": ",d", "grid": False, **ticks},
            "scale": {"domain": domain, "nice": False},
        },
        "y": {
            "field": value,
            "type": "quantitative",
            "axis": {"title": title, "format": ".4~g", "tickCount": 4},
            # Room for the name of the best epoch.
            "scale": {"zero": False, "nice": False, "padding": _PADDING},
        },
        "tooltip": [
            {"field": "epoch", "type": "quantitative", "title": "Epoch", "format": ",d"},
            {"field": value, "type": "quantitative", "title": title, "format": format},
        ],
    }
