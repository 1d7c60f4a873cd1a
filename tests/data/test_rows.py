"""Sparse matrices in compressed rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.rows import Rows


@given(entries=st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=8))
def test_places_that_hold_an_entry_are_found(entries: list[set[int]]) -> None:
    rows = Rows(
        indptr=np.cumsum([0, *(len(row) for row in entries)]),
        indices=np.array([column for row in entries for column in sorted(row)], dtype=np.int32),
        weights=np.ones(sum(map(len, entries)), dtype=np.float32),
    )
    places = [(row, column) for row in range(len(entries)) for column in range(11)]
    held = rows.holds(np.array([row for row, _ in places]), np.array([column for _, column in places], dtype=np.int32))
    assert held.dtype == np.bool_
    assert held.tolist() == [column in entries[row] for row, column in places]
    assert rows.holds(np.zeros(0, np.int64), np.zeros(0, np.int32)).tolist() == []
