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


@given(
    entries=st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=8),
    weights=st.sampled_from([(2.5,), (1.0, 3.0, 2.0)]),
)
def test_transposed_rows_hold_the_same_entries_whether_or_not_weights_differ(
    entries: list[set[int]], weights: tuple[float, ...]
) -> None:
    places = [(row, column) for row, columns in enumerate(entries) for column in sorted(columns)]
    rows = Rows(
        indptr=np.cumsum([0, *(len(row) for row in entries)]),
        indices=np.array([column for _, column in places], dtype=np.int32),
        weights=np.resize(np.array(weights, dtype=np.float32), len(places)),
    )
    by_column = rows.transposed(10)
    found = [
        (int(by_column.indices[k]), column, float(by_column.weights[k]))
        for column in range(10)
        for k in range(by_column.indptr[column], by_column.indptr[column + 1])
    ]
    expected = [(*place, float(weight)) for place, weight in zip(places, rows.weights, strict=True)]
    assert found == sorted(expected, key=lambda entry: (entry[1], entry[0]))
    assert by_column.weights.dtype == np.float32
