"""Which items most users have, and which users have most items: what a report shows of large data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows


def users_of_items(history: Rows, *, n_items: int) -> NDArray[np.int64]:
    """Return how many users have each item.  # (items,)."""
    return np.bincount(history.indices, minlength=n_items)


def most(counts: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return the positions of the largest counts, the largest first, ties by position.  # (at most limit,)."""
    candidates = np.arange(len(counts))
    if limit <= 0:
        return candidates[:0]
    if limit < len(counts):
        # All above the limit-th largest, and as many of its equals as there is room for.
        least = np.partition(counts, len(counts) - limit)[len(counts) - limit]
        above, equal = np.flatnonzero(counts > least), np.flatnonzero(counts == least)
        candidates = np.concatenate([above, equal[: limit - len(above)]])
    return candidates[np.lexsort((candidates, -counts[candidates]))]
