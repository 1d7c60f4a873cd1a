"""Holding out: what is drawn, what never is."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.interactions import Interactions
from factorbox.data.splits import random_split, split_memory
from support import clustered_interactions, interactions_from_rows


def pairs_of(interactions: Interactions) -> dict[tuple[int, int], float]:
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))
    items, weights = interactions.item_indices, interactions.weights
    return {(int(u), int(i)): float(w) for u, i, w in zip(users, items, weights, strict=True)}


@given(
    rows=st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=1, max_size=12),
    fraction=st.floats(0.01, 0.5),
    random_state=st.integers(0, 2**63 - 1),
)
def test_both_parts_make_the_whole_and_no_user_or_item_is_left_without_a_pair(
    rows: list[set[int]], fraction: float, random_state: int
) -> None:
    places = {item: place for place, item in enumerate(sorted(set().union(*rows)))}
    whole = interactions_from_rows(
        [sorted(places[item] for item in row) for row in rows],
        n_items=len(places),
        weights=[[float(user * 10 + k + 1) for k in range(len(row))] for user, row in enumerate(rows)],
    )
    split = random_split(whole, fraction=fraction, random_state=random_state)
    held_out = dict(
        zip(
            zip(split.held_out.user_indices.tolist(), split.held_out.item_indices.tolist(), strict=True),
            split.held_out.weights.tolist(),
            strict=True,
        )
    )
    assert list(held_out) == sorted(held_out)
    training = pairs_of(split.training)
    assert not training.keys() & held_out.keys()
    assert training | held_out == pairs_of(whole)
    assert split.training.by_user().counts.min() >= 1
    assert split.training.by_item().counts.min() >= 1
    spare = whole.n_pairs - whole.n_users - whole.n_items
    assert min(round(fraction * whole.n_pairs), spare) <= len(split.held_out) <= round(fraction * whole.n_pairs)


def test_the_seed_decides_what_is_held_out() -> None:
    whole = clustered_interactions(np.random.default_rng(0))
    first, again, other = (random_split(whole, fraction=0.1, random_state=seed) for seed in (1, 1, 2))
    assert len(first.held_out) == 120
    assert first.held_out.item_indices.tobytes() == again.held_out.item_indices.tobytes()
    assert first.training.indptr.tobytes() == again.training.indptr.tobytes()
    assert first.held_out.item_indices.tobytes() != other.held_out.item_indices.tobytes()


def test_every_spare_pair_is_as_likely_as_any_other() -> None:
    # All users have all items, so that every pair is alike.
    whole = interactions_from_rows([range(10)] * 10, n_items=10)
    times = np.zeros((10, 10))
    for seed in range(600):
        held_out = random_split(whole, fraction=0.3, random_state=seed).held_out
        times[held_out.user_indices, held_out.item_indices] += 1
    assert times.mean() == pytest.approx(180)
    # Five standard deviations of a binomial of 600 trials at 0.3, which is 11.2.
    assert np.abs(times - 180).max() < 56


def test_where_nothing_can_be_spared_nothing_is_held_out() -> None:
    whole = interactions_from_rows([[0], [1], [2]], n_items=3)
    split = random_split(whole, fraction=0.5, random_state=0)
    assert len(split.held_out) == 0
    assert split.training.n_pairs == 3


def test_the_memory_of_a_split_is_estimated() -> None:
    whole = clustered_interactions(np.random.default_rng(0), n_users=5_000, n_items=200)
    tracemalloc.start()
    try:
        random_split(whole, fraction=0.5, random_state=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    estimate = split_memory(users=whole.n_users, items=whole.n_items, pairs=whole.n_pairs)
    assert peak <= estimate <= 1.5 * peak
