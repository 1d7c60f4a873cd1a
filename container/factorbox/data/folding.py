"""Sorting pairs into rows and adding up repeated ones, in little more memory than the result."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from factorbox.kernels import kernel

Block = tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.float32] | None]
"""User indices, item indices and weights of some rows; each row counts as 1 without weights."""


def fold(
    blocks: Iterable[Block], *, rows_per_user: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
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

    Returns
    -------
    indptr, item_indices, weights
        As in `Interactions`; a sum that float32 cannot hold is infinite.
    """
    bounds = np.concatenate([[0], np.cumsum(rows_per_user)]).astype(np.int64)
    packed = np.empty(bounds[-1], dtype=np.uint64)
    next_slot = bounds[:-1].copy()
    for users, items, weights in blocks:
        values = np.ones(len(users), dtype=np.float32) if weights is None else weights
        _deal(
            np.ascontiguousarray(users, dtype=np.int32),
            np.ascontiguousarray(items, dtype=np.int32),
            np.ascontiguousarray(values).view(np.uint32),
            next_slot,
            packed,
        )
    indptr = np.zeros(len(bounds), dtype=np.int64)
    _sort(bounds, packed, indptr)
    np.cumsum(indptr, out=indptr)
    item_indices = np.empty(indptr[-1], dtype=np.int32)
    sums = np.empty(indptr[-1], dtype=np.float32)
    # The weight is the lower half of each word, which comes first on every processor that torch runs on.
    _add_up(bounds, packed, packed.view(np.float32)[::2], item_indices, sums)
    return indptr, item_indices, sums


@kernel()
def _deal(users, items, weight_bits, next_slot, packed):  # type: ignore[no-untyped-def]
    """Put each row into the next free slot of its user."""
    for k in range(len(users)):
        slot = next_slot[users[k]]
        next_slot[users[k]] += 1
        packed[slot] = (np.uint64(items[k]) << np.uint64(32)) | np.uint64(weight_bits[k])


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
