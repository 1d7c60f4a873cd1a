"""Sums and steps over rows against numpy, for widths with and without a remainder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from factorbox.kernels import kernel
from factorbox.models.row_vectors import prefetch_row, product_of_two, products_of_three, step_of_three

widths = pytest.mark.parametrize("d", [1, 5, 7, 8, 9, 16, 23, 64, 100])


@kernel()
def products(users, user, items, i, j):  # type: ignore[no-untyped-def]
    prefetch_row(items, i)
    return product_of_two(users, user, items, i), products_of_three(users, user, items, i, j)


@kernel()
def step(users, user, items, i, j, factors):  # type: ignore[no-untyped-def]
    step_of_three(users, user, items, i, j, factors)


def matrices(rng: np.random.Generator, d: int) -> tuple[Any, Any]:
    return rng.standard_normal((3, d), dtype=np.float32), rng.standard_normal((5, d), dtype=np.float32)


@widths
def test_products_of_rows(rng: np.random.Generator, d: int) -> None:
    users, items = matrices(rng, d)
    w, h_i, h_j = (row.astype(np.float64) for row in (users[1], items[4], items[2]))
    one, six = products(users, 1, items, 4, 2)
    assert one == pytest.approx(w @ h_i, abs=1e-4)
    assert six == pytest.approx((w @ h_i, w @ h_j, h_i @ h_j, w @ w, h_i @ h_i, h_j @ h_j), abs=1e-4)


@widths
def test_a_step_changes_three_rows_and_nothing_beside_them(rng: np.random.Generator, d: int) -> None:
    users, items = matrices(rng, d)
    k = tuple(np.float32(value) for value in (0.9, 0.1, -0.2, 0.8, 0.3, 0.7, -0.4))
    w, h_i, h_j = users[2].copy(), items[0].copy(), items[3].copy()
    users_after, items_after = users.copy(), items.copy()
    users_after[2] = k[0] * w + k[1] * h_i + k[2] * h_j
    items_after[0] = k[3] * h_i + k[4] * w
    items_after[3] = k[5] * h_j + k[6] * w
    step(users, 2, items, 0, 3, k)
    np.testing.assert_allclose(users, users_after, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(items, items_after, rtol=1e-5, atol=1e-6)
    untouched = np.array([0, 1]), np.array([1, 2, 4])
    np.testing.assert_array_equal(users[untouched[0]], users_after[untouched[0]])
    np.testing.assert_array_equal(items[untouched[1]], items_after[untouched[1]])


def test_the_bytes_do_not_depend_on_where_rows_lie(rng: np.random.Generator) -> None:
    users, items = matrices(rng, 23)
    results = []
    for shift in range(5):
        memory = np.zeros(items.size + shift, dtype=np.float32)
        moved = memory[shift:].reshape(items.shape)
        moved[:] = items
        results.append(products(users, 0, moved, 1, 2))
    assert all(result == results[0] for result in results)
