"""The section on the item space: what the vectors of the items say that the items are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.recommender import Recommender
from factorbox.report.blocks import Block, Row, Section, Table, Text
from factorbox.report.charts import decimal, percent, rounded
from factorbox.report.components import principal_components
from factorbox.report.inputs import ReportInputs
from factorbox.report.item_space_charts import ItemSpace, bias_bars, scatter
from factorbox.report.labels import item_labels
from factorbox.report.popular import most, users_of_items

_MOST_ITEMS = 2000
_ENDS = 10
_BIASES = 15
_STRETCH = range(49, 100)


def item_space_section(inputs: ReportInputs) -> Section:
    """Return the principal components of the popular items' factors, and the items of extreme bias."""
    model = inputs.model
    space = _item_space(model)
    blocks: list[Block] = [Text(_what_vectors_are(model))]
    components: list[dict[str, Any]] = []
    if len(space.components):
        components = [_component(model, space, k) for k in range(len(space.components))]
        blocks += [Row([_ends_table(component) for component in components]), scatter(space)]
    else:
        blocks.append(Text(_nothing_to_show(space)))
    bias_blocks, biases = _biases(model, space)
    among = f"the {len(space.items):,} most popular of {len(model.item_ids):,} items"
    if space.is_all:
        among = "all items of the model" if len(space.items) > 1 else "the only item of the model"
    return Section(
        key="item_space",
        title="Item space",
        lead=f"What the model has learned about items, without ever reading a title. The pictures are of {among}.",
        blocks=[*blocks, *bias_blocks],
        numbers={
            "items": len(model.item_ids),
            "shown_items": len(space.items),
            "components": components,
            "points": {
                "item_id": [model.item_ids[index] for index in space.items.tolist()],
                "label": list(space.labels),
                "users": space.users.tolist(),
                "coordinates": _rounded_all(space.components.coordinates.T),
            },
            "labelled_ranks": [space.stretch.start + 1, space.stretch.stop] if len(space.components) else None,
            "biases": biases,
        },
    )


def _item_space(model: Recommender) -> ItemSpace:
    counts = users_of_items(model.seen, n_items=len(model.item_ids))
    items = most(counts, _MOST_ITEMS)
    return ItemSpace(
        items=items,
        labels=item_labels(model, items),
        users=counts[items],
        components=principal_components(model.item_factors[items]),
        is_all=len(items) == len(counts),
        # Fewer items have no such ranks: then the least popular of them, as many.
        stretch=_STRETCH if len(items) >= _STRETCH.stop else range(max(0, len(items) - len(_STRETCH)), len(items)),
    )


def _what_vectors_are(model: Recommender) -> str:
    d = model.item_factors.shape[1]
    if model.layers:
        return (
            f"Each item has {d:,} numbers. In {model.algorithm} they are no factors of a product but what the item adds"
            " to the inputs of the network's first hidden layer: items near one another are treated alike, and the"
            " directions themselves have no simple meaning. A principal component is a direction in which the items"
            " differ most."
        )
    if d == 1:
        return "Each item has one number, so that the item space is a line: those near one another are treated alike."
    return (
        f"Each item has {d:,} numbers, and items near one another are liked by the same people. A principal component"
        " is a direction in which the items differ most; what lies at its two ends often tells what it is about."
    )


def _nothing_to_show(space: ItemSpace) -> str:
    if len(space.items) < 2:
        return "A single item has nothing to differ from: there are no components."
    return "All items have the same vector, so that there are no components: the model has found nothing in the data."


def _component(model: Recommender, space: ItemSpace, k: int) -> dict[str, Any]:
    """Return what report.json has of a component; no item stands at both ends."""
    along = space.components.coordinates[:, k]
    order = np.argsort(along, kind="stable")
    ends = min(_ENDS, len(order) // 2)
    return {
        "component": k + 1,
        "explained_variance": rounded(float(space.components.explained[k])),
        "correlation_with_popularity": _correlation(along, np.log(np.maximum(space.users, 1))),
        "low": _entries(model, space, along, order[:ends]),
        "high": _entries(model, space, along, order[::-1][:ends]),
    }


def _entries(
    model: Recommender, space: ItemSpace, along: NDArray[np.float64], positions: NDArray[np.integer]
) -> list[dict[str, Any]]:
    return [
        {
            "item_id": model.item_ids[int(space.items[position])],
            "label": space.labels[position],
            "coordinate": rounded(float(along[position])),
        }
        for position in positions.tolist()
    ]


def _ends_table(component: dict[str, Any]) -> Table:
    popularity = component["correlation_with_popularity"]
    note = f"{percent(component['explained_variance'])} of the variance."
    if popularity is not None and abs(popularity) >= 0.5:
        where = "high" if popularity > 0 else "low"
        note += f" Popular items lie towards the {where} end (correlation {decimal(popularity, 2)})."
    return Table(
        title=f"Component {component['component']}",
        columns=["Low end", "High end"],
        rows=[(low["label"], high["label"]) for low, high in zip(component["low"], component["high"], strict=True)],
        note=note,
        folded_on_phones=component["component"] > 1,
    )


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Return Pearson's correlation; None where one of both does not vary."""
    a, b = a - a.mean(), b - b.mean()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return rounded(float(a @ b) / norms) if norms > 0 else None


def _biases(model: Recommender, space: ItemSpace) -> tuple[list[Block], dict[str, Any] | None]:
    """Return the bars of the items with the highest and lowest bias, and the same for report.json."""
    biases = model.item_biases[space.items]
    if not model.item_biases.any():
        return [Text(f"There are no biases to show: {_why_no_biases(model)}")], None
    order = np.argsort(biases, kind="stable")
    shown = min(_BIASES, max(1, len(order) // 2))
    ends = {"highest": order[::-1][:shown]}
    if len(order) > 1:
        ends["lowest"] = order[:shown]
    # Lengths in both pictures can be compared.
    longest = float(np.abs(biases).max())
    charts = []
    for name, positions in ends.items():
        labels = item_labels(model, space.items[positions], distinct=True)
        title = f"The {len(positions)} items with the {name} bias" if len(positions) > 1 else f"The {name} bias"
        low, high = float(biases[positions].min()), float(biases[positions].max())
        extent = (-longest if low < 0 else 0.0, longest if high > 0 else 0.0)
        charts.append(bias_bars(title, labels, biases[positions], extent=extent, users=space.users[positions].tolist()))
    return [Text(_what_biases_are(model)), Row(charts)], {
        name: [
            {
                "item_id": model.item_ids[int(space.items[position])],
                "label": space.labels[position],
                "bias": rounded(float(biases[position])),
                "users": int(space.users[position]),
            }
            for position in positions.tolist()
        ]
        for name, positions in ends.items()
    }


def _why_no_biases(model: Recommender) -> str:
    if model.algorithm in ("als", "nmf", "mlp"):
        return f"{model.algorithm} has none, and what an item is worth to everybody is in its vector."
    return "they are all 0 in this model."


def _what_biases_are(model: Recommender) -> str:
    if model.answering.traits.feedback.kind == "ratings":
        unit = " in the unit of the ratings" if model.answering.traits.link == "identity" else ""
        return f"An item's bias is what it adds to everybody's score{unit}, whatever their taste."
    return "An item's bias is what it adds to everybody's score, whatever their taste: mostly how popular it is."


def _rounded_all(values: NDArray[np.floating]) -> list[list[float | None]]:
    return [[rounded(value) for value in row] for row in _lists(values)]


def _lists(values: NDArray[np.floating]) -> Sequence[Sequence[float]]:
    return list(values.tolist())
