"""What speaks for the recommendations of a user: the items of the history with the largest impact, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.recommender import Recommender
from factorbox.report.blocks import Chart
from factorbox.report.charts import columns, count, rounded
from factorbox.report.labels import item_labels
from factorbox.report.people_chosen import Person
from factorbox.report.scores import impact_name

TOGETHER = "all"
"""The key of the sums over all recommendations of a user; the others are `1` for the first, and so on."""

_SHOWN = 20
_LEAST_OF_EACH = 5

Influences = Mapping[str, Sequence[Mapping[str, Any]]]


def influences_on(model: Recommender, person: Person) -> Influences:
    """Return the reasons of the largest absolute impact, but where there are so many at least five of either sign.

    Returns
    -------
    Influences
        By what they speak for: `item_id`, `label`, `influence` and `impact` of each item of the history, from the most
        positive impact to the most negative; nothing for a model without explanations.
    """
    explained = {str(rank): row for rank, row in enumerate(person.recommended, start=1) if len(row.reasons)}
    if not explained:
        return {}
    rows = list(explained.values())
    reasons, at = np.unique(np.concatenate([row.reasons for row in rows]), return_inverse=True)
    influences, impacts = (
        np.bincount(at, weights=np.concatenate(values), minlength=len(reasons)).astype(np.float64)
        for values in ([row.influences for row in rows], [row.impacts for row in rows])
    )
    parts = {
        TOGETHER: _largest(reasons, influences, impacts),
        **{rank: _largest(row.reasons, row.influences, row.impacts) for rank, row in explained.items()},
    }
    shown = np.unique(np.concatenate([part[0] for part in parts.values()]))
    labels = dict(zip(shown.tolist(), item_labels(model, shown, distinct=True), strict=True))
    return {
        of: [
            {
                "item_id": model.item_ids[item],
                "label": labels[item],
                "influence": rounded(influence),
                "impact": rounded(impact),
            }
            for item, influence, impact in zip(*(values.tolist() for values in part), strict=True)
        ]
        for of, part in parts.items()
    }


def influence_chart(model: Recommender, name: str, person: Person, influences: Influences) -> Chart:
    """Return the reasons as bars; the reader chooses the recommendation that they speak for."""
    traits = model.answering.traits
    rows = [(of, entry) for of, entries in influences.items() for entry in entries]
    values = dict(zip(person.items.tolist(), person.values.tolist(), strict=True))
    items = model.item_ids.indices_of([entry["item_id"] for _, entry in rows])
    tooltip = [
        {"field": "item", "type": "nominal", "title": "Item"},
        {"field": "impact", "type": "quantitative", "title": "Influence", "format": "+.3~r"},
    ]
    beside: dict[str, Any] = {}
    if traits.feedback.kind == "ratings":
        beside["rating"] = [values[item] for item in items.tolist()]
        tooltip.append({"field": "rating", "type": "quantitative", "title": "Rated", "format": "~g"})
    first = next(of for of in influences if of != TOGETHER)
    spec = {
        "data": columns(
            of=[of for of, _ in rows],
            item=[entry["label"] for _, entry in rows],
            impact=[entry["impact"] for _, entry in rows],
            **beside,
        ),
        "params": [{"name": "of", "value": first, "bind": _choice(model, person, influences)}],
        "transform": [{"filter": "datum.of == of"}],
        "width": "container",
        "height": {"step": 20},
        "mark": "bar",
        "encoding": {
            "y": {
                "field": "item",
                "type": "nominal",
                "sort": {"field": "impact", "op": "max", "order": "descending"},
                "axis": {"title": None},
            },
            "x": {
                "field": "impact",
                "type": "quantitative",
                "axis": {"title": f"influence: {impact_name(model)}", "format": "~g"},
            },
            "color": {"condition": {"test": "datum.impact < 0", "value": "@against"}, "value": "@accent"},
            "tooltip": tooltip,
        },
    }
    n_shown, n_history = len(influences[TOGETHER]), len(person.items)
    cut = f"The {n_shown} largest of {count(n_history)}, of either sign at least {_LEAST_OF_EACH} if there are. "
    return Chart(
        title=f"Influences of the history of user {name}",
        spec=spec,
        note=(cut if n_shown < n_history else "") + "Choose above the picture which recommendation they speak for.",
    )


def _largest(
    items: NDArray[np.int64], influences: NDArray[np.float64], impacts: NDArray[np.float64]
) -> tuple[NDArray[Any], ...]:
    """Return those of the largest absolute impact, some of either sign, sorted by impact, ties by index."""
    order = np.lexsort((items, -np.abs(impacts)))
    positive, negative = order[impacts[order] >= 0], order[impacts[order] < 0]
    # What speaks against a recommendation is small beside what speaks for it, and would never be seen.
    against = min(_LEAST_OF_EACH, len(negative))
    in_favour = min(_LEAST_OF_EACH, len(positive))
    sure = np.concatenate([positive[:in_favour], negative[:against]])
    others = order[~np.isin(order, sure)][: _SHOWN - len(sure)]
    chosen = np.concatenate([sure, others])
    shown = chosen[np.lexsort((items[chosen], -impacts[chosen]))]
    return items[shown], influences[shown], impacts[shown]


def _choice(model: Recommender, person: Person, influences: Influences) -> dict[str, Any]:
    items = np.array([row.item for row in person.recommended], dtype=np.int64)
    named = [f"{rank}. {label}" for rank, label in enumerate(item_labels(model, items, longest=40), start=1)]
    explained = [of for of in influences if of != TOGETHER]
    together = f"all {len(explained)} recommendations" if len(explained) > 1 else "the recommendation"
    labels = [*(named[int(of) - 1] for of in explained), together]
    return {"input": "select", "options": [*explained, TOGETHER], "labels": labels, "name": "Influences on "}
