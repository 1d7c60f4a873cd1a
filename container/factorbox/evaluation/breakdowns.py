"""Whom a model serves well and whom badly: users by their activity, held-out pairs by their item's popularity."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_ROUND = (1, 2, 3, 5)
_QUANTILES = (0.25, 0.5, 0.75)
_SHARES = (0.2, 0.5, 0.8)


@dataclass(frozen=True, eq=False)
class Members:
    """A group.

    Attributes
    ----------
    label
        As a table shows it.
    indices
        int64, ascending: its users, or its items.
    """

    label: str
    indices: NDArray[np.int64]


def by_activity(counts: NDArray[np.int64]) -> list[Members]:
    """Group users by the number of their training interactions, fewest first.

    There are at most four groups, each of about a quarter of the users: the bounds are the quartiles, moved to the
    nearest of 1, 2, 3, 5, 10, 20, 30, 50, … by ratio. A group that would be empty is left out.

    Parameters
    ----------
    counts
        (users,): training interactions of each.
    """
    quartiles = np.quantile(counts, _QUANTILES)
    bounds = np.unique([_round_number(quartile) for quartile in quartiles])
    group = np.searchsorted(bounds, counts)  # a bound itself belongs to the group below it
    lows = [int(counts.min()), *(int(bound) + 1 for bound in bounds)]
    highs = [*(int(bound) for bound in bounds), None]
    members = [
        Members(_interactions(low, high), np.flatnonzero(group == g))
        for g, (low, high) in enumerate(zip(lows, highs, strict=True))
    ]
    return [some for some in members if len(some.indices)]


def by_popularity(users: NDArray[np.int64]) -> list[Members]:
    """Group items by the number of users who have them in training, the most popular first.

    The first group are the most popular items that together make up a fifth of the training interactions, the next
    those up to a half, then up to four fifths; the last are all others, also those that nobody has in training. So
    each group stands for a known share of what people do, however few items that takes. Items of equal popularity are
    taken by their index.

    Parameters
    ----------
    users
        (items,): users who have each in training.
    """
    order, total = np.argsort(-users, kind="stable"), max(1, int(users.sum()))
    before = np.cumsum(users[order]) - users[order]  # interactions with more popular items
    group = np.searchsorted(_SHARES, before / total, side="right")
    group[users[order] == 0] = len(_SHARES)
    starts = np.searchsorted(group, np.arange(len(_SHARES) + 2))
    return [
        Members(
            f"{_ranks(int(start) + 1, int(end))}, {users[order[start:end]].sum() / total:.0%} of interactions",
            np.sort(order[start:end]),
        )
        for start, end in pairwise(starts)
        if start < end
    ]


def _round_number(value: float) -> int:
    """Return the nearest of 1, 2, 3, 5, 10, 20, … by ratio."""
    numbers = np.array([digit * 10**power for power in range(19) for digit in _ROUND if digit * 10**power < 2**62])
    return int(numbers[np.abs(np.log(numbers / max(1.0, value))).argmin()])


def _interactions(low: int, high: int | None) -> str:
    if high is None:
        return f"{low:,} interactions or more"
    if low >= high:
        return "1 interaction" if high == 1 else f"{high:,} interactions"
    return f"{low:,} to {high:,} interactions"


def _ranks(first: int, last: int) -> str:
    return f"item {first:,}" if first == last else f"items {first:,} to {last:,}"
