"""Sorting pairs into rows, repeated ones added up or replaced, in little more memory than the result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from factorbox.kernels import kernel


class Block(NamedTuple):
    """Some rows.

    Attributes
    ----------
    users, items
        (rows,): user and item indices.
    weights
        float32, (rows,); each row counts as 1 without them.
    times
        int64, (rows,), in any unit.
    """

    users: NDArray[np.integer]
    items: NDArray[np.integer]
    weights: NDArray[np.float32] | None = None
    times: NDArray[np.int64] | None = None


class Folded(NamedTuple):
    """Distinct pairs in rows by user, as in `Interactions`; without times where they are not kept."""

    indptr: NDArray[np.int64]
    item_indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: NDArray[np.int64] | None


def fold(blocks: Iterable[Block], *, rows_per_user: NDArray[np.int64], keep_times: bool = False) -> Folded:
    """Gather the rows of each user, sort them by item, and add up those of one item.

    A row is packed into 64 bits, the item above the weight: weights are positive, so their bits order as they do,
    and one sort of the integers orders rows by item and then by weight. Sums are taken in float64 in that order, so
    that they do not depend on the order in which the rows came.

    Parameters
    ----------
    blocks
        All rows, in any order.
    rows_per_user
        (users,): how many there are of each user.
    keep_times
        Whether the time of each pair is wanted: that of its latest row. All blocks then have times.

    Returns
    -------
    Folded
        A sum that float32 cannot hold is infinite.
    """
    bounds = _bounds(rows_per_user)
    packed = np.empty(bounds[-1], dtype=np.uint64)
    moments = np.empty(bounds[-1] if keep_times else 0, dtype=np.int64)
    next_slot = bounds[:-1].copy()
    for block in blocks:
        users, items, weights = _columns(block)
        times = _times(block) if keep_times else moments
        _deal(users, items, weights.view(np.uint32), times, next_slot, packed, moments)
    # Sorting parts the rows from their times: the items, in the order of the times, bring them together again.
    unsorted = (packed >> np.uint64(32)).astype(np.int32) if keep_times else None
    indptr = _sorted_indptr(bounds, packed)
    item_indices = np.empty(indptr[-1], dtype=np.int32)
    sums = np.empty(indptr[-1], dtype=np.float32)
    # The weight is the lower half of each word, which comes first on every processor that torch runs on.
    _add_up(bounds, packed, packed.view(np.float32)[::2], item_indices, sums)
    if unsorted is None:
        return Folded(indptr, item_indices, sums, None)
    del packed
    latest = np.full(indptr[-1], np.iinfo(np.int64).min)
    _latest_of_pairs(bounds, unsorted, moments, indptr, item_indices, latest)
    return Folded(indptr, item_indices, sums, latest)


def fold_latest(blocks: Iterable[Block], *, rows_per_user: NDArray[np.int64], keep_times: bool = False) -> Folded:
    """Gather the rows of each user, sort them by item, and keep of those of one item the latest.

    A row is packed into 64 bits, the item above its position among the rows of its user: one sort of the integers
    orders rows by item and then as they came. Of rows at one time, and of all without times, the last is kept.

    Parameters
    ----------
    blocks
        All rows, in the order that decides; all of them with times, or none.
    rows_per_user
        (users,): how many there are of each user.
    keep_times
        Whether the time of each pair is wanted. All blocks then have times.
    """
    bounds = _bounds(rows_per_user)
    packed = np.empty(bounds[-1], dtype=np.uint64)
    values = np.empty(bounds[-1], dtype=np.float32)
    moments = np.empty(0, dtype=np.int64)
    next_slot = bounds[:-1].copy()
    for block in blocks:
        users, items, weights = _columns(block)
        times = _times(block)
        if len(times) and not len(moments):
            moments = np.empty(bounds[-1], dtype=np.int64)
        _deal_in_order(users, items, weights, times, bounds, next_slot, packed, values, moments)
    indptr = _sorted_indptr(bounds, packed)
    item_indices = np.empty(indptr[-1], dtype=np.int32)
    latest = np.empty(indptr[-1], dtype=np.float32)
    times = np.empty(indptr[-1] if keep_times else 0, dtype=np.int64)
    _take_latest(bounds, packed, values, moments, item_indices, latest, times)
    return Folded(indptr, item_indices, latest, times if keep_times else None)


def _bounds(rows_per_user: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the slots of each user begin, and the last ones end.  # (users + 1,)."""
    return np.concatenate([[0], np.cumsum(rows_per_user)]).astype(np.int64)


