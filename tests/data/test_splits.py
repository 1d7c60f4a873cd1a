"""Holding out: what is drawn, what never is."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.interactions import Interactions
from factorbox.data.splits import Method, Split, as_method, hold_out, require_times, split_memory
from factorbox.errors import UserError
from support import clustered_interactions, interactions_from_rows

METHODS = get_args(Method)
Pair = tuple[int, int]

# Items of each user; the times of their pairs are drawn in a second step.
baskets = st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=1, max_size=14)
seeds = st.integers(0, 2**63 - 1)


def timed(rows: list[set[int]], times: list[int] | None) -> Interactions:
    """Build interactions whose items all have a pair; every weight is another, `times` are repeated as needed."""
    places = {item: place for place, item in enumerate(sorted(set().union(*rows)))}
    whole = interactions_from_rows(
        [sorted(places[item] for item in row) for row in rows],
        n_items=len(places),
        weights=[[float(user * 20 + k + 1) for k in range(len(row))] for user, row in enumerate(rows)],
    )
    moments = None if times is None else np.resize(np.array(times, dtype=np.int64), whole.n_pairs)
    return Interactions(whole.user_ids, whole.item_ids, whole.indptr, whole.item_indices, whole.weights, times=moments)


data = st.builds(timed, baskets, st.lists(st.integers(-3, 12), min_size=1, max_size=80))


def pairs_of(interactions: Interactions) -> dict[Pair, tuple[float, int]]:
    """Return weight and time of each pair; 0 without times."""
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))
    times = np.zeros(interactions.n_pairs, np.int64) if interactions.times is None else interactions.times
    values = zip(interactions.weights.tolist(), times.tolist(), strict=True)
    return dict(zip(zip(users.tolist(), interactions.item_indices.tolist(), strict=True), values, strict=True))


def held_out_of(split: Split) -> list[Pair]:
    return list(zip(split.held_out.user_indices.tolist(), split.held_out.item_indices.tolist(), strict=True))


def split_of(whole: Interactions, *, method: Method, seed: int = 0, fraction: float = 0.3, users: int = 99) -> Split:
    return hold_out(whole, method=method, fraction=fraction, most_users=users, random_state=seed)


@given(whole=data, method=st.sampled_from(METHODS), fraction=st.floats(0.01, 0.9), most=st.integers(1, 15), seed=seeds)
def test_both_parts_make_the_whole_and_users_have_pairs_in_both(
    whole: Interactions, method: Method, fraction: float, most: int, seed: int
) -> None:
    split = hold_out(whole, method=method, fraction=fraction, most_users=most, random_state=seed)
    held_out = held_out_of(split)
    assert held_out == sorted(set(held_out))
    training, every = pairs_of(split.training), pairs_of(whole)
    assert training.keys().isdisjoint(held_out)
    assert training.keys() | set(held_out) == every.keys()
    assert all(every[pair] == kept for pair, kept in training.items())
    assert split.held_out.weights.tolist() == [every[pair][0] for pair in held_out]
    assert (split.training.user_ids, split.training.item_ids) == (whole.user_ids, whole.item_ids)
    assert split.training.indptr[-1] == split.training.n_pairs

    users = split.users.tolist()
    assert users == sorted(set(users)) and len(users) <= most
    of_training, of_held_out = Counter(user for user, _ in training), Counter(user for user, _ in held_out)
    assert all(of_training[user] and of_held_out[user] for user in users)
    if method != "chronological":
        assert set(of_held_out) == set(users)
        assert split.training.by_user().counts.min() >= 1
    if method in ("random", "stratified"):
        assert split.training.by_item().counts.min() >= 1

    again = hold_out(whole, method=method, fraction=fraction, most_users=most, random_state=seed)
    assert (held_out_of(again), again.users.tolist()) == (held_out, users)


@given(whole=data, fraction=st.floats(0.01, 0.9), seed=seeds)
def test_random_takes_its_share_or_all_that_can_be_spared(whole: Interactions, fraction: float, seed: int) -> None:
    counts = whole.by_user().counts
    theirs = int(counts[counts >= 2].sum())
    split = split_of(whole, method="random", fraction=fraction, seed=seed)
    wanted = round(fraction * theirs)
    assert min(wanted, theirs - whole.n_users - whole.n_items) <= len(split.held_out) <= wanted


@given(whole=data, fraction=st.floats(0.01, 0.9), most=st.integers(1, 15), seed=seeds)
def test_stratified_takes_a_share_of_each_user_or_all_that_can_be_spared(
    whole: Interactions, fraction: float, most: int, seed: int
) -> None:
    split = split_of(whole, method="stratified", fraction=fraction, users=most, seed=seed)
    counts = whole.by_user().counts
    eligible = np.flatnonzero(counts >= 5)
    assert set(split.users) <= set(eligible)
    taken = Counter(split.held_out.user_indices.tolist())
    wanted = {user: min(max(1, round(fraction * counts[user])), counts[user] - 1) for user in eligible.tolist()}
    assert all(taken[user] <= wanted[user] for user in taken)
    if most < len(eligible):
        return
    items_of_others = {item for user, item in pairs_of(whole) if user not in wanted}
    for user, number in wanted.items():
        if taken[user] < number:
            # What is left to it stays for the sake of items that nobody else keeps for sure.
            assert items_of_others.isdisjoint(split.training.items_of(user).tolist())
    assert len(split.held_out) >= sum(wanted.values()) - (whole.n_items - len(items_of_others))


@given(whole=data, most=st.integers(1, 15), seed=seeds)
def test_last_takes_the_latest_pair_of_each_user_who_has_two(whole: Interactions, most: int, seed: int) -> None:
    every = pairs_of(whole)
    latest: dict[int, set[int]] = {}
    for user in range(whole.n_users):
        times = {item: every[user, item][1] for item in whole.items_of(user).tolist()}
        if len(times) >= 2:
            latest[user] = {item for item, time in times.items() if time == max(times.values())}
    split = split_of(whole, method="last", users=most, seed=seed)
    assert len(split.users) == min(most, len(latest))
    held_out = held_out_of(split)
    assert [user for user, _ in held_out] == split.users.tolist()
    assert all(item in latest[user] for user, item in held_out)
    assert split.tied_users == sum(len(latest[user]) > 1 for user in split.users.tolist())


def test_of_several_at_the_latest_moment_each_is_as_likely_to_be_the_last() -> None:
    # Of eight items the first is from before, and the last seven are from one moment.
    whole = timed([set(range(8))] * 400, [0, 5, 5, 5, 5, 5, 5, 5])
    split = split_of(whole, method="last", users=1_000)
    drawn = np.bincount(split.held_out.item_indices, minlength=8)
    assert split.tied_users == 400 and drawn[0] == 0
    # Five standard deviations of a binomial of 400 trials at 1/7.
    assert np.abs(drawn[1:] - 400 / 7).max() < 35
    other = split_of(whole, method="last", users=1_000, seed=1)
    assert other.held_out.item_indices.tolist() != split.held_out.item_indices.tolist()


@given(whole=data, fraction=st.floats(0.01, 0.9), most=st.integers(1, 15), seed=seeds)
def test_chronological_cuts_between_two_moments_as_near_to_the_fraction_as_any(
    whole: Interactions, fraction: float, most: int, seed: int
) -> None:
    split = split_of(whole, method="chronological", fraction=fraction, users=most, seed=seed)
    every = pairs_of(whole)
    moments = sorted(time for _, time in every.values())
    # After which pairs a cut may be: behind all, and where the moment changes.
    cuts = [len(moments) - k - 1 for k, (one, other) in enumerate(pairwise(moments)) if one < other] + [0]
    wanted = round(fraction * len(moments))
    expected = min(cuts, key=lambda held_out: (abs(held_out - wanted), held_out))
    assert len(split.held_out) == expected
    held_out, training = set(held_out_of(split)), pairs_of(split.training)
    assert min((every[pair][1] for pair in held_out), default=99) > max(time for _, time in training.values())
    both = {user for user, _ in held_out} & {user for user, _ in training}
    assert len(split.users) == min(most, len(both)) and set(split.users.tolist()) <= both


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_who_is_measured(method: Method) -> None:
    plain = clustered_interactions(np.random.default_rng(0))
    times = np.random.default_rng(1).integers(0, 10**15, plain.n_pairs)
    whole = Interactions(plain.user_ids, plain.item_ids, plain.indptr, plain.item_indices, plain.weights, times=times)
    first, again, other = (split_of(whole, method=method, fraction=0.1, users=20, seed=seed) for seed in (1, 1, 2))
    assert len(first.users) == 20 or (method == "random" and 10 < len(first.users) < 20)
    assert first.users.tobytes() == again.users.tobytes() != other.users.tobytes()
    assert first.held_out.item_indices.tobytes() == again.held_out.item_indices.tobytes()
    assert first.training.indptr.tobytes() == again.training.indptr.tobytes()
    assert len(first.held_out) == {"random": 20, "stratified": 20, "chronological": 120, "last": 20}[method]
    assert first.training.times is not None and len(first.training.times) == first.training.n_pairs


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_every_pair_that_can_be_spared_is_as_likely_as_any_other(method: Method) -> None:
    # All users have all of the first nine items, so that those pairs are alike; the tenth is one user's alone.
    whole = interactions_from_rows([range(9)] * 9 + [range(10)], n_items=10)
    times = np.zeros((10, 10))
    for seed in range(600):
        held_out = split_of(whole, method=method, fraction=0.3, seed=seed).held_out
        times[held_out.user_indices, held_out.item_indices] += 1
    assert times[:, 9].sum() == 0
    likely = times[:9, :9]
    # Five standard deviations of a binomial of 600 trials at about 0.3, which is 11.3.
    assert np.abs(likely - likely.mean()).max() < 57
    assert likely.mean() == pytest.approx(600 * 0.3, abs=30)


def test_a_pair_is_not_likelier_because_others_of_its_item_stay() -> None:
    # Items 0 to 3 have one pair elsewhere; of items 4 to 7, which two users share alone, one pair each stays.
    rows = [[0, 1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8, 9, 10, 11], [0, 1, 2, 3]]
    whole = interactions_from_rows(rows, n_items=12)
    shared = 0
    for seed in range(3000):
        split = split_of(whole, method="stratified", fraction=0.1, seed=seed)
        (item,) = split.held_out.item_indices[split.held_out.user_indices == 0].tolist()
        shared += item >= 4
    # On average two of the four shared pairs can be spared beside the four that always can.
    expected = sum(
        weight * spare / (4 + spare) for spare, weight in enumerate([1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16])
    )
    assert shared / 3000 == pytest.approx(expected, abs=5 * (expected * (1 - expected) / 3000) ** 0.5)


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_can_be_spared_nothing_is_held_out(method: Method) -> None:
    single = [timed([{0}, {1}, {2}], [5]), timed([{0}], [1]), timed([{0}, {0}, {0}], [7])]
    for whole in single:
        split = split_of(whole, method=method, fraction=0.5)
        assert (len(split.held_out), len(split.users), split.training.n_pairs) == (0, 0, whole.n_pairs)


def test_a_user_alone_keeps_all_for_the_items_unless_it_is_the_last_that_counts() -> None:
    whole = timed([set(range(8))], list(range(8)))
    for method in ("random", "stratified"):
        assert len(split_of(whole, method=method).held_out) == 0
    assert split_of(whole, method="last").tied_users == 0
    assert held_out_of(split_of(whole, method="last")) == [(0, 7)]
    cut = split_of(whole, method="chronological", fraction=0.25)
    assert (held_out_of(cut), cut.users.tolist()) == ([(0, 6), (0, 7)], [0])


def test_pairs_of_one_moment_cannot_be_cut() -> None:
    whole = timed([set(range(8)), set(range(8))], [1_700_000_000_000_000])
    split = split_of(whole, method="chronological", fraction=0.5)
    assert (len(split.held_out), len(split.users)) == (0, 0)


def test_a_fraction_that_rounds_to_nothing_holds_nothing_out_except_for_one_of_each_user() -> None:
    whole = timed([set(range(8))] * 4, list(range(32)))
    for method in ("random", "chronological"):
        assert len(split_of(whole, method=method, fraction=0.01).held_out) == 0
    assert len(split_of(whole, method="stratified", fraction=0.01).held_out) == 4


def test_users_who_begin_after_the_cut_are_held_out_and_not_measured() -> None:
    whole = timed([{0, 1}, {0, 1}, {1}], [1, 2, 3, 8, 9])
    split = split_of(whole, method="chronological", fraction=0.4)
    assert (held_out_of(split), split.users.tolist()) == ([(1, 1), (2, 1)], [1])
    assert split.training.by_user().counts.tolist() == [2, 1, 0]


@pytest.mark.parametrize("method", ["chronological", "last"])
def test_without_times_what_goes_by_them_is_refused_with_the_remedy(method: Method) -> None:
    whole = timed([{0, 1}], None)
    for refused in (split_of, require_times):
        with pytest.raises(UserError) as caught:
            refused(whole, method=method)
        assert str(caught.value) == (
            f"validation={method} goes by the time of each interaction, and the data have no time column: name one "
            "with the hyperparameter timestamp_column, or set validation to stratified or random"
        )


def test_methods_are_known_by_name() -> None:
    assert [as_method(name) for name in METHODS] == list(METHODS)
    with pytest.raises(UserError, match="validation='Random' is no way to hold interactions out: give one of"):
        as_method("Random")


@pytest.mark.parametrize("moments", [1, 10**15])
@pytest.mark.parametrize("most_users", [500, 10_000])
@pytest.mark.parametrize("method", METHODS)
def test_the_memory_of_a_split_is_estimated(method: Method, most_users: int, moments: int) -> None:
    plain = clustered_interactions(np.random.default_rng(0), n_users=5_000, n_items=200)
    times = np.random.default_rng(1).integers(0, moments, plain.n_pairs)
    whole = Interactions(plain.user_ids, plain.item_ids, plain.indptr, plain.item_indices, plain.weights, times=times)
    options: Any = {"method": method, "fraction": 0.5, "most_users": most_users, "random_state": 0}
    # The first time, kernels are compiled.
    hold_out(whole, **options)
    tracemalloc.start()
    try:
        hold_out(whole, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    estimate = split_memory(
        users=whole.n_users, items=whole.n_items, pairs=whole.n_pairs, most_users=most_users, times=True
    )
    assert peak <= estimate
    if method == "random":
        assert estimate <= 1.5 * peak
