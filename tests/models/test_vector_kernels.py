"""The loops over eight rows at once against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from factorbox.kernels import kernel
from factorbox.models.vector_instructions import address_of, load, store
from factorbox.models.vector_kernels import (
    add_eight,
    add_four_residuals,
    eight_dots,
    eight_rows,
    prefetch_eight_rows,
)


@kernel()
def dots(table, indices, vector, out):  # type: ignore[no-untyped-def]
    """Write the dot products of eight rows."""
    row_bytes = np.int64(4 * table.shape[1])
    prefetch_eight_rows(address_of(table), row_bytes, address_of(indices))
    h = eight_rows(address_of(table), row_bytes, address_of(indices))
    store(address_of(out), eight_dots(h, address_of(vector), row_bytes))


@kernel()
def weighted_sum(table, indices, factors, total):  # type: ignore[no-untyped-def]
    """Add eight rows, each times its factor."""
    row_bytes = np.int64(4 * table.shape[1])
    h = eight_rows(address_of(table), row_bytes, address_of(indices))
    add_eight(h, load(address_of(factors)), address_of(total), row_bytes)


@kernel()
def residuals(table, indices, c, vector, total):  # type: ignore[no-untyped-def]
    """Add what four rows leave unexplained."""
    row_bytes = np.int64(4 * table.shape[1])
    h = eight_rows(address_of(table), row_bytes, address_of(indices))
    return add_four_residuals(
        h[0], h[1], h[2], h[3], c[0], c[1], c[2], c[3], address_of(vector), address_of(total), row_bytes
    )


@pytest.mark.parametrize("d", [8, 16, 40, 128])
def test_eight_rows_at_once_are_what_each_is_alone(rng: np.random.Generator, d: int) -> None:
    table = rng.standard_normal((30, d)).astype(np.float32)
    indices = rng.permutation(30)[:8].astype(np.int32)
    vector, factors = rng.standard_normal(d).astype(np.float32), rng.standard_normal(8).astype(np.float32)
    out, total = np.zeros(8, np.float32), np.ones(d, np.float32)
    dots(table, indices, vector, out)
    np.testing.assert_allclose(out, table[indices] @ vector, rtol=1e-5, atol=1e-5)
    weighted_sum(table, indices, factors, total)
    np.testing.assert_allclose(total, 1 + factors @ table[indices], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("d", [8, 64])
def test_residuals_are_in_double_precision(rng: np.random.Generator, d: int) -> None:
    table = rng.standard_normal((30, d)).astype(np.float32)
    indices = rng.permutation(30)[:8].astype(np.int32)
    c, vector, total = rng.random(4), rng.standard_normal(d), rng.standard_normal(d)
    h = table[indices[:4]].astype(np.float64)
    errors = 1 - h @ vector
    expected = total + (c * errors) @ h
    assert residuals(table, indices, c, vector, total) == pytest.approx((c * errors**2).sum(), rel=1e-13)
    np.testing.assert_allclose(total, expected, rtol=1e-12, atol=1e-12)
