from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from factorbox.report.popular import most, users_of_items
from support import interactions_from_rows


def test_users_are_counted_by_item() -> None:
    history = interactions_from_rows([[0, 2], [2], []], n_items=4).by_user()
    assert users_of_items(history, n_items=4).tolist() == [1, 0, 2, 0]


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 45))
def test_the_largest_come_first_and_ties_by_position(counts: list[int], limit: int) -> None:
    expected = sorted(range(len(counts)), key=lambda position: (-counts[position], position))[:limit]
    assert most(np.array(counts, dtype=np.int64), limit).tolist() == expected
