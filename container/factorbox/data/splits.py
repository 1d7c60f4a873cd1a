"""Which interactions a model is trained on, and which are held out to measure it by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs that a model is measured by, sorted by user index and then by item index.

    Attributes
    ----------
    user_indices
        int64, (pairs,).
    item_indices
        int32, (pairs,).
    weights
        float32, (pairs,): weights or ratings, as in `Interactions`.
    """

    user_indices: NDArray[np.int64]
    item_indices: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.user_indices)


@dataclass(frozen=True, eq=False)
class Split:
    """Interactions in two parts.

    Attributes
    ----------
    training
        What a model is trained on, with the ids, and so the indices, of the whole.
    held_out
        What it is measured by.
    """

    training: Interactions
    held_out: Pairs


def random_split(interactions: Interactions, *, fraction: float, random_state: int) -> Split:
    """Hold out pairs drawn uniformly, whatever their users, except that each user and each item keeps one of theirs.

    Parameters
    ----------
    fraction
        Share of all pairs that is held out, rounded to whole pairs; fewer where fewer can be spared.
    random_state
        Seed: the same seed and interactions give the same split.
    """
    n_pairs = interactions.n_pairs
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))  # (pairs,)
    order = np.random.default_rng(random_state).permutation(n_pairs)
    rank = np.empty(n_pairs, dtype=np.int64)
    rank[order] = np.arange(n_pairs)
    # Each user and each item keeps its pair of the lowest rank; what is held out has the highest ranks of the others.
    stays = rank == _lowest(rank, of=users, groups=interactions.n_users)[users]
    stays |= rank == _lowest(rank, of=interactions.item_indices, groups=interactions.n_items)[interactions.item_indices]
    spare = order[~stays[order]]
    held_out = np.zeros(n_pairs, dtype=np.bool_)
    held_out[spare[max(0, len(spare) - round(fraction * n_pairs)) :]] = True
    return Split(
        training=_without(interactions, held_out, users=users),
        held_out=Pairs(users[held_out], interactions.item_indices[held_out], interactions.weights[held_out]),
    )


def split_memory(*, users: int, items: int, pairs: int) -> int:
    """Estimate the bytes that a split needs beside the interactions themselves."""
    per_pair = 5 * 8 + 4 + 4  # user, order, rank and two that are being worked out; item and weight of the parts
    return 8 * (users + items) + per_pair * pairs


def _lowest(rank: NDArray[np.int64], *, of: NDArray[np.integer], groups: int) -> NDArray[np.int64]:
    """Return the lowest rank within each group.  # (groups,)."""
    lowest = np.full(groups, len(rank), dtype=np.int64)
    np.minimum.at(lowest, of, rank)
    return lowest


def _without(interactions: Interactions, dropped: NDArray[np.bool_], *, users: NDArray[np.int64]) -> Interactions:
    counts = np.bincount(users[~dropped], minlength=interactions.n_users)
    return Interactions(
        user_ids=interactions.user_ids,
        item_ids=interactions.item_ids,
        indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item_indices=interactions.item_indices[~dropped],
        weights=interactions.weights[~dropped],
    )
