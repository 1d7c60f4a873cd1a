"""The section on three users: what they have, what they are recommended, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.recommender import Recommender
from factorbox.report.blocks import Block, Facts, Row, Section, Table, Text
from factorbox.report.charts import count, decimal, rounded
from factorbox.report.influences import TOGETHER, Influences, influence_chart, influences_on
from factorbox.report.inputs import ReportInputs
from factorbox.report.labels import item_labels, user_labels
from factorbox.report.people_chosen import Person, Recommended, three_people
from factorbox.report.popular import users_of_items
from factorbox.report.scores import score_name, score_text

_SHOWN_HISTORY = 10


def people_section(inputs: ReportInputs) -> Section:
    """Return what three users have, what the model recommends to them, and what speaks for it."""
    model = inputs.model
    people = three_people(model, held_out=inputs.held_out)
    popularity = users_of_items(model.seen, n_items=len(model.item_ids))
    blocks: list[Block] = [Text(_how_to_read(model))] if people else []
    told = []
    for person in people:
        history = _history(model, person, popularity)
        influences = influences_on(model, person)
        blocks += _person_blocks(model, person, history, influences)
        told.append(_numbers(model, person, history, influences))
    which = " and ".join(", ".join(f"a {person.kind}" for person in people).rsplit(", ", 1))
    lead = f"What the model would show to {which} user, by the length of their histories" if people else "Nobody"
    if not people:
        lead = "No user has a history that could be shown."
    elif any(person.held_out for person in people):
        lead += ", chosen among those with held-out items, which the model has not been trained on."
    else:
        lead += ": items that they do not have yet."
    return Section(
        key="people",
        title="Three users" if len(people) > 2 else "Users",
        lead=lead,
        blocks=blocks,
        numbers={"users": told, "explains": model.answering.traits.explains},
    )


def _person_blocks(
    model: Recommender, person: Person, history: Sequence[dict[str, Any]], influences: Influences
) -> list[Block]:
    (name,) = user_labels(model, np.array([person.user]), longest=24)
    facts = [(f"a {person.kind} user", name), ("items in the history", count(len(person.items)))]
    if model.answering.traits.feedback.kind == "ratings" and len(person.values):
        facts.append(("mean rating", decimal(float(person.values.mean(dtype=np.float64)), 2)))
    if person.held_out:
        hits = sum(row.item in person.held_out for row in person.recommended)
        facts.append((f"of {count(len(person.held_out))} held-out items recommended", count(hits)))
    blocks: list[Block] = [
        Facts(facts),
        Row([_history_table(model, name, person, history), _recommended_table(model, name, person)]),
    ]
    if influences:
        blocks.append(influence_chart(model, name, person, influences))
    return blocks


def _history(model: Recommender, person: Person, popularity: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return the part of the history that is shown: the highest values, and of equal ones the most popular items."""
    order = np.lexsort((person.items, -popularity[person.items], -person.values))[:_SHOWN_HISTORY]
    items = person.items[order]
    return [
        {"item_id": model.item_ids[item], "label": label, "value": rounded(value)}
        for item, label, value in zip(
            items.tolist(), item_labels(model, items), person.values[order].tolist(), strict=True
        )
    ]


def _history_table(model: Recommender, name: str, person: Person, history: Sequence[dict[str, Any]]) -> Table:
    ratings = model.answering.traits.feedback.kind == "ratings"
    # A weight that is the same in every row says nothing.
    valued = ratings or len({row["value"] for row in history}) > 1
    rows = [(row["label"], *([f"{row['value']:g}"] if valued else [])) for row in history]
    note = ""
    if len(history) < len(person.items):
        first = "the highest first, " if ratings or bool((person.values != person.values[0]).any()) else ""
        note = f"{len(history)} of {count(len(person.items))}: {first}of equal ones those that most users have."
    return Table(
        title=f"What user {name} has",
        columns=["Item", *(["Rating" if ratings else "Weight"] if valued else [])],
        rows=rows,
        numeric=(1,) if valued else (),
        note=note,
    )


def _recommended_table(model: Recommender, name: str, person: Person) -> Table:
    labels = item_labels(model, np.array([row.item for row in person.recommended], dtype=np.int64))
    rows = []
    for rank, (row, label) in enumerate(zip(person.recommended, labels, strict=True), start=1):
        marked = [_held_out_text(model, person, row)] if person.held_out else []
        rows.append((f"{rank}. {label}", score_text(model, row.score), *marked))
    note = "" if rows else "Nothing is left that this user does not have."
    if person.held_out and rows:
        note = "A hit is an item that the user has, and that was held out of the training."
    return Table(
        title=f"What user {name} is recommended",
        columns=["Item", score_name(model), *(["Held out"] if person.held_out else [])],
        rows=rows,
        numeric=(1,),
        note=note,
    )


def _held_out_text(model: Recommender, person: Person, row: Recommended) -> str:
    if row.item not in person.held_out:
        return ""
    ratings = model.answering.traits.feedback.kind == "ratings"
    return f"a hit ({person.held_out[row.item]:g})" if ratings else "a hit"


def _how_to_read(model: Recommender) -> str:
    traits = model.answering.traits
    if not traits.explains:
        return (
            f"There are no influences to show: a score of {model.algorithm} is the output of a network, and no sum over"
            " the history."
        )
    rest = ", the biases" if model.item_biases.any() else ""
    rest = ", the mean and the biases" if rest and model.global_mean else rest
    exact = (
        "the score"
        if model.algorithm in ("als", "nmf", "explicit")
        else "the score of the user folded in from the same history, which is close to the score shown"
    )
    of = {"identity": exact, "sigmoid": f"the log-odds of {exact}", "exp": f"the logarithm of {exact}"}[traits.link]
    return (
        f"A bar is what one item of the history adds to a score, or takes from it. The whole history{rest} and what all"
        f" users share add up to {of}."
    )


def _numbers(
    model: Recommender, person: Person, history: Sequence[dict[str, Any]], influences: Influences
) -> dict[str, Any]:
    items = np.array([row.item for row in person.recommended], dtype=np.int64)
    return {
        "user_id": model.user_ids[person.user],
        "kind": person.kind,
        "history_items": len(person.items),
        "held_out_items": len(person.held_out),
        "history": list(history),
        "recommendations": [
            {
                "item_id": model.item_ids[row.item],
                "label": label,
                "score": rounded(row.score),
                "baseline": rounded(row.baseline),
                "held_out": row.item in person.held_out,
                "influences": influences.get(str(rank), []),
            }
            for rank, (row, label) in enumerate(
                zip(person.recommended, item_labels(model, items), strict=True), start=1
            )
        ],
        "influences_together": influences.get(TOGETHER, []),
    }
