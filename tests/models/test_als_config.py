"""How hyperparameters of `als` that are not given follow from the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.als import ALS, ALSConfig
from factorbox.models.als_config import NOISE_PART, objective_of, with_penalty
from support import clustered_interactions, interactions_from_rows


def by_chance(rng: np.random.Generator, *, n_users: int, n_items: int) -> Interactions:
    """Active users and popular items, and nothing that the two have to do with each other."""
    activity, popularity = rng.lognormal(0, 0.7, n_users), rng.lognormal(0, 0.7, n_items)
    has = rng.random((n_users, n_items)) < 0.05 * np.outer(activity, popularity)
    has[:, 0] |= ~has.any(axis=1)
    return interactions_from_rows([list(np.flatnonzero(row)) for row in has], n_items=n_items)


def matrix_of(interactions: Interactions) -> NDArray[np.float64]:
    dense = np.zeros((interactions.n_users, interactions.n_items))
    for user in range(interactions.n_users):
        part = slice(interactions.indptr[user], interactions.indptr[user + 1])
        dense[user, interactions.item_indices[part]] = interactions.weights[part]
    return dense


@pytest.mark.parametrize("exponent", [0.5, 1.0])
@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_the_regularization_is_the_said_part_of_what_chance_makes_of_the_frequencies(
    rng: np.random.Generator, weight: float, exponent: float
) -> None:
    interactions = by_chance(rng, n_users=600, n_items=400)
    dense = matrix_of(interactions)
    d_u = (dense.sum(axis=1) + weight * 400) ** exponent
    d_i = (dense.sum(axis=0) + weight * 600) ** exponent
    values = np.linalg.svd(dense / np.sqrt(np.outer(d_u, d_i)), compute_uv=False)
    asked = ALSConfig(unobserved_weight=weight, regularization_exponent=exponent)
    found = objective_of(ALS().resolved(asked, interactions=interactions)).regularization
    # The first is popularity, the second the largest that is nothing but chance.
    assert found / NOISE_PART == pytest.approx(values[1], rel=0.15)
    assert found < values[0] / 3


def test_few_users_with_many_items_take_less_regularization_than_the_edge_of_chance_alone_says(
    rng: np.random.Generator,
) -> None:
    parts = []
    for n_users, n_items in ((500, 500), (60, 4_000)):
        interactions = by_chance(rng, n_users=n_users, n_items=n_items)
        d_u = interactions.by_user().counts + 0.1 * n_items
        d_i = interactions.by_item().counts + 0.1 * n_users
        edge = np.linalg.svd(matrix_of(interactions) / np.sqrt(np.outer(d_u, d_i)), compute_uv=False)[1]
        asked = ALSConfig(unobserved_weight=0.1)
        parts.append(objective_of(ALS().resolved(asked, interactions=interactions)).regularization / edge)
    square, wide = parts
    assert square == pytest.approx(NOISE_PART, rel=0.2) and wide < 0.75 * square


def test_the_unobserved_weight_is_larger_where_pairs_are_likelier(rng: np.random.Generator) -> None:
    weights = []
    for n_items in (60, 600, 6000):
        interactions = clustered_interactions(rng, n_users=300, n_items=n_items)
        resolved = ALS().resolved(ALSConfig(), interactions=interactions)
        weights.append(objective_of(resolved).unobserved_weight)
    assert 0.5 >= weights[0] > weights[1] > weights[2] >= 0.01


def test_what_is_given_stays_and_the_rest_follows_it(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    given = ALSConfig(unobserved_weight=0.02, alpha=3.0)
    resolved = ALS().resolved(given, interactions=interactions)
    assert resolved.unobserved_weight == 0.02 and resolved.alpha == 3.0
    other = ALS().resolved(replace(given, unobserved_weight=0.5), interactions=interactions)
    assert objective_of(other).regularization < objective_of(resolved).regularization
    assert ALS().resolved(ALSConfig(regularization=0.0), interactions=interactions).regularization == 0.0
    assert ALS().resolved(resolved, interactions=interactions) == resolved


def test_the_unit_of_the_weights_does_not_matter(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    scaled = replace(interactions, weights=interactions.weights * np.float32(8))
    one, other = (ALS().resolved(ALSConfig(), interactions=data) for data in (interactions, scaled))
    assert replace(one, alpha=None) == replace(other, alpha=None)
    # With alpha given, confidences are as much larger, and so is what they have to exceed.
    asked = ALSConfig(alpha=1.0)
    one, other = (ALS().resolved(asked, interactions=data) for data in (interactions, scaled))
    assert objective_of(other).regularization == pytest.approx(8 * objective_of(one).regularization, rel=0.01)


def test_one_huge_weight_does_not_put_popularity_out(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    interactions.weights[5] = 1e6
    factors = ALS().fit(interactions, config=ALSConfig(embedding_dim=8), random_state=1)
    assert np.abs(factors.user_factors).max() > 1e-3 and np.isfinite(factors.user_factors).all()


def test_weights_that_differ_ask_for_more_regularization(rng: np.random.Generator) -> None:
    plain = by_chance(rng, n_users=600, n_items=400)
    uneven = replace(plain, weights=rng.lognormal(0, 1, plain.n_pairs).astype(np.float32))
    one, other = (ALS().resolved(ALSConfig(), interactions=data) for data in (plain, uneven))
    assert objective_of(other).regularization > 1.2 * objective_of(one).regularization


@pytest.mark.parametrize("missing", ["alpha", "unobserved_weight", "regularization"])
def test_an_open_configuration_has_no_objective(missing: str) -> None:
    whole = ALSConfig(alpha=1.0, unobserved_weight=0.1, regularization=0.01)
    with pytest.raises(AlgorithmError, match=rf"the resolved configuration, and this one has no {missing}$"):
        objective_of(ALSConfig(**{**vars(whole), missing: None}))


def test_a_factor_changes_the_penalty_alone() -> None:
    whole = ALSConfig(alpha=1.0, unobserved_weight=0.1, regularization=0.01234)
    assert with_penalty(whole, factor=1.35) == replace(whole, regularization=0.0167)
