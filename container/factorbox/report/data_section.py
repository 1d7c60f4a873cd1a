"""The section of the report on the data: how many, how uneven, when, and what the matrix looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.recommend.traits import Traits
from factorbox.report.blocks import Block, Facts, Row, Section, Text
from factorbox.report.charts import count, decimal, percent
from factorbox.report.data_charts import (
    activity_chart,
    concentration_chart,
    histogram_chart,
    period_label,
    popularity_chart,
    values_chart,
)
from factorbox.report.distributions import (
    Histogram,
    LongTail,
    Periods,
    Values,
    by_period,
    distribution,
    histogram_of_counts,
)
from factorbox.report.inputs import ReportInputs
from factorbox.report.matrix_blocks import Part, busiest_blocks, picture_blocks, value_names
from factorbox.report.numbers import numbers
from factorbox.report.popular import users_of_items


def data_section(inputs: ReportInputs) -> Section:
    """Describe the data that a model knows: what it was trained on, and what it was measured by.

    Users and items of the small heat map are the busiest and most popular. Of data that do not fit on a screen, the
    large picture takes users at equal distances in the order of their activity, and the most popular items; nothing is
    drawn by chance.
    """
    model = inputs.model
    seen = model.seen
    of_users, of_items = np.asarray(seen.counts), users_of_items(seen, n_items=len(model.item_ids))
    tail = LongTail(np.sort(of_items)[::-1])
    facts, sentence, found = _in_numbers(of_users, tail, inputs)
    concentration, items_block, of_items_block = _items_block(tail)
    blocks: list[Block] = [facts, Text(sentence + concentration), *items_block]
    result: dict[str, Any] = {"counts": found, **of_items_block}
    for part, of_part in (
        _users_and_values_block(of_users, seen.weights, traits=model.answering.traits),
        _activity_block(inputs),
        busiest_blocks(model, of_users, of_items),
        picture_blocks(inputs, of_users, of_items),
    ):
        blocks.extend(part)
        result.update(of_part)
    return Section(
        key="data",
        title="The data",
        lead="Who had to do with what, how unevenly, and what of it the model reproduces.",
        blocks=blocks,
        numbers=result,
    )


def _in_numbers(of_users: NDArray[np.int64], tail: LongTail, inputs: ReportInputs) -> tuple[Facts, str, dict[str, Any]]:
    n_users, n_items, n_pairs = len(of_users), len(tail.counts), int(of_users.sum())
    density = n_pairs / max(n_users * n_items, 1)
    per_user, per_item = n_pairs / max(n_users, 1), n_pairs / max(n_items, 1)
    median_user, median_item = (float(np.median(of)) if len(of) else 0.0 for of in (of_users, tail.counts))
    found: dict[str, Any] = {
        "users": n_users,
        "items": n_items,
        "interactions": n_pairs,
        "density": density,
        "mean_per_user": per_user,
        "median_per_user": median_user,
        "mean_per_item": per_item,
        "median_per_item": median_item,
    }
    facts = [
        ("users" if n_users != 1 else "user", count(n_users)),
        ("items" if n_items != 1 else "item", count(n_items)),
        ("interactions" if n_pairs != 1 else "interaction", count(n_pairs)),
        ("of all pairs are known", percent(density)),
    ]
    sentence = (
        f"Interactions per user: {_mean_text(per_user)} on average, {_mean_text(median_user)} in the median; per item:"
        f" {_mean_text(per_item)} and {_mean_text(median_item)}."
    )
    if inputs.activity is not None and len(inputs.activity.days):
        first, last = inputs.activity.days[[0, -1]].astype("datetime64[D]")
        found |= {"first_day": str(first), "last_day": str(last)}
        day = period_label(first, unit="day")
        span = f"on {day}" if first == last else f"from {day} to {period_label(last, unit='day')}"
        sentence += f" All of it happened {span}."
    return Facts(facts), sentence, found


def _mean_text(value: float) -> str:
    return count(int(value)) if value == int(value) else decimal(value, 1)


def _items_block(tail: LongTail) -> tuple[str, Sequence[Block], dict[str, Any]]:
    """Return the long tail in words, as charts and in numbers."""
    n_items = len(tail.counts)
    if n_items < 2 or not tail.counts[0]:
        return "", [], {}
    top = 50 if n_items >= 500 else 10 if n_items >= 20 else 1
    share, half = float(tail.shares[top - 1]), tail.items_for(0.5)
    who = f"{top} most popular items are" if top > 1 else "most popular item is"
    text = (
        f" The {who} {percent(share)} of the interactions, and half of the interactions are with"
        f" {count(half)} of {count(n_items)} items ({percent(half / n_items)})."
    )
    found = {
        "top_items": top,
        "share_of_top_items": share,
        "items_for_half": half,
        "curve": {
            "rank": numbers(tail.ranks),
            "interactions": numbers(tail.counts[tail.ranks - 1]),
            "cumulative_share": numbers(tail.shares[tail.ranks - 1]),
        },
    }
    return text, [Row([popularity_chart(tail), concentration_chart(tail)])], {"long_tail": found}


def _users_and_values_block(of_users: NDArray[np.int64], weights: NDArray[np.float32], *, traits: Traits) -> Part:
    charts: list[Block] = []
    found: dict[str, Any] = {}
    if len(of_users) > 1 and of_users.any():
        per_user = histogram_of_counts(of_users)
        # One bar says less than the sentence above.
        if np.count_nonzero(per_user.counts) > 1:
            name = "Interactions per user"
            charts.append(
                histogram_chart(per_user, title=name, of="Interactions of a user", number_of="Users", whole=True)
            )
        found["interactions_per_user"] = _histogram_numbers(per_user)
    if len(weights):
        name, _ = value_names(traits)
        values = distribution(weights)
        found["values"] = {"name": name.lower(), **_values_numbers(values)}
        # Values that are all the same say nothing.
        if isinstance(values, Histogram):
            charts.append(histogram_chart(values, title=f"{name}s", of=name, number_of="Interactions", whole=False))
        elif len(values.values) > 1:
            charts.append(values_chart(values, title=f"{name}s", of=name))
    blocks: list[Block] = [Row(charts)] if charts else []
    if len(charts) == 2 and not traits.feedback.uses_weights:
        blocks.append(Text(f"algorithm={traits.algorithm} does not use the weights."))
    return blocks, found


def _histogram_numbers(histogram: Histogram) -> dict[str, Any]:
    return {"edges": numbers(histogram.edges), "counts": numbers(histogram.counts)}


def _values_numbers(values: Values | Histogram) -> dict[str, Any]:
    if isinstance(values, Histogram):
        return _histogram_numbers(values)
    return {"values": numbers(values.values), "counts": numbers(values.counts)}


def _activity_block(inputs: ReportInputs) -> Part:
    if inputs.activity is None or not len(inputs.activity.days):
        return [], {}
    periods: Periods = by_period(inputs.activity)
    found = {
        "period": periods.unit,
        "starts": [str(start) for start in periods.starts],
        "rows": numbers(periods.counts),
    }
    # One day draws no curve.
    return ([activity_chart(periods)] if len(periods.counts) > 1 else []), {"activity": found}
