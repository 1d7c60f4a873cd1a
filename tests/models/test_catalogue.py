"""Sums over all items, against products in float64."""

from __future__ import annotations

import numpy as np
import pytest

from factorbox.models.catalogue import sums_over_items


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize(("n_items", "d"), [(0, 3), (1, 1), (31, 5), (32, 8), (1000, 17)])
def test_sums_over_items_are_those_of_a_product(n_items: int, d: int, has_bias: bool) -> None:
    rng = np.random.default_rng(n_items)
    h, targets = rng.standard_normal((n_items, d), dtype=np.float32), rng.standard_normal(n_items)
    x = np.hstack([h.astype(np.float64), np.ones((n_items, int(has_bias)))])
    gram, moments = sums_over_items(h, targets=targets, has_bias=has_bias)
    assert np.allclose(gram, x.T @ x, rtol=1e-12, atol=1e-10)
    assert np.allclose(moments, targets @ x, rtol=1e-12, atol=1e-10)
    assert np.array_equal(gram, gram.T)
