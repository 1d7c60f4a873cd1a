"""The matrix of users and items as blocks of the report: its busiest corner, and as much as a screen holds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.recommend.traits import Traits
from factorbox.recommender import Recommender
from factorbox.report.blocks import Block, Download, Row, Table, Text
from factorbox.report.charts import count
from factorbox.report.inputs import ReportInputs
from factorbox.report.labels import item_labels, user_labels
from factorbox.report.matrix import HELD_OUT, Cells, cells_of, chosen_items, chosen_users, pattern_order
from factorbox.report.matrix_charts import (
    predictions_picture,
    small_matrix_chart,
    splits_picture,
    value_text,
    values_picture,
)
from factorbox.report.numbers import counted, numbers
from factorbox.report.popular import most

Part = tuple[Sequence[Block], dict[str, Any]]
"""Blocks, and their entries of the section's numbers."""

_FEW = 15
_LABEL = 28


def value_names(traits: Traits) -> tuple[str, str]:
    """Return what a value of the data is called, and what the model gives in its place."""
    if traits.feedback.kind == "implicit":
        return "Weight", "Score"
    return "Rating", "Probability of a like" if traits.labels else "Predicted rating"


def busiest_blocks(model: Recommender, of_users: NDArray[np.int64], of_items: NDArray[np.int64]) -> Part:
    """Show the values of the busiest users for the most popular items as a heat map, a table and CSV.

    Parameters
    ----------
    of_users, of_items
        (users,) and (items,): how many interactions each has.
    """
    users, items = most(of_users, _FEW), most(of_items, _FEW)
    values = cells_of(users, items, seen=model.seen, held_out=None).values
    user_names = user_labels(model, users, longest=_LABEL, distinct=True)
    item_names = item_labels(model, items, longest=_LABEL, distinct=True)
    user_ids, item_ids = [model.user_ids[u] for u in users.tolist()], [model.item_ids[i] for i in items.tolist()]
    name, _ = value_names(model.answering.traits)
    rows = [["" if np.isnan(v) else value_text(v) for v in row] for row in values.tolist()]
    who = "The busiest users and the most popular items"
    found = {
        "users": user_ids,
        "items": item_ids,
        "titles": item_labels(model, items),
        "interactions_of_users": numbers(of_users[users]),
        "interactions_of_items": numbers(of_items[items]),
        "values": numbers(values),
    }
    blocks: list[Block] = [
        small_matrix_chart(
            values,
            users=user_names,
            items=item_names,
            value_name=name,
            title=who,
            note=f"{name}s of the {counted(len(users), 'user')} with the most interactions, the busiest first, for the"
            f" {counted(len(items), 'item')} that most users have, the most popular first.",
        ),
        Table(
            title="The same as a table",
            columns=["User", *item_names],
            rows=[[label, *row] for label, row in zip(user_names, rows, strict=True)],
            numeric=range(1, len(items) + 1),
            folded=True,
        ),
        Download(
            label="These values as CSV", name="busiest.csv", content=_as_csv(rows, users=user_ids, items=item_ids)
        ),
    ]
    return blocks, {"busiest": found}


def _as_csv(rows: Sequence[Sequence[str]], *, users: Sequence[str], items: Sequence[str]) -> str:
    """Return a table by whole ids, quoted by RFC 4180 where they need it."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(["user_id", *items])
    writer.writerows([user, *row] for user, row in zip(users, rows, strict=True))
    return file.getvalue()


def picture_blocks(inputs: ReportInputs, of_users: NDArray[np.int64], of_items: NDArray[np.int64]) -> Part:
    """Show as much of the matrix as a screen holds: by value, as predicted, and by what each pair was used for.

    Parameters
    ----------
    of_users, of_items
        As in `busiest_blocks`.
    """
    model = inputs.model
    users, items = chosen_users(of_users), chosen_items(of_items)
    if len(users) < 2 or len(items) < 2:
        return [], {}
    cells = cells_of(users, items, seen=model.seen, held_out=inputs.held_out)
    predicted = _predicted(model, cells)
    by_pattern = bool(np.isfinite(predicted).all())
    if by_pattern:
        rows, columns = pattern_order(predicted)
        cells, predicted = cells.ordered(rows, columns), predicted[np.ix_(rows, columns)]
    labels = user_labels(model, cells.users), item_labels(model, cells.items)
    traits = model.answering.traits
    name, predicted_name = value_names(traits)
    known = cells.values[np.isfinite(cells.values)]
    values_differ = len(known) > 0 and bool(known.min() < known.max())
    # Ratings and predictions of them share their colours; labels and scores have other units.
    same_unit = values_differ and traits.feedback.kind == "ratings" and not traits.labels
    domain = (float(known.min()), float(known.max())) if same_unit else None
    beside = predictions_picture(predicted, labels=labels, value_name=predicted_name, domain=domain)
    by_split = splits_picture(cells, labels=labels)
    whole = len(users) == len(of_users) and len(items) == len(of_items)
    chosen = _how_chosen(users=(len(users), len(of_users)), items=(len(items), len(of_items)))
    order = (
        "Rows and columns stand in the order of the strongest pattern in what the model predicts, less the means of"
        " both, so that users of one taste stand together, and so do the items that they like."
        if by_pattern
        else "Rows stand in the order of activity, columns in that of popularity."
    )
    found = {
        "is_whole": whole,
        "chosen": chosen,
        "users": [model.user_ids[u] for u in cells.users.tolist()],
        "items": [model.item_ids[i] for i in cells.items.tolist()],
        "values": numbers(cells.values),
        "splits": numbers(cells.splits),
        "predicted": numbers(predicted),
    }
    title = "The whole matrix" if whole else "A part of the matrix"
    top = f"{title}, each row a user and each column an item: {chosen}."
    by_value = values_picture(cells, labels=labels, value_name=name) if values_differ else by_split
    # Where values are all the same, the splits have taken their place.
    has_splits = values_differ and bool((cells.splits == HELD_OUT).any())
    pictures = [by_value, beside, *([by_split] if has_splits else [])]
    return [Text(f"{top} {order}"), Row(pictures)], {"matrix": found}


def _how_chosen(*, users: tuple[int, int], items: tuple[int, int]) -> str:
    """Say which users and items are shown, each as how many of how many."""
    if users[0] == users[1] and items[0] == items[1]:
        return f"{count(users[0])} users by {count(items[0])} items"
    rows = (
        f"all {count(users[1])} users"
        if users[0] == users[1]
        else f"{count(users[0])} of {count(users[1])} users, at equal distances from the busiest to the least busy,"
    )
    columns = (
        f"all {count(items[1])} items"
        if items[0] == items[1]
        else f"the {count(items[0])} most popular of {count(items[1])} items"
    )
    return f"{rows} by {columns}"


def _predicted(model: Recommender, cells: Cells) -> NDArray[np.float32]:
    n_users, n_items = len(cells.users), len(cells.items)
    scores = model.answering.scores(
        users=np.repeat(cells.users, n_items), item_indices=np.tile(cells.items, n_users).astype(np.int32)
    )
    return scores.reshape(n_users, n_items)
