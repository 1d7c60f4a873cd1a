"""The exact solver of one row over v ≥ 0, against the conditions of a minimum and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import nnls

from factorbox.models.non_negative_kernels import solve_non_negative


def solved(A: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    m = len(b)
    v = np.full(m, np.nan)
    assert solve_non_negative(np.triu(A), b.copy(), v, np.empty(m), np.empty((m, m)))
    return v


def assert_is_minimum(
    v: NDArray[np.float64], A: NDArray[np.float64], b: NDArray[np.float64], *, within: float = 1e-10
) -> None:
    scale = np.abs(b).max(initial=0.0)
    gradient = A @ v - b
    assert (v >= 0).all()
    assert gradient.min(initial=0.0) >= -within * scale
    assert np.abs(gradient[v > 0]).max(initial=0.0) <= within * scale


@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.integers(1, 40),
    extra=st.integers(0, 10),
    shift=st.floats(-2, 2),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
)
def test_the_conditions_of_a_minimum_hold(seed: int, m: int, extra: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m + extra, m)) + shift
    A = X.T @ X + 1e-3 * np.eye(m)
    b = scale * (X.T @ rng.standard_normal(m + extra))
    assert_is_minimum(solved(A, b), A, b)


@given(seed=st.integers(0, 2**32 - 1), m=st.integers(1, 30), rows=st.integers(30, 60))
def test_least_squares_over_the_non_negative_equal_scipys(seed: int, m: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.random((rows, m)) * (rng.random((rows, m)) < 0.5), rng.random(rows)
    X[:m] += np.eye(m)
    np.testing.assert_allclose(solved(X.T @ X, X.T @ y), nnls(X, y)[0], atol=1e-9)


def test_every_support_is_found_by_brute_force(rng: np.random.Generator) -> None:
    for _ in range(30):
        X = rng.standard_normal((6, 4))
        A, b = X.T @ X, X.T @ rng.standard_normal(6)
        best = 0.0
        for support in range(1, 16):
            free = [t for t in range(4) if support >> t & 1]
            v = np.linalg.solve(A[np.ix_(free, free)], b[free])
            if (v >= 0).all():
                best = min(best, float(-0.5 * b[free] @ v))
        v = solved(A, b)
        assert 0.5 * v @ A @ v - b @ v == pytest.approx(best, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("m", [2, 10, 40])
def test_nearly_singular_matrices_end_at_a_minimum(m: int, rng: np.random.Generator) -> None:
    """Trap: coordinate descent alone does not get there in any time."""
    i = np.arange(m)
    A = 1.0 / (1 + i[:, None] + i) + 1e-9 * np.eye(m)  # Hilbert
    b = A @ rng.random(m)
    assert_is_minimum(solved(A, b), A, b)


def test_a_singular_matrix_gives_a_finite_minimum() -> None:
    X = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    A, b = X.T @ X, X.T @ np.array([3.0, 6.0])
    v = solved(A, b)
    assert (v >= 0).all() and np.isfinite(v).all()
    np.testing.assert_allclose(A @ v, b, rtol=1e-6)
    assert v[2] == 0.0


def test_nothing_to_gain_gives_zeros() -> None:
    A = np.eye(3)
    np.testing.assert_array_equal(solved(A, np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(solved(A, np.array([-1.0, -2.0, 0.0])), np.zeros(3))
    np.testing.assert_array_equal(solved(np.zeros((3, 3)), np.zeros(3)), np.zeros(3))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["matrix", "vector"])
def test_numbers_that_are_not_finite_are_refused(value: float, place: str) -> None:
    A, b = np.eye(2), np.ones(2)
    if place == "matrix":
        A[1, 1] = value
    else:
        b[1] = value
    assert not solve_non_negative(A, b, np.empty(2), np.empty(2), np.empty((2, 2)))
