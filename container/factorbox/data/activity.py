"""When the rows of a data set happened: counts over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MICROSECONDS_PER_DAY = 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True, eq=False)
class Activity:
    """Rows by day.

    Attributes
    ----------
    days
        int64, (days with rows,): days since 1970-01-01 (UTC), ascending.
    counts
        int64, (days with rows,): rows of each.
    """

    days: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def merged(cls, parts: Sequence[Activity]) -> Activity:
        """Add up the activities of parts of a data set."""
        days = np.concatenate([part.days for part in parts])
        counts = np.concatenate([part.counts for part in parts])
        distinct, position = np.unique(days, return_inverse=True)
        total = np.zeros(len(distinct), dtype=np.int64)
        np.add.at(total, position, counts)
        return cls(days=distinct, counts=total)


def count_days(moments: NDArray[np.int64], *, span: tuple[int, int]) -> Activity:
    """Count rows by day.

    Parameters
    ----------
    moments
        (rows,): microseconds since 1970 (UTC).
    span
        The first and the last of them.
    """
    days = moments // _MICROSECONDS_PER_DAY
    first, last = span[0] // _MICROSECONDS_PER_DAY, span[1] // _MICROSECONDS_PER_DAY
    if last - first > len(days):
        distinct, counts = np.unique(days, return_counts=True)
        return Activity(days=distinct, counts=counts)
    every = np.bincount(days - first)
    distinct = np.flatnonzero(every)
    return Activity(days=distinct + first, counts=every[distinct])