def _columns(block: Block) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Return users, items and weights of the types that the kernels are compiled for."""
    weights = np.ones(len(block.users), dtype=np.float32) if block.weights is None else block.weights
    return (
        np.ascontiguousarray(block.users, dtype=np.int32),
        np.ascontiguousarray(block.items, dtype=np.int32),
        np.ascontiguousarray(weights),
    )


def _times(block: Block) -> NDArray[np.int64]:
    """Return the times of the type that the kernels are compiled for, none where the block has none."""
    times = np.empty(0, dtype=np.int64) if block.times is None else block.times
    # Arrow's memory is read-only, which is another type to a kernel.
    return np.require(times, dtype=np.int64, requirements=("C", "W"))


def _sorted_indptr(bounds: NDArray[np.int64], packed: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Sort the slots of each user, and return where the distinct items of each one begin.  # (users + 1,)."""
    indptr = np.zeros(len(bounds), dtype=np.int64)
    _sort(bounds, packed, indptr)
    return np.cumsum(indptr, out=indptr)


@kernel()
def _deal(users, items, weight_bits, times, next_slot, packed, moments):  # type: ignore[no-untyped-def]
    """Put each row into the next free slot of its user, and its time beside it where there are any."""
    for k in range(len(users)):
        slot = next_slot[users[k]]
        next_slot[users[k]] += 1
        packed[slot] = (np.uint64(items[k]) << np.uint64(32)) | np.uint64(weight_bits[k])
        if len(times) > 0:
            moments[slot] = times[k]


@kernel()
def _deal_in_order(users, items, weights, times, bounds, next_slot, packed, values, moments):  # type: ignore[no-untyped-def]
    """Put each row into the next free slot of its user, which tells its position."""
    for k in range(len(users)):
        slot = next_slot[users[k]]
        next_slot[users[k]] += 1
        packed[slot] = (np.uint64(items[k]) << np.uint64(32)) | np.uint64(slot - bounds[users[k]])
        values[slot] = weights[k]
        if len(times) > 0:
            moments[slot] = times[k]


@kernel()
def _sort(bounds, packed, distinct):  # type: ignore[no-untyped-def]
    """Sort the slots of each user; count the distinct items of user u in `distinct[u + 1]`."""
    for user in range(len(bounds) - 1):
        row = packed[bounds[user] : bounds[user + 1]]
        row.sort()
        for k in range(len(row)):
            if k == 0 or row[k] >> np.uint64(32) != row[k - 1] >> np.uint64(32):
                distinct[user + 1] += 1


@kernel()
def _add_up(bounds, packed, weights, item_indices, sums):  # type: ignore[no-untyped-def]
    """Write each run of one user and item as one entry."""
    pair, total = -1, 0.0
    for user in range(len(bounds) - 1):
        for k in range(bounds[user], bounds[user + 1]):
            item = packed[k] >> np.uint64(32)
            if k == bounds[user] or item != packed[k - 1] >> np.uint64(32):
                pair += 1
                item_indices[pair] = item
                total = 0.0
            total += np.float64(weights[k])
            sums[pair] = total


@kernel()
def _latest_of_pairs(bounds, items, moments, indptr, item_indices, latest):  # type: ignore[no-untyped-def]
    """Raise the time of each pair to that of its latest row; pairs are found by bisection."""
    for user in range(len(bounds) - 1):
        for slot in range(bounds[user], bounds[user + 1]):
            low, high = indptr[user], indptr[user + 1] - 1
            while low < high:
                middle = (low + high) // 2
                if item_indices[middle] < items[slot]:
                    low = middle + 1
                else:
                    high = middle
            latest[low] = max(latest[low], moments[slot])


@kernel()
def _take_latest(bounds, packed, values, moments, item_indices, latest, times):  # type: ignore[no-untyped-def]
    """Write of each run of one user and item the row that is not earlier than any other, the last of those."""
    pair, best = -1, 0
    for user in range(len(bounds) - 1):
        for k in range(bounds[user], bounds[user + 1]):
            item = packed[k] >> np.uint64(32)
            slot = bounds[user] + np.int64(packed[k] & np.uint64(0xFFFFFFFF))
            is_new = k == bounds[user] or item != packed[k - 1] >> np.uint64(32)
            if is_new:
                pair += 1
                item_indices[pair] = item
            if is_new or len(moments) == 0 or moments[slot] >= moments[best]:
                best = slot
                latest[pair] = values[slot]
                if len(times) > 0:
                    times[pair] = moments[slot]
