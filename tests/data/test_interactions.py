from __future__ import annotations

from collections import defaultdict
from typing import Any

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
        rows_per_item=np.bincount(items, minlength=4),
        latest=True,
    )
    for name in ("indptr", "item_indices", "weights"):
        assert getattr(parts, name).tobytes() == getattr(whole, name).tobytes()


def test_users_and_items_without_rows_are_kept() -> None:
    built = build([(1, 2, 5.0)])
    assert built.indptr.tolist() == [0, 0, 1, 1]
    assert (built.n_users, built.n_items) == (3, 4)


timed_rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.floats(1e-9, 1e9), st.integers(-(10**16), 10**16)), max_size=40
)


@settings(deadline=None)
@given(entries=timed_rows, latest=st.booleans(), cut=st.integers(0, 40))
def test_the_time_of_a_pair_is_that_of_its_latest_row_and_changes_nothing_else(
    entries: list[tuple[int, int, float, int]], latest: bool, cut: int
) -> None:
    users, items = (np.array([entry[k] for entry in entries], dtype=np.int64) for k in (0, 1))
    weights = np.array([entry[2] for entry in entries], dtype=np.float32)
    times = np.array([entry[3] for entry in entries], dtype=np.int64)
    expected: dict[tuple[int, int], int] = {}
    for user, item, _, time in entries:
        expected[user, item] = max(time, expected.get((user, item), time))
    options: Any = dict(user_indices=users, item_indices=items, weights=weights, times=times, latest=latest)
    plain = Interactions.from_pairs(USERS, ITEMS, **options)
    kept = Interactions.from_pairs(USERS, ITEMS, **options, keep_times=True)
    assert plain.times is None and kept.times is not None
    pairs = [(user, int(item)) for user in range(3) for item in kept.items_of(user)]
    assert dict(zip(pairs, kept.times.tolist(), strict=True)) == expected
    assert kept.times.dtype == np.int64

    parts = Interactions.from_blocks(
        USERS,
        ITEMS,
        blocks=[Block(users[part], items[part], weights[part], times[part]) for part in (slice(cut), slice(cut, None))],
        rows_per_user=np.bincount(users, minlength=3),
        rows_per_item=np.bincount(items, minlength=4),
        latest=latest,
        keep_times=True,
    )
    assert parts.times is not None and parts.times.tobytes() == kept.times.tobytes()
    for name in ("indptr", "item_indices", "weights"):
        assert getattr(plain, name).tobytes() == getattr(kept, name).tobytes() == getattr(parts, name).tobytes()


@given(entries=timed_rows.filter(bool), seed=st.integers(0, 99), with_times=st.booleans())
def test_chosen_pairs_keep_their_user_item_weight_and_time(
    entries: list[tuple[int, int, float, int]], seed: int, with_times: bool
) -> None:
    whole = Interactions.from_pairs(
        USERS,
        ITEMS,
        user_indices=np.array([entry[0] for entry in entries]),
        item_indices=np.array([entry[1] for entry in entries]),
        weights=np.array([entry[2] for entry in entries]),
        times=np.array([entry[3] for entry in entries]),
        latest=True,
        keep_times=with_times,
    )
    chosen = np.random.default_rng(seed).random(whole.n_pairs) < 0.5
    some = whole.only(chosen)
    users = np.repeat(np.arange(3), np.diff(whole.indptr))
    assert np.repeat(np.arange(3), np.diff(some.indptr)).tolist() == users[chosen].tolist()
    assert some.item_indices.tolist() == whole.item_indices[chosen].tolist()
    assert some.weights.tolist() == whole.weights[chosen].tolist()
    assert (some.times is None) == (not with_times)
    if some.times is not None and whole.times is not None:
        assert some.times.tolist() == whole.times[chosen].tolist()
    assert (some.user_ids, some.item_ids) == (whole.user_ids, whole.item_ids)
    assert whole.count_by_user(chosen).tolist() == np.bincount(users[chosen], minlength=3).tolist()
