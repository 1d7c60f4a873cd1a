"""Fold-in to a non-negative factorization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import nnls

from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.base import Factors, ItemSide
from factorbox.models.nmf import NMF, NMFConfig
from factorbox.models.row_system import RowSystem
from factorbox.recommend.non_negative import fold_in_non_negative
from support import clustered_interactions

either = pytest.mark.parametrize("observed_only", [False, True])


def rows_of(*histories: dict[int, float]) -> Rows:
    pairs = [pair for history in histories for pair in sorted(history.items())]
    return Rows(
        indptr=np.cumsum([0, *(len(history) for history in histories)]).astype(np.int64),
        indices=np.array([item for item, _ in pairs], dtype=np.int32),
        weights=np.array([value for _, value in pairs], dtype=np.float32),
    )


def system_of(item_factors: NDArray[np.float32], **changes: Any) -> RowSystem:
    items = ItemSide(item_factors, np.zeros(len(item_factors), dtype=np.float32))
    return NMF().row_system(NMFConfig(**{"regularization": 0.1, **changes}), items)


def fitted(interactions: Interactions, **changes: Any) -> tuple[Factors, RowSystem]:
    config = NMF().resolved(NMFConfig(**{"embedding_dim": 6, "epochs": 20, **changes}), interactions=interactions)
    factors = NMF().fit(interactions, config=config, random_state=1)
    return factors, NMF().row_system(config, factors.item_side)


@either
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 20), regularization=st.sampled_from([0.01, 1.0]))
def test_a_history_gives_the_solution_that_scipy_finds(
    observed_only: bool, seed: int, count: int, regularization: float
) -> None:
    rng = np.random.default_rng(seed)
    h = (rng.random((20, 5)) * (rng.random((20, 5)) < 0.6)).astype(np.float32)
    items = np.sort(rng.choice(20, size=count, replace=False))
    ratings = rng.integers(0, 6, size=count).astype(np.float32)
    system = system_of(h, regularization=regularization, observed_only=observed_only)
    (v,), biases = fold_in_non_negative(system, rows_of(dict(zip(items.tolist(), ratings.tolist(), strict=True))))
    y = np.zeros(20)
    y[items] = ratings
    counted = items if observed_only else np.arange(20)
    X = np.concatenate([h[counted].astype(np.float64), np.sqrt(regularization) * np.eye(5)])
    np.testing.assert_allclose(v, nnls(X, np.concatenate([y[counted], np.zeros(5)]))[0], rtol=1e-5, atol=1e-5)
    assert v.dtype == np.float32 and biases.tolist() == [0.0]


@either
def test_the_history_of_a_training_user_gives_the_stored_factors(observed_only: bool, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=80, n_items=40, weighted=True)
    factors, system = fitted(interactions, observed_only=observed_only)
    folded, _ = fold_in_non_negative(system, interactions.by_user())
    np.testing.assert_array_equal(folded, factors.user_factors)


@either
def test_a_history_does_not_change_the_bytes_of_another(observed_only: bool, rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=30, n_items=40, weighted=True)
    _, system = fitted(interactions, observed_only=observed_only)
    histories = interactions.by_user()
    together, _ = fold_in_non_negative(system, histories)
    for user in range(30):
        own = slice(histories.indptr[user], histories.indptr[user + 1])
        alone = rows_of(dict(zip(histories.indices[own].tolist(), histories.weights[own].tolist(), strict=True)))
        assert fold_in_non_negative(system, alone)[0][0].tobytes() == together[user].tobytes()


@either
@pytest.mark.parametrize("regularization", [0.0, 0.1])
def test_histories_that_say_nothing_give_zeros(observed_only: bool, regularization: float) -> None:
    h = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    system = system_of(h, regularization=regularization, observed_only=observed_only)
    factors, _ = fold_in_non_negative(system, rows_of({}, {0: 0.0, 1: 0.0}, {2: 5.0}))
    np.testing.assert_array_equal(factors, np.zeros((3, 2), dtype=np.float32))


def test_fewer_items_than_components_without_regularization_fit_the_history(rng: np.random.Generator) -> None:
    h = rng.random((10, 6)).astype(np.float32)
    system = system_of(h, regularization=0.0, observed_only=True)
    (v,), _ = fold_in_non_negative(system, rows_of({2: 4.0, 5: 3.0}))
    np.testing.assert_allclose(h[[2, 5]] @ v, [4.0, 3.0], rtol=1e-4)


def test_numbers_that_are_not_finite_name_the_history() -> None:
    h = np.array([[1, 0], [np.inf, 1]], dtype=np.float32)
    system = replace(system_of(np.ones((2, 2), dtype=np.float32), observed_only=True), item_factors=h)
    with pytest.raises(AlgorithmError, match="history 2 cannot be folded in"):
        fold_in_non_negative(system, rows_of({0: 1.0}, {1: 1.0}))
