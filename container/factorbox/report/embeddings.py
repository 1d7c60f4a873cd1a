"""The section on embeddings: the vectors of users and of items side by side, number by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.recommender import Recommender
from factorbox.report.blocks import Block, Chart, Row, Section, Text
from factorbox.report.charts import columns
from factorbox.report.inputs import ReportInputs
from factorbox.report.labels import item_labels, user_labels
from factorbox.report.popular import most, users_of_items
from factorbox.report.seriation import spectral_order

# Up to so many, all are shown; of more, the busiest users and the most popular items.
_SMALL = 200
_SAMPLE = 100
_MOST_DIMENSIONS = 64
# Of the absolute values, those above this share have the strongest colour, so that a few large ones hide no others.
_STRONGEST = 0.99


@dataclass(frozen=True, eq=False)
class _Side:
    """The vectors of users, or of items, that are shown, in the order of the picture.

    Attributes
    ----------
    name
        `users` or `items`.
    total
        How many the model has.
    ids, labels
        Of those that are shown.
    vectors
        float32, (shown, d).
    """

    name: str
    total: int
    ids: list[str]
    labels: list[str]
    vectors: NDArray[np.float32]


def embeddings_section(inputs: ReportInputs) -> Section:
    """Return heat maps of the vectors of users and items, all of them or the busiest."""
    model = inputs.model
    users, items = _users(model), _items(model)
    dimensions = _dimensions(users, items)
    blocks: list[Block] = [
        Text(_what_is_seen(model, shown=len(dimensions))),
        Row([_heat_map(side, dimensions) for side in (users, items)]),
    ]
    return Section(
        key="embeddings",
        title="Embeddings",
        lead="The numbers themselves: one row a user or an item, one column a dimension.",
        blocks=blocks,
        numbers={
            "dimensions": (dimensions + 1).tolist(),
            **{side.name: _numbers(side, dimensions) for side in (users, items)},
        },
    )


def _users(model: Recommender) -> _Side:
    counts = model.seen.counts
    chosen = most(counts, len(counts) if len(counts) <= _SMALL else _SAMPLE)
    chosen = chosen[spectral_order(model.user_factors[chosen])]
    return _Side(
        name="users",
        total=len(counts),
        ids=[model.user_ids[index] for index in chosen.tolist()],
        labels=user_labels(model, chosen, distinct=True),
        vectors=model.user_factors[chosen],
    )


def _items(model: Recommender) -> _Side:
    counts = users_of_items(model.seen, n_items=len(model.item_ids))
    chosen = most(counts, len(counts) if len(counts) <= _SMALL else _SAMPLE)
    chosen = chosen[spectral_order(model.item_factors[chosen])]
    return _Side(
        name="items",
        total=len(counts),
        ids=[model.item_ids[index] for index in chosen.tolist()],
        labels=item_labels(model, chosen, distinct=True),
        vectors=model.item_factors[chosen],
    )


def _dimensions(users: _Side, items: _Side) -> NDArray[np.int64]:
    """Return the dimensions that are shown: those that add most to scores, the most important first."""
    weights = np.ones(items.vectors.shape[1])
    for side in (users, items):
        weights *= np.square(side.vectors, dtype=np.float64).mean(axis=0)
    return np.argsort(-weights, kind="stable")[:_MOST_DIMENSIONS]


def _heat_map(side: _Side, dimensions: NDArray[np.int64]) -> Chart:
    shown, d = len(side.labels), len(dimensions)
    values = side.vectors[:, dimensions]
    name = side.name.capitalize()
    strongest = float(np.quantile(np.abs(values), _STRONGEST)) or float(np.abs(values).max()) or 1.0
    legible = shown <= 40
    spec = {
        "data": columns(
            row=np.repeat(np.arange(shown), d),
            label=np.repeat(side.labels, d),
            column=np.tile(np.arange(d), shown),
            dimension=np.tile(dimensions + 1, shown),
            value=_few_digits(values).ravel(),
        ),
        "width": "container",
        "height": {"step": 14} if legible else 480,
        "mark": {"type": "rect", "stroke": None, "strokeWidth": 0},
        "encoding": {
            "x": {
                "field": "column",
                "type": "ordinal",
                "axis": {"title": f"{d:,} dimensions" if d > 1 else "1 dimension", "labels": False, "ticks": False},
                "scale": {"paddingInner": 0, "paddingOuter": 0},
            },
            "y": {
                "field": "label" if legible else "row",
                "type": "nominal" if legible else "ordinal",
                "sort": None,
                "axis": {"title": None} if legible else {"title": None, "labels": False, "ticks": False},
                "scale": {"paddingInner": 0, "paddingOuter": 0},
            },
            "color": {
                "field": "value",
                "type": "quantitative",
                "title": None,
                "scale": {"domain": [-strongest, strongest], "domainMid": 0, "clamp": True},
                "legend": {"format": ".2~g", "tickCount": 3},
            },
            "tooltip": [
                {"field": "label", "type": "nominal", "title": name[:-1]},
                {"field": "dimension", "type": "quantitative", "title": "Dimension", "format": "d"},
                {"field": "value", "type": "quantitative", "title": "Value", "format": ".3f"},
            ],
        },
    }
    if shown == side.total:
        title = f"All {shown:,} {side.name}" if shown > 1 else f"The only {side.name[:-1]}"
    else:
        which = "busiest" if side.name == "users" else "most popular"
        title = f"The {shown:,} {which} of {side.total:,} {side.name}"
    return Chart(title=title, spec=spec, many_marks=shown * d > 800)


def _what_is_seen(model: Recommender, *, shown: int) -> str:
    d = model.item_factors.shape[1]
    if model.layers:
        meaning = (
            "A user's and an item's numbers are added up, and are the inputs of the network's first hidden layer: a"
            " column is one of its units."
        )
    else:
        meaning = (
            "A score is the sum, over the columns, of the user's number times the item's: where both have the same"
            " colour in a column, it speaks for the pair."
        )
    if d == 1:
        return meaning
    order = "The columns are the same in both pictures, those that add most to scores first; rows that are alike stand"
    few = f" Of {d:,} dimensions the first {shown:,} are shown." if shown < d else ""
    return f"{meaning} {order} together.{few}"


def _numbers(side: _Side, dimensions: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "shown": len(side.ids),
        "of": side.total,
        "ids": side.ids,
        "labels": side.labels,
        "values": _few_digits(side.vectors[:, dimensions]).tolist(),
    }


def _few_digits(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return values without the digits that are small beside the largest of them."""
    largest = float(np.abs(values).max())
    return values.astype(np.float64).round(4 - int(np.floor(np.log10(largest))) if largest > 0 else 0)
