"""The parts of the sampled kernels: random numbers, unseen items, and the layout by cells."""

from __future__ import annotations

import numpy as np
import pytest

from factorbox.models.sampled_kernels import arrange, draw_unseen
from support import clustered_interactions


def drawn(marks: list[bool], *, draws: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    state, found = np.uint64(7), []
    array = np.array(marks)
    for _ in range(draws):
        item, state = draw_unseen(np.uint64(state), array, int((~array).sum()))
        found.append(item)
    return np.array(found)


@pytest.mark.parametrize(
    "marks",
    [
        [False] * 6,
        [False, True, False, False, True, False, False],
        # So few are left that they have to be counted out.
        [True] * 300 + [False, True, False] + [True] * 300,
    ],
    ids=["none seen", "some seen", "nearly all seen"],
)
def test_unseen_items_are_drawn_uniformly_and_seen_ones_never(marks: list[bool]) -> None:
    draws = 3000
    found = drawn(marks, draws=draws)
    unseen = np.flatnonzero(~np.array(marks))
    counts = np.bincount(found, minlength=len(marks))
    assert counts[unseen].sum() == draws
    expected = draws / len(unseen)
    chi_square = float(((counts[unseen] - expected) ** 2 / expected).sum())
    freedom = len(unseen) - 1
    # Mean `freedom`, variance 2 · `freedom`: five standard deviations.
    assert chi_square <= freedom + 5 * np.sqrt(2 * freedom)


def test_every_pair_is_laid_out_once_in_its_block_by_user(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, n_users=50, n_items=40)
    block_of_item = rng.integers(0, 3, 40).astype(np.int32)
    place_of_item = rng.permutation(40).astype(np.int32)
    pair_users, pair_places = np.full((2, interactions.n_pairs), -1, dtype=np.int32)
    edges = np.empty(4, dtype=np.int64)
    first, last = 10, 30
    arrange(
        first,
        last,
        interactions.indptr,
        interactions.item_indices,
        block_of_item,
        place_of_item,
        pair_users,
        pair_places,
        edges,
    )
    begin, end = interactions.indptr[first], interactions.indptr[last]
    assert edges[0] == begin and edges[-1] == end
    item_at = np.argsort(place_of_item)
    found = []
    for block in range(3):
        users = pair_users[edges[block] : edges[block + 1]]
        items = item_at[pair_places[edges[block] : edges[block + 1]]]
        assert (block_of_item[items] == block).all() and (np.diff(users) >= 0).all()
        found += list(zip(users.tolist(), items.tolist(), strict=True))
    expected = [(user, int(item)) for user in range(first, last) for item in interactions.items_of(user)]
    assert sorted(found) == expected
    # Nothing is written beside the pairs of these users.
    assert (pair_users[:begin] == -1).all() and (pair_users[end:] == -1).all()
