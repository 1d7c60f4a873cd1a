"""How interactions are spread: over items, users, values and time, in as many points as a chart needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.data.activity import Activity

MOST_POINTS = 150
"""Points of a curve at most."""

_MOST_BINS = 30
# Fewer, since narrow bins of whole numbers differ in width where these are small.
_LOGARITHMIC_BINS = 20
_MOST_VALUES = 25
_BLOCK = 1 << 20
# Bins grow with the value where the largest is so many times the smallest.
_WIDE = 20
_YEAR_STEPS = (1, 2, 5)


@dataclass(frozen=True, eq=False)
class LongTail:
    """How unevenly interactions are spread over items.

    Attributes
    ----------
    counts
        int64, (items,): interactions of each item, most first.
    """

    counts: NDArray[np.int64]

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """The share of all interactions that the first items have together.  # (items,)."""
        total = np.cumsum(self.counts)
        return np.asarray(total / max(int(total[-1]), 1)) if len(total) else np.zeros(0)

    def items_for(self, share: float) -> int:
        """Return how many of the most popular items have at least this share of the interactions."""
        return int(np.searchsorted(self.shares, share - 1e-12)) + 1

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Ranks for a curve, from 1, close together where popularity falls fastest: at most `MOST_POINTS`."""
        n_items, half = len(self.counts), MOST_POINTS // 2
        if n_items <= MOST_POINTS:
            return np.arange(1, n_items + 1)
        return np.unique(
            np.concatenate([np.linspace(1, n_items, half), np.geomspace(1, n_items, half)]).round()
        ).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many of some values lie between edges.

    Attributes
    ----------
    edges
        float64, (bins + 1,), ascending: bin b holds values from `edges[b]` to below `edges[b + 1]`, the last bin its
        upper edge too unless the values are whole.
    counts
        int64, (bins,).
    logarithmic
        Whether the bins are about equally wide on a logarithmic axis, rather than on a linear one.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    logarithmic: bool


def histogram_of_counts(counts: NDArray[np.int64]) -> Histogram:
    """Sort whole numbers of at least 1 into bins with whole edges; zeros are left out."""
    counts = counts[counts > 0]
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (1, 1)
    logarithmic = high >= _WIDE * low
    if logarithmic:
        edges = np.unique(np.geomspace(low, high + 1, _LOGARITHMIC_BINS + 1).round())
    else:
        width = -(-(high + 1 - low) // _MOST_BINS)
        edges = np.arange(low, high + 1 + width, width, dtype=np.float64)
    which = np.searchsorted(edges, counts, side="right") - 1
    return Histogram(edges, np.bincount(which, minlength=len(edges) - 1), logarithmic)


@dataclass(frozen=True, eq=False)
class Values:
    """The distinct values of some numbers.

    Attributes
    ----------
    values
        float64, (distinct,), ascending.
    counts
        int64, (distinct,): how often each occurs.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]


def distribution(weights: NDArray[np.float32]) -> Values | Histogram:
    """Count the distinct values of weights or ratings where they are few, else sort them into bins."""
    sample = weights[:: max(1, len(weights) // 10_000)]
    if len(np.unique(sample)) <= _MOST_VALUES:
        values, counts = pc.value_counts(pa.array(weights)).flatten()
        found = values.to_numpy(zero_copy_only=False).astype(np.float64)
        distinct, where = np.unique(found, return_inverse=True)  # −0 and 0 are one
        if len(distinct) <= _MOST_VALUES:
            return Values(distinct, np.bincount(where, weights=counts.to_numpy()).astype(np.int64))
    return _histogram_of_values(weights)


def _histogram_of_values(weights: NDArray[np.float32]) -> Histogram:
    """Sort numbers of any range into bins."""
    low, high = float(weights.min()), float(weights.max())
    logarithmic = low > 0 and high >= _WIDE * low
    start, end = (np.log(low), np.log(high)) if logarithmic else (low, high)
    counts = np.zeros(_MOST_BINS, dtype=np.int64)
    scale = _MOST_BINS / (end - start)
    for block in np.array_split(weights, range(_BLOCK, len(weights), _BLOCK)):
        x = np.log(block, dtype=np.float64) if logarithmic else block.astype(np.float64)
        which = ((x - start) * scale).astype(np.int64)
        counts += np.bincount(np.clip(which, 0, _MOST_BINS - 1), minlength=_MOST_BINS)
    edges = np.linspace(start, end, _MOST_BINS + 1)
    return Histogram(np.exp(edges) if logarithmic else edges, counts, logarithmic)


@dataclass(frozen=True, eq=False)
class Periods:
    """Rows by periods of equal length in the calendar, without gaps.

    Attributes
    ----------
    unit
        As in `week` or `5 years`.
    starts
        datetime64[D], (periods,): the first day of each, in UTC.
    counts
        int64, (periods,).
    end
        datetime64[D]: the first day after the last period.
    """

    unit: str
    starts: NDArray[np.datetime64]
    counts: NDArray[np.int64]
    end: np.datetime64


def by_period(activity: Activity) -> Periods:
    """Add days up to the shortest of days, weeks, months, quarters and years that gives at most `MOST_POINTS`."""
    days = activity.days.astype("datetime64[D]")
    months = days.astype("datetime64[M]").astype(np.int64)
    # Weeks begin on Monday: day 0 was a Thursday.
    periods = {"day": activity.days, "week": (activity.days + 3) // 7, "month": months, "quarter": months // 3}
    unit = next((unit for unit, of_rows in periods.items() if _span(of_rows) <= MOST_POINTS), "")
    years = 1
    if not unit:
        steps = (step * 10**power for power in range(19) for step in _YEAR_STEPS)
        years = next(step for step in steps if _span(months // (12 * step)) <= MOST_POINTS)
        unit = "year" if years == 1 else f"{years} years"
        periods[unit] = months // (12 * years)
    of_rows = periods[unit]
    first = int(of_rows[0])
    counts = np.bincount(of_rows - first, weights=activity.counts).astype(np.int64)
    every = np.arange(first, first + len(counts) + 1)
    if unit in ("day", "week"):
        starts = (every if unit == "day" else every * 7 - 3).astype("datetime64[D]")
    else:
        months_each = {"month": 1, "quarter": 3}.get(unit, 12 * years)
        # Months since 1970 and not since year 0, so that the steps of years begin in 1970.
        starts = (every * months_each).astype("datetime64[M]").astype("datetime64[D]")
    return Periods(unit, starts[:-1], counts, starts[-1])


def _span(periods: NDArray[np.int64]) -> int:
    return int(periods[-1]) - int(periods[0]) + 1
