"""Where non-negative factorization starts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import svd

from factorbox.data.interactions import Interactions
from factorbox.models.nmf_init import nndsvd_start, random_start
from factorbox.threads import Threads
from support import clustered_interactions, interactions_from_rows


def started(interactions: Interactions, *, dimension: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with Threads(1) as threads:
        return nndsvd_start(
            interactions.by_user(),
            interactions.by_item(),
            dimension=dimension,
            mean=1.0,
            rng=np.random.default_rng(0),
            threads=threads,
        )


def dense(interactions: Interactions) -> NDArray[np.float64]:
    X = np.zeros((interactions.n_users, interactions.n_items))
    X[np.repeat(np.arange(len(X)), np.diff(interactions.indptr)), interactions.item_indices] = interactions.weights
    return X


def test_each_component_is_the_best_non_negative_part_of_its_triplet(rng: np.random.Generator) -> None:
    """The larger of the positive parts of u vᵀ, times σ, whatever the sign that the decomposition chose."""
    interactions = clustered_interactions(rng, n_users=60, n_items=40, weighted=True)
    W, H = started(interactions, dimension=6)
    U, s, Vt = svd(dense(interactions), full_matrices=False)
    for k in range(6):
        parts = [np.outer(np.maximum(sign * U[:, k], 0), np.maximum(sign * Vt[k], 0)) for sign in (1, -1)]
        expected = s[k] * max(parts, key=np.linalg.norm)
        np.testing.assert_allclose(np.outer(W[:, k], H[:, k]), expected, atol=1e-3)
        assert np.linalg.norm(W[:, k]) == pytest.approx(np.linalg.norm(H[:, k]))
    assert (W >= 0).all() and (H >= 0).all()


def test_the_first_component_alone_is_the_best_matrix_of_rank_one(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=60, n_items=40, weighted=True)
    W, H = started(interactions, dimension=1)
    U, s, Vt = svd(dense(interactions))
    np.testing.assert_allclose(W @ H.T, s[0] * np.outer(U[:, 0], Vt[0]), atol=1e-6)


def test_components_beyond_the_rank_are_random(rng: np.random.Generator) -> None:
    W, H = started(interactions_from_rows([[0, 1], [0, 1]], n_items=2), dimension=4)
    np.testing.assert_allclose(np.outer(W[:, 0], H[:, 0]), np.ones((2, 2)), rtol=1e-9)
    assert (W[:, 1:] > 0).all() and (H[:, 1:] > 0).all()


def test_random_factors_multiply_to_the_mean_of_the_cells(rng: np.random.Generator) -> None:
    W, H = random_start(400, 300, dimension=50, mean=3.0, rng=rng)
    # E|N(0, 1)|² = 2/π.
    assert (W @ H.T).mean() == pytest.approx(3.0 * 2 / np.pi, rel=0.02)
    assert (W >= 0).all() and (H >= 0).all()
