"""The row kernel's bits must not depend on where its arrays lie in memory."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from factorbox.models.als_kernels import solve_rows
from support import clustered_interactions


def laid_out(shapes: list[tuple[int, ...]], *, gap: int, dtype: type[np.floating[Any]]) -> list[NDArray[Any]]:
    """Cut arrays out of one buffer, one after another with `gap` bytes between them."""
    size = np.dtype(dtype).itemsize
    sizes = [int(np.prod(shape)) * size for shape in shapes]
    buffer = np.zeros(sum(sizes) + gap * (len(shapes) + 1), dtype=np.uint8)
    starts = np.cumsum([gap, *(s + gap for s in sizes[:-1])])
    return [
        buffer[start : start + length].view(dtype).reshape(shape)
        for start, length, shape in zip(starts, sizes, shapes, strict=True)
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [5, 8, 16, 50, 64])
def test_neighbouring_memory_does_not_change_a_bit(rng: np.random.Generator, d: int, dtype: Any) -> None:
    # Where a peer array ends just before another begins, a vectorized loop's test for overlap may fail; a first
    # version of the kernel then added in another order, and one training in six had other last bits.
    interactions = clustered_interactions(rng, n_users=20, n_items=40, weighted=True)
    rows = interactions.by_user()
    item_factors = rng.standard_normal((40, d)).astype(np.float32)
    user_factors = rng.standard_normal((20, d)).astype(np.float32)
    gram = np.abs(rng.standard_normal((1, d))).astype(dtype)
    penalties = np.abs(rng.standard_normal(20))
    found = set()
    for gap, order in itertools.product((0, 8, 16, 24, 32, 64, 4096), itertools.permutations(range(2))):
        longest = int(rows.counts.max())
        scratch = laid_out([[(longest, d), (7, d)][i] for i in order], gap=gap, dtype=dtype)
        factors = laid_out([[(40, d), (20, d)][i] for i in order], gap=gap, dtype=np.float32)
        history, vectors = (scratch[order.index(i)] for i in range(2))
        fixed, target = (factors[order.index(i)] for i in range(2))
        fixed[:], target[:] = item_factors, user_factors
        losses = np.zeros(20)
        solve_rows(
            *(0, 20, rows.indptr, rows.indices, rows.weights, 0.5, fixed, target, gram, penalties, 3, 0.0),
            *(history, vectors, losses),
        )
        found.add((target.tobytes(), losses.tobytes()))
    assert len(found) == 1
