"""Singular triplets of sparse matrices, against the dense decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import svd

from factorbox.data.rows import Rows
from factorbox.models.truncated_svd import TruncatedSVD, truncated_svd
from factorbox.threads import Threads


def rows_of(X: NDArray[np.float32]) -> Rows:
    u, i = np.nonzero(X)
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(X, axis=1))]).astype(np.int64)
    return Rows(indptr=indptr, indices=i.astype(np.int32), weights=X[u, i])


def decomposed(X: NDArray[np.float32], *, rank: int, threads: int = 1, seed: int = 0) -> TruncatedSVD:
    by_row = rows_of(X)
    with Threads(threads) as pool:
        return truncated_svd(
            by_row, by_row.transposed(X.shape[1]), rank=rank, rng=np.random.default_rng(seed), threads=pool
        )


def sparse_matrix(rng: np.random.Generator, shape: tuple[int, int], density: float = 0.2) -> NDArray[np.float32]:
    return np.where(rng.random(shape) < density, rng.integers(1, 6, shape), 0).astype(np.float32)


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (30, 30)])
def test_the_leading_triplets_are_those_of_the_dense_decomposition(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    X = sparse_matrix(rng, shape)
    found = decomposed(X, rank=5)
    U, s, Vt = svd(X.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(found.singular_values, s[:5], rtol=1e-6)
    for k in range(5):
        assert abs(found.left[:, k] @ U[:, k]) == pytest.approx(1.0, abs=1e-5)
        assert abs(found.right[:, k] @ Vt[k]) == pytest.approx(1.0, abs=1e-5)


def test_vectors_are_orthonormal_and_signs_agree(rng: np.random.Generator) -> None:
    X = sparse_matrix(rng, (60, 200))
    found = decomposed(X, rank=8)
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(8), atol=1e-10)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(8), atol=1e-10)
    np.testing.assert_allclose(X @ found.right, found.left * found.singular_values, atol=0.05)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_matrix_of_lower_rank_gives_as_many_triplets_as_it_has(rank: int, rng: np.random.Generator) -> None:
    X = (rng.integers(1, 4, (20, rank)) @ rng.integers(0, 4, (rank, 30))).astype(np.float32)
    found = decomposed(X, rank=10)
    assert len(found.singular_values) == rank
    np.testing.assert_allclose((found.left * found.singular_values) @ found.right.T, X, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_the_smallest_matrices(shape: tuple[int, int]) -> None:
    found = decomposed(np.full(shape, 2.0, np.float32), rank=1)
    np.testing.assert_allclose(found.singular_values, [2 * np.sqrt(max(shape))])


def test_zeros_have_no_triplets() -> None:
    assert len(decomposed(np.zeros((4, 6), np.float32), rank=3).singular_values) == 0


def test_threads_do_not_change_a_byte(rng: np.random.Generator) -> None:
    X = sparse_matrix(rng, (300, 700))
    found = [decomposed(X, rank=6, threads=threads) for threads in (1, 2, 3)]
    for other in found[1:]:
        assert other.left.tobytes() == found[0].left.tobytes()
        assert other.right.tobytes() == found[0].right.tobytes()
        assert other.singular_values.tobytes() == found[0].singular_values.tobytes()
