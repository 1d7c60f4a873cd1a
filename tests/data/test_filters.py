from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.filters import FilterOptions, Kept, apply_filters
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.reading import ReadOptions, read_interactions
from factorbox.errors import UserError

Pairs = dict[tuple[str, str], float]

USERS, ITEMS = list("abcdef"), list("pqrst")


def interactions_of(pairs: Pairs) -> Interactions:
    """Build interactions among all users and items, some of which may have no pair."""
    return Interactions.from_pairs(
        Ids.from_texts(USERS),
        Ids.from_texts(ITEMS),
        user_indices=np.array([USERS.index(user) for user, _ in pairs], dtype=np.int64),
        item_indices=np.array([ITEMS.index(item) for _, item in pairs], dtype=np.int64),
        weights=np.array(list(pairs.values())),
        latest=True,
    )


def pairs_of(data: Interactions) -> Pairs:
    return {
        (data.user_ids[user], data.item_ids[int(item)]): float(data.weights[data.indptr[user] + k])
        for user in range(data.n_users)
        for k, item in enumerate(data.items_of(user))
    }


def brute_force(pairs: Pairs, options: FilterOptions, min_rating: float | None) -> dict[str, Pairs]:
    """Return for each filter the pairs that it keeps alone."""
    of_item, of_user = defaultdict(list), defaultdict(list)
    for (user, item), weight in pairs.items():
        of_item[item].append(weight)
        of_user[user].append(weight)

    def kept(value: Callable[[str, str], float], least: float) -> Pairs:
        return {pair: weight for pair, weight in pairs.items() if value(*pair) >= least}

    values: dict[str, tuple[float | None, Callable[[str, str], float]]] = {
        "min_rating": (min_rating, lambda user, item: pairs[user, item]),
        "min_item_interactions": (options.min_item_interactions, lambda user, item: len(of_item[item])),
        "min_user_interactions": (options.min_user_interactions, lambda user, item: len(of_user[user])),
        "min_item_mean_rating": (options.min_item_mean_rating, lambda user, item: fmean(of_item[item])),
    }
    return {f"{name}={least:g}": kept(value, least) for name, (least, value) in values.items() if least is not None}


# Halves: sums and means in this test are exact.
halves = st.integers(-4, 10).map(lambda half: half / 2)


@given(
    pairs=st.dictionaries(st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS)), halves, min_size=1, max_size=20),
    min_rating=st.none() | halves,
    options=st.builds(
        FilterOptions,
        min_item_interactions=st.none() | st.integers(1, 5),
        min_user_interactions=st.none() | st.integers(1, 5),
        min_item_mean_rating=st.none() | halves,
        filters=st.sampled_from(["all", "any"]),
    ),
)
def test_filters_keep_what_brute_force_keeps(pairs: Pairs, min_rating: float | None, options: FilterOptions) -> None:
    before = interactions_of(pairs)
    if options.filters == "all":
        min_rating = None
    alone = brute_force(pairs, options, min_rating)
    if all(name.startswith("min_rating=") for name in alone):
        # Of one filter, any and all keep the same: reading has dropped the rows.
        assert apply_filters(before, options=options, min_rating=min_rating, has_weights=True) == (before, None)
        return
    join = set.union if options.filters == "any" else set.intersection
    expected = join(*(set(kept) for kept in alone.values()))
    if not expected:
        with pytest.raises(UserError, match=f"no pair of {len(pairs)} is left by the filters min_"):
            apply_filters(before, options=options, min_rating=min_rating, has_weights=True)
        return
    after, summary = apply_filters(before, options=options, min_rating=min_rating, has_weights=True)
    assert pairs_of(after) == {pair: pairs[pair] for pair in expected}
    assert after.user_ids.to_list() == sorted({user for user, _ in expected})
    assert after.item_ids.to_list() == sorted({item for _, item in expected})
    assert after.user_ids.is_sorted() and after.item_ids.is_sorted()
    assert [array.dtype for array in (after.indptr, after.item_indices, after.weights)] == [
        array.dtype for array in (before.indptr, before.item_indices, before.weights)
    ]
    assert summary is not None
    assert summary.each == tuple(counted(name, set(kept)) for name, kept in alone.items())
    assert summary.total == counted(f"filters={options.filters}", expected)


def counted(condition: str, pairs: set[tuple[str, str]]) -> Kept:
    return Kept(condition, len(pairs), users=len({user for user, _ in pairs}), items=len({item for _, item in pairs}))


def test_pairs_that_filters_keep_have_their_times() -> None:
    pairs = {("a", "p"): 1.0, ("b", "p"): 1.0, ("b", "q"): 1.0, ("c", "r"): 1.0, ("d", "p"): 1.0}
    times = np.arange(len(pairs)) * 10
    before = replace(interactions_of(pairs), times=times)
    after, _ = apply_filters(before, options=FilterOptions(min_item_interactions=2), min_rating=None, has_weights=True)
    assert list(pairs_of(after)) == [("a", "p"), ("b", "p"), ("d", "p")]
    assert after.times is not None and after.times.tolist() == [0, 10, 40]


