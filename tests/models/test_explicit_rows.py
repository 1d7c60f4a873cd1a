"""The last half-sweep of `explicit`: dense solves, fold-in and the minimum as oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from explicit_support import cells, every_loss, predicted, rated, ratings_for, small
from factorbox.models.base import ItemSide
from factorbox.models.explicit import EXPLICIT
from factorbox.models.explicit_rows import solve_rows
from factorbox.models.rating_slopes import LOSSES
from factorbox.recommend.fold_in import fold_in
from support import interactions_from_rows


@pytest.mark.parametrize("biases", [True, False])
def test_every_user_is_the_solution_of_a_dense_ridge_regression(biases: bool, rng: np.random.Generator) -> None:
    interactions = ratings_for("squared", rng)
    config = small(biases=biases, regularization=0.2)
    factors = EXPLICIT.fit(interactions, config=config, random_state=0)
    n0 = EXPLICIT.row_system(config, factors.item_side).frequency_offset
    for user in range(interactions.n_users):
        own = slice(*interactions.indptr[user : user + 2])
        items, ratings = interactions.item_indices[own], interactions.weights[own].astype(np.float64)
        x = factors.item_factors[items].astype(np.float64)
        x = np.column_stack([x, np.ones(len(items))]) if biases else x
        A = x.T @ x + 0.2 * (len(items) + n0) * np.eye(x.shape[1])
        solved = np.linalg.solve(A, x.T @ (ratings - factors.global_mean - factors.item_biases[items]))
        np.testing.assert_allclose(factors.user_factors[user], solved[:4], atol=1e-5)
        assert factors.user_biases[user] == pytest.approx(solved[4] if biases else 0.0, abs=1e-5)


@every_loss
@pytest.mark.parametrize("options", [{}, {"biases": False}, {"regularization": 1e-3}], ids=str)
def test_folding_a_training_user_in_gives_the_stored_row(
    loss: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    interactions = ratings_for(loss, rng)
    config = small(loss=loss, **options)
    factors = EXPLICIT.fit(interactions, config=config, random_state=0, threads=2)
    user_factors, user_biases = fold_in(EXPLICIT.row_system(config, factors.item_side), interactions.by_user())
    folded = replace(factors, user_factors=user_factors, user_biases=user_biases)
    np.testing.assert_allclose(user_factors, factors.user_factors, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(predicted(folded), predicted(factors), rtol=1e-4, atol=1e-4)


def test_without_a_penalty_a_folded_in_user_fits_the_history_as_the_stored_one_does(rng: np.random.Generator) -> None:
    """Also with fewer ratings than unknowns, where the system is singular."""
    interactions = interactions_from_rows(
        [[0, 1], [1, 2, 3, 4, 5, 6, 7], [0, 2, 4, 6, 7, 8, 9]], n_items=10, weights=[[1, 5], [*range(7)], [*range(7)]]
    )
    config = small(regularization=0.0)
    factors = EXPLICIT.fit(interactions, config=config, random_state=0)
    user_factors, user_biases = fold_in(EXPLICIT.row_system(config, factors.item_side), interactions.by_user())
    folded = replace(factors, user_factors=user_factors, user_biases=user_biases)
    u, i = cells(interactions)
    np.testing.assert_allclose(predicted(folded)[u, i], predicted(factors)[u, i], atol=1e-3)
    np.testing.assert_allclose(predicted(factors)[0, [0, 1]], [1, 5], atol=1e-3)


@every_loss
@pytest.mark.parametrize("regularization", [1e-30, 1e-17])
def test_a_penalty_that_is_lost_in_rounding_is_as_good_as_none(
    loss: str, regularization: float, rng: np.random.Generator
) -> None:
    """Trap: a user of one rating has a singular system, which a penalty far below its rounding does not mend."""
    values = rng.integers(0, 2, (6, 9)).astype(np.float64)
    interactions = rated(values, np.arange(9) <= np.arange(6)[:, None])
    config = small(loss=loss, regularization=regularization, biases=False, epochs=1)
    factors = EXPLICIT.fit(interactions, config=config, random_state=0)
    user_factors, _ = fold_in(EXPLICIT.row_system(config, factors.item_side), interactions.by_user())
    folded = predicted(replace(factors, user_factors=user_factors))
    mean = LOSSES[loss].mean
    u, i = cells(interactions)
    for rows in (predicted(factors), folded):
        assert np.isfinite(rows).all()
        # One rating, and so one equation: it is met.
        assert float(mean(torch.tensor(rows[0, 0]))) == pytest.approx(values[0, 0], abs=1e-3)
    np.testing.assert_allclose(
        mean(torch.from_numpy(folded[u, i])), mean(torch.from_numpy(predicted(factors)[u, i])), atol=1e-3
    )


def test_a_row_is_solved_from_a_count_that_is_far_beyond_what_is_expected_at_first() -> None:
    """Trap: a Newton step from exp(0) to 1e20 must be halved more than sixty times."""
    items = ItemSide(np.array([[1.0], [1.0]], dtype=np.float32), np.zeros(2, dtype=np.float32))
    config = small(loss="poisson", embedding_dim=1, biases=False, regularization=0.0)
    system = EXPLICIT.row_system(config, items)
    history = interactions_from_rows([[0]], n_items=2, weights=[[1e20]]).by_user()
    solved, _ = solve_rows(system, history, threads=1)
    assert solved[0, 0] == pytest.approx(np.log(1e20), abs=1e-3)
    assert fold_in(system, history)[0][0, 0] == pytest.approx(np.log(1e20), abs=1e-3)


def test_histories_longer_than_a_chunk_and_users_without_ratings_are_solved(rng: np.random.Generator) -> None:
    values = rng.standard_normal((4, 1500)) + 3
    observed = np.ones(values.shape, dtype=bool)
    observed[1, 3:], observed[2] = False, False
    interactions = rated(values, observed)
    config = small(epochs=1)
    factors = EXPLICIT.fit(interactions, config=config, random_state=0)
    user_factors, user_biases = fold_in(EXPLICIT.row_system(config, factors.item_side), interactions.by_user())
    np.testing.assert_allclose(user_factors, factors.user_factors, atol=1e-5)
    np.testing.assert_allclose(user_biases, factors.user_biases, atol=1e-5)
    assert not factors.user_factors[2].any() and factors.user_biases[2] == 0


@every_loss
def test_a_row_is_the_minimum_whatever_the_scale_of_its_values(loss: str, rng: np.random.Generator) -> None:
    """Trap: a whole Newton step may overshoot; here counts reach thousands, far from exp(0)."""
    interactions = ratings_for(loss, rng)
    if loss == "poisson":
        grown = interactions.weights.copy()
        grown[::7] *= 1000
        interactions = replace(interactions, weights=grown)
    config = small(loss=loss, regularization=0.001, epochs=2)
    factors = EXPLICIT.fit(interactions, config=config, random_state=0)
    system = EXPLICIT.row_system(config, factors.item_side)
    u, i = cells(interactions)
    x = torch.from_numpy(predicted(factors)[u, i])
    slope = (LOSSES[loss].mean(x) - torch.from_numpy(interactions.weights.astype(np.float64))).numpy()
    penalties = system.penalties(interactions.by_user().counts)
    gradient = np.zeros((interactions.n_users, 5))
    columns = np.column_stack([factors.item_factors[i].astype(np.float64), np.ones(len(i))])
    np.add.at(gradient, u, slope[:, None] * columns)
    rows = np.column_stack([factors.user_factors, factors.user_biases]).astype(np.float64)
    size = np.maximum(1.0, np.bincount(u, weights=interactions.weights))[:, None]
    assert np.abs((gradient + penalties[:, None] * rows) / size).max() < 1e-5
