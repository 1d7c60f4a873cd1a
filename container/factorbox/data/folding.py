"""Sorting pairs into rows, repeated ones added up or replaced, in little more memory than the result.

Rows are dealt out twice, first by item and then by user, each time in the order in which they stand: so those of a user
end up in the order of the items, and those of one pair in the order in which they came (a radix sort with two digits).
"""

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


def fold(
    blocks: Iterable[Block],
    *,
    rows_per_user: NDArray[np.int64],
    rows_per_item: NDArray[np.int64],
    latest: bool = False,
    keep_times: bool = False,
) -> Folded:
    """Gather the rows of each user, sorted by item, and make one of those of a pair.

    Parameters
    ----------
    blocks
        All rows: all of them with weights or none, and with times or none. Each block is needed only once.
    rows_per_user, rows_per_item
        (users,) and (items,): how many there are of each.
    latest
        Whether of the rows of one pair the latest counts; of those at one time, and of all without times, the last.
        Otherwise they add up, in float64 from the smallest weight to the largest, so that the sum does not depend on
        the order of the rows.
    keep_times
        Whether the time of each pair is wanted: that of its latest row. All blocks then have times.

    Returns
    -------
    Folded
        A sum that float32 cannot hold is infinite.
    """
    bounds = _bounds(rows_per_user)
    rows = _dealt(blocks, rows_per_item=rows_per_item, bounds=bounds, with_times=latest or keep_times)
    indptr = np.zeros(len(bounds), dtype=np.int64)
    _count_distinct(bounds, rows.items, indptr)
    np.cumsum(indptr, out=indptr)
    pairs = int(indptr[-1])
    if pairs == len(rows.items):
        weights = rows.weights if len(rows.weights) else np.ones(pairs, dtype=np.float32)
        return Folded(indptr, rows.items, weights, rows.times if keep_times else None)
    if latest:
        _take_latest(bounds, rows.items, rows.weights, rows.times)
        weights = rows.weights[:pairs].copy() if len(rows.weights) else np.ones(pairs, dtype=np.float32)
    else:
        weights = np.empty(pairs, dtype=np.float32)
        _add_up(bounds, rows.items, rows.weights, rows.times, weights)
    return Folded(indptr, rows.items[:pairs].copy(), weights, rows.times[:pairs].copy() if keep_times else None)


class _Dealt(NamedTuple):
    """Rows by user and then by item; weights and times of length 0 where there are none."""

    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: NDArray[np.int64]


def _dealt(
    blocks: Iterable[Block], *, rows_per_item: NDArray[np.int64], bounds: NDArray[np.int64], with_times: bool
) -> _Dealt:
    """Deal all rows out by item, and then by user."""
    item_bounds, n_rows = _bounds(rows_per_item), int(bounds[-1])
    users = np.empty(n_rows, dtype=np.int32)
    weights, times = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
    next_slot = item_bounds[:-1].copy()
    for block in blocks:
        columns = _columns(block, with_times=with_times)
        if len(columns[2]) and not len(weights):
            weights = np.empty(n_rows, dtype=np.float32)
        if len(columns[3]) and not len(times):
            times = np.empty(n_rows, dtype=np.int64)
        _deal_by_item(*columns, next_slot, users, weights, times)
        # Before the next one is made.
        del block, columns
    items = np.empty(n_rows, dtype=np.int32)
    of_items = np.empty(len(weights), dtype=np.float32), np.empty(len(times), dtype=np.int64)
    _deal_by_user(item_bounds, users, weights, times, bounds[:-1].copy(), items, *of_items)
    return _Dealt(items, *of_items)


def _bounds(rows_per_place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the slots of each place begin, and the last ones end.  # (places + 1,)."""
    return np.concatenate([[0], np.cumsum(rows_per_place)]).astype(np.int64)


def _columns(
    block: Block, *, with_times: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]:
    """Return a block's columns of the types that the kernels are compiled for, empty where it has none."""
    times = block.times if with_times else None
    columns = (
        np.asarray(block.users, dtype=np.int32),
        np.asarray(block.items, dtype=np.int32),
        np.empty(0, dtype=np.float32) if block.weights is None else block.weights,
        np.empty(0, dtype=np.int64) if times is None else times,
    )
    # Arrow's memory is read-only, which is another type to a kernel. A tuple of four is what the four columns give.
    return tuple(np.require(column, requirements=("C", "W")) for column in columns)  # type: ignore[return-value]


@kernel()
def _deal_by_item(users, items, weights, times, next_slot, out_users, out_weights, out_times):  # type: ignore[no-untyped-def]
    """Put each row into the next free slot of its item."""
    for k in range(len(users)):
        slot = next_slot[items[k]]
        next_slot[items[k]] = slot + 1
        out_users[slot] = users[k]
        if len(weights) > 0:
            out_weights[slot] = weights[k]
        if len(times) > 0:
            out_times[slot] = times[k]


@kernel()
def _deal_by_user(bounds, users, weights, times, next_slot, out_items, out_weights, out_times):  # type: ignore[no-untyped-def]
    """Put each row, item after item, into the next free slot of its user."""
    for item in range(len(bounds) - 1):
        for k in range(bounds[item], bounds[item + 1]):
            slot = next_slot[users[k]]
            next_slot[users[k]] = slot + 1
            out_items[slot] = item
            if len(weights) > 0:
                out_weights[slot] = weights[k]
            if len(times) > 0:
                out_times[slot] = times[k]


@kernel()
def _count_distinct(bounds, items, distinct):  # type: ignore[no-untyped-def]
    """Count the distinct items of user u in `distinct[u + 1]`."""
    for user in range(len(bounds) - 1):
        count = 0
        for k in range(bounds[user], bounds[user + 1]):
            count += k == bounds[user] or items[k] != items[k - 1]
        distinct[user + 1] = count


@kernel()
def _add_up(bounds, items, weights, times, sums):  # type: ignore[no-untyped-def]
    """Make one entry of each run of one user and item, in place but for the sums."""
    pair = 0
    for user in range(len(bounds) - 1):
        start = bounds[user]
        while start < bounds[user + 1]:
            end = start + 1
            while end < bounds[user + 1] and items[end] == items[start]:
                end += 1
            total = np.float64(end - start)
            if len(weights) > 0:
                run = weights[start:end]
                run.sort()
                total = np.float64(0)
                for k in range(len(run)):
                    total += np.float64(run[k])
            sums[pair] = total
            items[pair] = items[start]
            if len(times) > 0:
                latest = times[start]
                for k in range(start + 1, end):
                    latest = max(latest, times[k])
                times[pair] = latest
            pair += 1
            start = end


@kernel()
def _take_latest(bounds, items, weights, times):  # type: ignore[no-untyped-def]
    """Keep in place, of each run of one user and item, the last row of those that are not earlier than any other."""
    pair = 0
    for user in range(len(bounds) - 1):
        start = bounds[user]
        while start < bounds[user + 1]:
            best, end = start, start + 1
            while end < bounds[user + 1] and items[end] == items[start]:
                if len(times) == 0 or times[end] >= times[best]:
                    best = end
                end += 1
            items[pair] = items[start]
            if len(weights) > 0:
                weights[pair] = weights[best]
            if len(times) > 0:
                times[pair] = times[best]
            pair += 1
            start = end
