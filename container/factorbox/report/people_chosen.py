"""Which users a report tells about, and what the model answers them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.splits import Pairs
from factorbox.recommend.queries import DEFAULT_TOP_N, Query
from factorbox.recommender import Recommender

_FEW = 5
_KINDS = {"light": 0.1, "typical": 0.5, "heavy": 0.9}
_NONE = np.zeros(0)


@dataclass(frozen=True, eq=False)
class Recommended:
    """One recommendation and its reasons.

    Attributes
    ----------
    item
        Index.
    score
        As in an answer.
    baseline
        The part of the score that no item of the history explains; NaN for a model without explanations.
    reasons
        int64, (reasons,): the items of the history.
    influences, impacts
        float64, (reasons,): see `factorbox.recommend.explanations`; an impact is what an item adds to the score.
    """

    item: int
    score: float
    baseline: float
    reasons: NDArray[np.int64]
    influences: NDArray[np.float64]
    impacts: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Person:
    """A user, as the report tells.

    Attributes
    ----------
    kind
        `light`, `typical` or `heavy`.
    user
        Index.
    items, values
        int64 and float32, (history,): what the model was trained on, with weights or ratings.
    held_out
        Item index to value: what the user has, and the model was not trained on.
    recommended
        The best first.
    """

    kind: str
    user: int
    items: NDArray[np.int64]
    values: NDArray[np.float32]
    held_out: dict[int, float]
    recommended: Sequence[Recommended]


def three_people(model: Recommender, *, held_out: Pairs | None) -> list[Person]:
    """Return a light, a typical and a heavy user with what the model recommends to them, fewer where there are fewer.

    They are those whose histories are longer than a tenth, a half and nine tenths of all; users with less than five
    items count where nobody has more. Where there are held-out pairs that the model was not trained on, the users are
    of those who have some, and these items may be recommended to them.
    """
    unknown = _not_trained_on(model, held_out)
    counts = model.history.counts
    measured = np.unique(unknown.user_indices) if unknown is not None else np.zeros(0, dtype=np.int64)
    chosen = _spread(counts, measured) or _spread(counts, np.arange(len(counts)))
    hidden = [_items_of(unknown, user) if unknown is not None else {} for user in chosen.values()]
    answered = _answers(model, list(chosen.values()), hidden)
    return [
        Person(
            kind=kind,
            user=user,
            items=model.history.indices[_row(model, user)].astype(np.int64),
            values=model.history.weights[_row(model, user)],
            held_out=held,
            recommended=recommended,
        )
        for (kind, user), held, recommended in zip(chosen.items(), hidden, answered, strict=True)
    ]


def _spread(counts: NDArray[np.int64], users: NDArray[np.int64]) -> dict[str, int]:
    """Return users of distinct kinds by the length of their histories, ties by index."""
    eligible = users[counts[users] >= _FEW]
    if not len(eligible):
        eligible = users[counts[users] > 0]
    order = eligible[np.lexsort((eligible, counts[eligible]))]
    chosen: dict[str, int] = {}
    # The typical one first: it is the one where there is but one.
    for kind in sorted(_KINDS, key=lambda kind: abs(_KINDS[kind] - 0.5)):
        if len(order):
            user = int(order[round(_KINDS[kind] * (len(order) - 1))])
            if user not in chosen.values():
                chosen[kind] = user
    return {kind: chosen[kind] for kind in _KINDS if kind in chosen}


def _not_trained_on(model: Recommender, held_out: Pairs | None) -> Pairs | None:
    """Return the held-out pairs if the model has not been trained on them since."""
    if held_out is None or not len(held_out):
        return None
    # They were put back all together, or not at all.
    first = int(held_out.user_indices[0])
    back = bool(np.isin(held_out.item_indices[0], model.history.indices[_row(model, first)]))
    return None if back else held_out


def _items_of(pairs: Pairs, user: int) -> dict[int, float]:
    start, stop = np.searchsorted(pairs.user_indices, [user, user + 1])
    return dict(zip(pairs.item_indices[start:stop].tolist(), pairs.weights[start:stop].tolist(), strict=True))


def _row(model: Recommender, user: int) -> slice:
    return slice(int(model.history.indptr[user]), int(model.history.indptr[user + 1]))


def _answers(model: Recommender, users: Sequence[int], held_out: Sequence[dict[int, float]]) -> list[list[Recommended]]:
    """Ask for the best items that each user does not have, those held out among them, with all reasons."""
    queries = []
    for user, held in zip(users, held_out, strict=True):
        history = model.history.indices[_row(model, user)]
        # What is held out counts as seen: to be recommended, only what was trained on may be left out.
        known = [model.item_ids[item] for item in history.tolist()] if held else []
        queries.append(
            Query(
                user_id=model.user_ids[user],
                top_n=DEFAULT_TOP_N,
                exclude_seen=not held,
                exclude_items=known,
                explain=len(history) if model.answering.traits.explains else 0,
            )
        )
    answers = model.answering.answer(model.answering.resolve(queries), exclude_seen=True)
    ranking, found = answers.ranking, answers.explanations
    rows = []
    for row, (item, score) in enumerate(zip(ranking.item_indices.tolist(), ranking.scores.tolist(), strict=True)):
        if found is None:
            rows.append(Recommended(item, score, math.nan, _NONE.astype(np.int64), _NONE, _NONE))
            continue
        at = slice(int(found.indptr[row]), int(found.indptr[row + 1]))
        influences, impacts = (values[at].astype(np.float64) for values in (found.influences, found.impacts))
        reasons = found.item_indices[at].astype(np.int64)
        rows.append(Recommended(item, score, float(found.baselines[row]), reasons, influences, impacts))
    return [rows[ranking.indptr[k] : ranking.indptr[k + 1]] for k in range(len(users))]
