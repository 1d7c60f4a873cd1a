from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorbox.data.folding import Block
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.errors import UserError

USERS = Ids.from_texts(["a", "b", "c"])
ITEMS = Ids.from_texts(["p", "q", "r", "s"])

rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.floats(1e-9, 1e9)), max_size=40)


def build(entries: list[tuple[int, int, float]], *, weighted: bool = True) -> Interactions:
    return Interactions.from_pairs(
        USERS,
        ITEMS,
        user_indices=np.array([user for user, _, _ in entries], dtype=np.int32),
        item_indices=np.array([item for _, item, _ in entries], dtype=np.int32),
        weights=np.array([weight for _, _, weight in entries]) if weighted else None,
    )


@settings(deadline=None)
@given(entries=rows, weighted=st.booleans())
def test_rows_hold_each_pair_once_with_the_sum_of_its_weights(
    entries: list[tuple[int, int, float]], weighted: bool
) -> None:
    expected: dict[tuple[int, int], float] = defaultdict(float)
    for user, item, weight in sorted(entries):
        expected[user, item] += float(np.float32(weight)) if weighted else 1
    built = build(entries, weighted=weighted)
    pairs = [(user, int(item)) for user in range(3) for item in built.items_of(user)]
    assert pairs == sorted(expected)
    assert built.weights.tolist() == [np.float32(expected[pair]) for pair in pairs]
    assert [array.dtype.name for array in (built.indptr, built.item_indices, built.weights)] == [
        "int64",
        "int32",
        "float32",
    ]
    assert built.indptr[-1] == built.n_pairs == len(pairs)


@settings(deadline=None)
@given(entries=rows, order=st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_the_order_of_rows(entries: list[tuple[int, int, float]], order: object) -> None:
    shuffled = list(entries)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = build(entries), build(shuffled)
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.item_indices.tobytes() == second.item_indices.tobytes()


def test_sums_that_float32_cannot_hold_are_refused_by_user_and_item() -> None:
    with pytest.raises(UserError, match="the weights of user 'b' and item 'q' add up to more than"):
        build([(0, 0, 1.0), (1, 1, 3e38), (1, 1, 3e38)])


@settings(deadline=None)
@given(
    entries=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.floats(-9, 9), st.integers(-2, 2)), max_size=40
    ),
    timed=st.booleans(),
    weighted=st.booleans(),
    cut=st.integers(0, 40),
)
def test_of_repeated_ratings_the_latest_counts_and_of_those_at_one_time_the_last(
    entries: list[tuple[int, int, float, int]], timed: bool, weighted: bool, cut: int
) -> None:
    expected: dict[tuple[int, int], tuple[int, float]] = {}
    for user, item, rating, time in entries:
        moment = time if timed else 0
        if moment >= expected.get((user, item), (moment, 0.0))[0]:
            expected[user, item] = moment, float(np.float32(rating)) if weighted else 1.0
    table = np.array(entries, dtype=np.float64).reshape(-1, 4)
    users, items, times = (table[:, column].astype(np.int64) for column in (0, 1, 3))
    whole = Interactions.from_pairs(
        USERS,
        ITEMS,
        user_indices=users,
        item_indices=items,
        weights=table[:, 2] if weighted else None,
        times=times if timed else None,
        latest=True,
    )
    pairs = [(user, int(item)) for user in range(3) for item in whole.items_of(user)]
    assert pairs == sorted(expected)
    assert whole.weights.tolist() == [expected[pair][1] for pair in pairs]

    def block(part: slice) -> Block:
        weights = table[part, 2].astype(np.float32) if weighted else None
        return Block(users[part], items[part], weights, times[part] if timed else None)

    parts = Interactions.from_blocks(
        USERS,
        ITEMS,
        blocks=[block(slice(cut)), block(slice(cut, None))],
        rows_per_user=np.bincount(users, minlength=3),
        latest=True,
    )
    for name in ("indptr", "item_indices", "weights"):
        assert getattr(parts, name).tobytes() == getattr(whole, name).tobytes()


def test_users_and_items_without_rows_are_kept() -> None:
    built = build([(1, 2, 5.0)])
    assert built.indptr.tolist() == [0, 0, 1, 1]
    assert (built.n_users, built.n_items) == (3, 4)
