from __future__ import annotations

import numpy as np

from factorbox.data.rows import Rows
from factorbox.data.splits import Pairs
from factorbox.report.matrix import (
    HELD_OUT,
    MOST_COLUMNS,
    MOST_ROWS,
    NOT_KNOWN,
    TRAINED,
    cells_of,
    chosen_items,
    chosen_users,
    pattern_order,
)

SEEN = Rows(np.array([0, 2, 2, 4]), np.array([0, 2, 1, 2], np.int32), np.array([5, 1, -2, 4], np.float32))


def test_cells_hold_values_and_what_they_were_used_for() -> None:
    held_out = Pairs(np.array([0, 1]), np.array([2, 3], np.int32), np.array([1, 3], np.float32))
    cells = cells_of(np.array([2, 0, 1]), np.array([2, 1, 3]), seen=SEEN, held_out=held_out)
    nothing = np.nan
    np.testing.assert_array_equal(cells.values, [[4, -2, nothing], [1, nothing, nothing], [nothing, nothing, 3]])
    assert cells.splits.tolist() == [
        [TRAINED, TRAINED, NOT_KNOWN],
        [HELD_OUT, NOT_KNOWN, NOT_KNOWN],
        # Held out, and never trained on, as in a channel of its own.
        [NOT_KNOWN, NOT_KNOWN, HELD_OUT],
    ]


def test_without_a_hold_out_all_cells_are_trained_on() -> None:
    cells = cells_of(np.arange(3), np.arange(3), seen=SEEN, held_out=None)
    assert (cells.splits == np.where(np.isnan(cells.values), NOT_KNOWN, TRAINED)).all()


def test_few_users_are_all_chosen_by_activity() -> None:
    assert chosen_users(np.array([2, 5, 2, 9])).tolist() == [3, 1, 0, 2]


def test_many_users_are_chosen_at_equal_distances_from_the_busiest_to_the_least_busy() -> None:
    counts = np.arange(10_000)
    chosen = chosen_users(counts)
    assert len(chosen) == MOST_ROWS and chosen[0] == 9_999 and chosen[-1] == 0
    assert set(np.diff(chosen).tolist()) <= {-50, -51}
    assert chosen.tolist() == chosen_users(counts).tolist()


def test_the_most_popular_items_are_chosen_ties_by_index() -> None:
    counts = np.ones(1_000, np.int64)
    counts[[700, 300]] = 2, 3
    chosen = chosen_items(counts)
    assert len(chosen) == MOST_COLUMNS and chosen[:4].tolist() == [300, 700, 0, 1]


def test_rows_and_columns_of_one_pattern_stand_together() -> None:
    rng = np.random.default_rng(0)
    taste, kind = rng.permutation([1.0] * 5 + [-1.0] * 7), rng.permutation([1.0] * 4 + [-1.0] * 6)
    rows, columns = pattern_order((np.outer(taste, kind) + 100 * rng.random((1, 10)) + 3).astype(np.float32))
    assert np.count_nonzero(np.diff(taste[rows])) == 1 and np.count_nonzero(np.diff(kind[columns])) == 1
    assert sorted(rows) == list(range(12)) and 2 * rows.tolist().index(0) < 12


def test_the_order_of_a_matrix_without_any_pattern_is_an_order() -> None:
    rows, columns = pattern_order(np.ones((3, 2), np.float32))
    assert sorted(rows) == [0, 1, 2] and sorted(columns) == [0, 1]
