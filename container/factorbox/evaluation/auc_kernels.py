"""The inner loops of the AUC: whole numbers only, so that no order of additions matters."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel

_LANES = 256
"""Counters side by side: this loop is most of the work, and so it runs in vectors of 32 bits."""


@kernel()
def _twice_below(scores, limit):  # type: ignore[no-untyped-def]
    """Count scores below `limit` twice and those equal to it once; NaN is neither."""
    lanes = np.zeros(_LANES, dtype=np.int32)
    whole = len(scores) - len(scores) % _LANES
    for start in range(0, whole, _LANES):
        part = scores[start : start + _LANES]
        for lane in range(_LANES):
            lanes[lane] += np.int32(part[lane] < limit) + np.int32(part[lane] <= limit)
    count = 0
    for lane in range(_LANES):
        count += lanes[lane]
    for i in range(whole, len(scores)):
        count += (scores[i] < limit) + (scores[i] <= limit)
    return count


@kernel()
def _unmasked(scores):  # type: ignore[no-untyped-def]
    count = 0
    for i in range(len(scores)):
        count += scores[i] == scores[i]
    return count


@kernel()
def shares_above(scores, unavailable, seen_indptr, seen, relevant_indptr, relevant, shares):  # type: ignore[no-untyped-def]
    """Fill `shares`, (pairs,), with the share of a row's other items that each relevant item is above, ties half.

    `scores`, (rows, items), loses the scores of all but those others. NaN for an item that may not be recommended, or
    without another.
    """
    nan = np.float32(np.nan)
    for row in range(len(scores)):
        own = scores[row]
        for i in unavailable:
            own[i] = nan
        for i in seen[seen_indptr[row] : seen_indptr[row + 1]]:
            own[i] = nan
        items = relevant[relevant_indptr[row] : relevant_indptr[row + 1]]
        found = shares[relevant_indptr[row] : relevant_indptr[row + 1]]
        limits = own[items]
        for i in items:
            own[i] = nan
        others = _unmasked(own)
        for p in range(len(items)):
            has = limits[p] == limits[p] and others > 0
            found[p] = _twice_below(own, limits[p]) / (2 * others) if has else np.nan


@kernel()
def popular_shares_above(users, twice_below, available, seen_indptr, seen, relevant_indptr, relevant, shares):  # type: ignore[no-untyped-def]
    """Fill `shares` as `shares_above` does, where every user has the same scores `users`, (items,).

    `twice_below`, (items,), counts the available items below each one twice and those equal to it once.
    """
    n_available = 0
    for i in range(len(available)):
        n_available += available[i]
    for row in range(len(seen_indptr) - 1):
        had = seen[seen_indptr[row] : seen_indptr[row + 1]]
        items = relevant[relevant_indptr[row] : relevant_indptr[row + 1]]
        found = shares[relevant_indptr[row] : relevant_indptr[row + 1]]
        taken = np.concatenate((had[available[had]], items[available[items]]))
        others = n_available - len(taken)
        scores = users[taken]
        for p in range(len(items)):
            i = items[p]
            count = twice_below[i] - _twice_below(scores, users[i])
            found[p] = count / (2 * others) if available[i] and others > 0 else np.nan
