"""Bootstrap confidence intervals of metrics that are ratios of sums over users.

Users are drawn with replacement, as many as there are, and the metric is worked out anew from those that were drawn: a
user who was drawn twice counts twice, and brings all held-out pairs along. The interval lies between the percentiles
2.5 and 97.5 of 1,000 such values (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13). It tells
how much the metric depends on who happened to be measured, and nothing of another split or another training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.evaluation.estimates import Estimate
from factorbox.threads import Run

RESAMPLES = 1_000
LEVEL = 0.95

_BLOCK_WEIGHTS = 500_000


@dataclass(frozen=True, eq=False)
class Ratio:
    """A metric that is Σ numerator / Σ denominator over users, or the root of that.

    Attributes
    ----------
    numerators
        float64, (users,).
    denominators
        float64, (users,), at least 0; 1 for a mean over users.
    is_root
        Whether the metric is the root of the ratio.
    """

    numerators: NDArray[np.float64]
    denominators: NDArray[np.float64]
    is_root: bool = False

    @classmethod
    def mean(cls, values: NDArray[np.float64]) -> Ratio:
        """Return the mean of users' values over those that have one: NaN stands for none."""
        has = np.isfinite(values)
        return cls(np.where(has, values, 0.0), has.astype(np.float64))

    def over(self, users: NDArray[np.int64]) -> Ratio:
        """Return the same metric of some users alone."""
        return Ratio(self.numerators[users], self.denominators[users], is_root=self.is_root)


@dataclass(frozen=True, eq=False)
class Sample:
    """Metrics of one group of users.

    Attributes
    ----------
    users
        int64, (users of the group,): which of all users they are.
    ratios
        The metrics, over these users.
    """

    users: NDArray[np.int64]
    ratios: Sequence[Ratio]


def estimates(
    samples: Sequence[Sample],
    *,
    n_users: int,
    random_state: int,
    run: Run = map,
) -> list[list[Estimate | None]]:
    """Return each metric of each group with its interval.

    Parameters
    ----------
    samples
        Groups of users; all of them see the same resamples of all users.
    n_users
        Users in all.
    random_state
        Seed.
    run
        How to work off blocks of resamples: `map`, or the `map` of `factorbox.threads.Threads`.

    Returns
    -------
    list
        For each group its metrics, in order; None for one whose denominators are all 0. Resamples in which a group's
        denominators are all 0 are left out of its interval.
    """
    tables = [_Table.of(sample) for sample in samples]
    rows = max(1, min(RESAMPLES, _BLOCK_WEIGHTS // max(1, n_users)))

    def sums_of_block(start: int) -> list[NDArray[np.float64]]:
        weights = _weights(min(rows, RESAMPLES - start), n_users, seed=(random_state, start))
        return [
            # No matrix product: the sums of that depend on threads and on where the arrays lie.
            np.einsum("ru,cu->rc", weights[:, sample.users], table.columns)
            for sample, table in zip(samples, tables, strict=True)
        ]

    blocks = list(run(sums_of_block, range(0, RESAMPLES, rows)))
    return [
        [
            _estimate(ratio, sums[:, numerator], sums[:, denominator])
            for ratio, (numerator, denominator) in zip(sample.ratios, table.places, strict=True)
        ]
        for s, (sample, table) in enumerate(zip(samples, tables, strict=True))
        for sums in [np.concatenate([block[s] for block in blocks])]
    ]


@dataclass(frozen=True, eq=False)
class _Table:
    """What is summed for a group: (columns, users), and where each ratio finds its two; equal columns come once."""

    columns: NDArray[np.float64]
    places: list[tuple[int, int]]

    @classmethod
    def of(cls, sample: Sample) -> _Table:
        at: dict[bytes, int] = {}
        columns: list[NDArray[np.float64]] = []

        def place(values: NDArray[np.float64]) -> int:
            key = values.tobytes()
            if key not in at:
                at[key] = len(columns)
                columns.append(values)
            return at[key]

        places = [(place(ratio.numerators), place(ratio.denominators)) for ratio in sample.ratios]
        return cls(np.reshape(columns, (len(columns), len(sample.users))), places)


def _weights(resamples: int, n_users: int, *, seed: tuple[int, int]) -> NDArray[np.float64]:
    """Return how often each user is drawn in each resample.  # (resamples, users)."""
    drawn = np.random.default_rng(seed).integers(n_users, size=(resamples, n_users))
    drawn += np.arange(resamples)[:, None] * n_users
    return np.bincount(drawn.ravel(), minlength=resamples * n_users).reshape(resamples, n_users).astype(np.float64)


def _estimate(ratio: Ratio, numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> Estimate | None:
    """Return a metric, and its interval by the sums of the resamples."""
    total = ratio.denominators.sum()
    if total == 0:
        return None
    has = denominators > 0
    values = numerators[has] / denominators[has]
    value = ratio.numerators.sum() / total
    if ratio.is_root:
        value, values = np.sqrt(value), np.sqrt(values)
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return Estimate(float(value), float(low), float(high))
