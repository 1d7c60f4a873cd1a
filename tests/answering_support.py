"""Small fitted models to ask, without files, and the plain arithmetic that their answers are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.data.splits import Pairs
from factorbox.mean_user import user_tensors
from factorbox.models import ALGORITHMS
from factorbox.models.base import Algorithm, Factors
from factorbox.models.row_system import FoldInProblem, RowSystem
from factorbox.recommend.answering import Answering
from factorbox.recommend.answers import Answers
from factorbox.recommend.queries import Query
from factorbox.recommend.traits import Traits
from support import clustered_interactions


@dataclass(frozen=True, eq=False)
class Model:
    """What an artifact holds of a fitted model."""

    user_ids: Ids
    item_ids: Ids
    history: Rows
    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    mean_user_factors: NDArray[np.float32]
    mean_user_bias: NDArray[np.float32]
    available: NDArray[np.bool_]
    held_out: Rows | None = None
    global_mean: float = 0.0
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        factors: Factors,
        *,
        available: NDArray[np.bool_] | None = None,
        held_out: Pairs | None = None,
    ) -> Model:
        return cls(
            user_ids=interactions.user_ids,
            item_ids=interactions.item_ids,
            history=interactions.by_user(),
            held_out=None if held_out is None else rows_of_pairs(held_out, n_users=interactions.n_users),
            item_factors=factors.item_factors,
            item_biases=factors.item_biases,
            **user_tensors(factors, trained=interactions.by_user().counts > 0),
            available=np.ones(interactions.n_items, np.bool_) if available is None else available,
            global_mean=factors.global_mean,
            layers=factors.layers,
        )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model with all that its answers can be checked by."""

    interactions: Interactions
    model: Model
    problem: FoldInProblem
    traits: Traits

    @property
    def system(self) -> RowSystem:
        """The problem of a model that has no network."""
        assert isinstance(self.problem, RowSystem)
        return self.problem

    @property
    def answering(self) -> Answering:
        return Answering(self.model, row_system=lambda: self.problem, traits=self.traits)

    def ask(self, *queries: Query, exclude_seen: bool = True) -> Answers:
        answering = self.answering
        return answering.answer(answering.resolve(queries), exclude_seen=exclude_seen)

    def held_out_of(self, user: int) -> set[int]:
        """Return the items that a user has, and training did not see."""
        rows = self.model.held_out
        return set() if rows is None else set(rows.indices[rows.indptr[user] : rows.indptr[user + 1]].tolist())

    def with_available(self, available: NDArray[np.bool_]) -> Fitted:
        return replace(self, model=replace(self.model, available=available))


VARIANTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    **{name: (name, {}) for name in ALGORITHMS},
    "als, bm25": ("als", {"confidence": "bm25"}),
    "explicit, logistic": ("explicit", {"loss": "logistic", "like_above": 3.0}),
    "explicit, poisson": ("explicit", {"loss": "poisson"}),
    "explicit, no biases": ("explicit", {"biases": False}),
    "nmf, observed": ("nmf", {"observed_only": True}),
    "mlp, squared": ("mlp", {"loss": "squared"}),
    "mlp, logistic": ("mlp", {"loss": "logistic", "like_above": 3.0}),
}
"""Every algorithm with its defaults, and what else it can be told to fit, by a name of ours."""


EXPLAINED = [name for name in VARIANTS if ALGORITHMS[VARIANTS[name][0]].explains]
"""Those whose scores are sums over the history."""


def fit(variant: str, interactions: Interactions) -> tuple[Algorithm, Any, Factors]:
    """Fit one of `VARIANTS`, and return the algorithm, the resolved configuration and what was fitted."""
    name, options = VARIANTS[variant]
    chosen = ALGORITHMS[name]
    config = chosen.resolved(chosen.config(embedding_dim=6, epochs=5, **options), interactions=interactions)
    return chosen, config, chosen.fit(interactions, config=config, random_state=3)


def without_a_part(interactions: Interactions) -> tuple[Interactions, Pairs]:
    """Hold out all that each eighth user has, the last one's too, and each third pair of the others."""
    owners = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))  # (pairs,)
    out = (owners % 8 == 0) | (owners == interactions.n_users - 1) | (np.arange(len(owners)) % 3 == 0)
    counts = np.bincount(owners[~out], minlength=interactions.n_users)
    training = replace(
        interactions,
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item_indices=interactions.item_indices[~out],
        weights=interactions.weights[~out],
    )
    return training, Pairs(owners[out], interactions.item_indices[out], interactions.weights[out])


def rows_of_pairs(pairs: Pairs, *, n_users: int) -> Rows:
    """Return pairs in rows by user."""
    counts = np.bincount(pairs.user_indices, minlength=n_users)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Rows(indptr, pairs.item_indices, pairs.weights)


@cache
def fitted(
    variant: str, *, n_users: int = 60, n_items: int = 40, weighted: bool = True, in_part: bool = False
) -> Fitted:
    """Fit one of `VARIANTS` to made-up data, or to what `without_a_part` leaves of them.

    The weights are whole numbers from 1 to 5, ratings too.
    """
    whole = clustered_interactions(np.random.default_rng(11), n_users=n_users, n_items=n_items, weighted=weighted)
    interactions, held_out = without_a_part(whole) if in_part else (whole, None)
    chosen, config, factors = fit(variant, interactions)
    traits = Traits(
        algorithm=chosen.name,
        feedback=chosen.feedback(config),
        link=chosen.link(config),
        explains=chosen.explains,
        listed_value=factors.fold_in.get("listed_value", 1.0),
    )
    problem = chosen.row_system(config, factors.item_side)
    return Fitted(interactions, Model.of(interactions, factors, held_out=held_out), problem, traits)


def rows_of(answers: Answers, position: int) -> list[tuple[int, float]]:
    """Return the rows of one query's answer as (index, score)."""
    start, end = answers.ranking.indptr[position : position + 2].tolist()
    indices, scores = answers.ranking.item_indices[start:end], answers.ranking.scores[start:end]
    return list(zip(indices.tolist(), scores.tolist(), strict=True))


def reasons_of(answers: Answers, row: int) -> list[tuple[int, float]]:
    """Return the reasons of one row as (item index, impact)."""
    found = answers.explanations
    assert found is not None
    start, end = found.indptr[row : row + 2].tolist()
    return list(zip(found.item_indices[start:end].tolist(), found.impacts[start:end].tolist(), strict=True))
