"""The bare gathers that ALS is measured against read every row."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.als_trainings import gather_rows


@pytest.mark.parametrize("ahead", [0, 3])
def test_the_bare_gathers_add_up_every_row(rng: np.random.Generator, ahead: int) -> None:
    table = rng.standard_normal((50, 16)).astype(np.float32)
    indices = rng.integers(0, 50, 64).astype(np.int32)
    total = np.zeros(16, dtype=np.float32)
    gather_rows(indices, table, total, ahead)
    np.testing.assert_allclose(total, table[indices].sum(axis=0), rtol=1e-4, atol=1e-4)