def test_filters_are_not_repeated_on_what_they_left() -> None:
    pairs = {("a", "p"): 1.0, ("b", "p"): 1.0, ("b", "q"): 1.0}
    options = FilterOptions(min_item_interactions=2, min_user_interactions=2)
    after, _ = apply_filters(interactions_of(pairs), options=options, min_rating=None, has_weights=True)
    assert pairs_of(after) == {("b", "p"): 1.0}


@pytest.mark.parametrize("limit", [0.7, 0.1, 3.3, 2.01])
def test_a_rating_as_written_passes_the_same_limit_although_float32_rounds_it(limit: float) -> None:
    before = interactions_of(dict.fromkeys([("a", "p"), ("b", "p"), ("c", "p")], limit))
    options = FilterOptions(min_item_mean_rating=limit, min_item_interactions=9, filters="any")
    after, summary = apply_filters(before, options=options, min_rating=limit, has_weights=True)
    assert after.n_pairs == 3
    assert summary is not None and [kept.pairs for kept in summary.each] == [3, 0, 3]


def test_a_mean_of_rounded_ratings_passes_the_limit_that_it_equals_as_written() -> None:
    before = interactions_of({("a", "p"): 0.1, ("b", "p"): 0.2, ("a", "q"): 0.1})
    after, _ = apply_filters(
        before, options=FilterOptions(min_item_mean_rating=0.15), min_rating=None, has_weights=True
    )
    assert after.item_ids.to_list() == ["p"]


def test_min_rating_drops_while_reading_unless_another_filter_may_keep_the_pair() -> None:
    reading = ReadOptions(min_rating=3, item_column="x")
    assert FilterOptions(min_item_mean_rating=2.0).for_reading(reading) == reading
    assert FilterOptions(filters="any").for_reading(reading) == reading
    assert FilterOptions(min_item_mean_rating=2.0, filters="any").for_reading(reading) == ReadOptions(item_column="x")
    with pytest.raises(UserError, match="filters=any, and no filter is set: set some of min_rating, min_item_inter"):
        FilterOptions(filters="any").for_reading(ReadOptions())
    assert FilterOptions().for_reading(ReadOptions()) == ReadOptions()


@pytest.mark.parametrize(
    ("options", "min_rating", "name"),
    [
        (FilterOptions(min_item_mean_rating=2.5), None, "min_item_mean_rating=2.5"),
        (FilterOptions(min_user_interactions=2, filters="any"), 3.0, "min_rating=3"),
    ],
)
def test_filters_of_weights_need_weights(options: FilterOptions, min_rating: float | None, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} needs a weight column, and the data have none: name one with"):
        apply_filters(interactions_of({("a", "p"): 1}), options=options, min_rating=min_rating, has_weights=False)


def test_nothing_left_names_the_values_and_what_each_keeps() -> None:
    options = FilterOptions(min_item_interactions=2, min_item_mean_rating=4.5)
    pairs = {("a", "p"): 1.0, ("b", "p"): 2.0, ("a", "q"): 5.0}
    with pytest.raises(UserError) as caught:
        apply_filters(interactions_of(pairs), options=options, min_rating=None, has_weights=True)
    assert str(caught.value) == (
        "no pair of 3 is left by the filters min_item_interactions=2 (2 alone), min_item_mean_rating=4.5 (1 alone) "
        "with filters=all: give smaller values, or filters=any"
    )


@pytest.mark.parametrize("values", [{"min_item_interactions": 0}, {"min_user_interactions": -1}, {"filters": "or"}])
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(values))}=.* is out of range"):
        FilterOptions(**values)  # type: ignore[arg-type]


@pytest.mark.skipif(not os.environ.get("FACTORBOX_DATA"), reason="FACTORBOX_DATA names no folder with data sets")
def test_rows_of_movielens_with_more_than_20_ratings_or_a_mean_above_2_are_98771(tmp_path: Path) -> None:
    shutil.copy(Path(os.environ["FACTORBOX_DATA"]) / "ml-latest-small" / "ratings.csv", tmp_path)
    options = FilterOptions(min_item_interactions=21, min_item_mean_rating=2.01, filters="any")
    before, _ = read_interactions(tmp_path, options=ReadOptions(user_column="userId", item_column="movieId"))
    after, summary = apply_filters(before, options=options, min_rating=None, has_weights=True)
    assert (before.n_pairs, after.n_pairs) == (100_836, 98_771)
    assert summary is not None and [kept.pairs for kept in summary.each] == [66_658, 98_690]
