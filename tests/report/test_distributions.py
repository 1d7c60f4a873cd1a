from __future__ import annotations

import numpy as np
import pytest

from factorbox.data.activity import Activity
from factorbox.report.distributions import (
    MOST_POINTS,
    Histogram,
    LongTail,
    Values,
    by_period,
    distribution,
    histogram_of_counts,
)


def activity(*days: str) -> Activity:
    each = np.array(sorted(days), "datetime64[D]").astype(np.int64)
    return Activity(each, np.arange(1, len(days) + 1))


def test_shares_add_up_from_the_most_popular_item() -> None:
    tail = LongTail(np.array([5, 3, 1, 1]))
    assert tail.shares.tolist() == [0.5, 0.8, 0.9, 1.0]
    assert [tail.items_for(share) for share in (0.5, 0.51, 0.9, 1.0)] == [1, 2, 3, 4]
    assert tail.ranks.tolist() == [1, 2, 3, 4]


def test_a_long_tail_is_thinned_and_keeps_both_ends() -> None:
    ranks = LongTail(np.arange(100_000, 0, -1)).ranks
    assert len(ranks) <= MOST_POINTS and ranks[0] == 1 and ranks[-1] == 100_000
    assert (np.diff(ranks) > 0).all() and ranks[:4].tolist() == [1, 2, 3, 4]


def test_counts_fall_into_bins_with_whole_edges() -> None:
    found = histogram_of_counts(np.array([2, 2, 3, 5, 0]))
    assert not found.logarithmic
    assert found.edges.tolist() == [2, 3, 4, 5, 6] and found.counts.tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize("counts", [[1], [7, 7], [1, 1_000_000], list(range(1, 3_000)), [19, 20, 380]])
def test_every_count_is_in_one_bin(counts: list[int]) -> None:
    found = histogram_of_counts(np.array(counts))
    assert found.counts.sum() == len(counts)
    assert found.edges[0] <= min(counts) and found.edges[-1] > max(counts)
    assert (found.edges == found.edges.round()).all() and (np.diff(found.edges) >= 1).all()
    inside = [sum(low <= c < high for c in counts) for low, high in zip(found.edges[:-1], found.edges[1:], strict=True)]
    assert found.counts.tolist() == inside


def test_few_distinct_values_are_counted_each() -> None:
    found = distribution(np.array([-0.0, 0.0, 4.5, -10.25, 4.5], np.float32))
    assert isinstance(found, Values)
    assert found.values.tolist() == [-10.25, 0.0, 4.5] and found.counts.tolist() == [1, 2, 2]


@pytest.mark.parametrize(("low", "high", "logarithmic"), [(-3e38, 3e38, False), (1e-38, 3e38, True), (-10, 10, False)])
def test_many_values_fall_into_bins_whatever_their_range(low: float, high: float, logarithmic: bool) -> None:
    values = np.linspace(low, high, 1_000, dtype=np.float64).astype(np.float32)
    found = distribution(values)
    assert isinstance(found, Histogram) and found.logarithmic is logarithmic
    assert found.counts.sum() == 1_000 and np.isfinite(found.edges).all()
    assert found.edges[0] == pytest.approx(low) and found.edges[-1] == pytest.approx(high)


def test_a_value_that_the_sample_missed_is_counted_too() -> None:
    values = np.ones(30_000, np.float32)
    values[1::3][:100] = np.arange(2, 102)
    found = distribution(values)
    assert isinstance(found, Histogram) and found.counts.sum() == 30_000


@pytest.mark.parametrize(
    ("days", "unit", "starts"),
    [
        (("2020-01-30", "2020-02-01"), "day", ["2020-01-30", "2020-01-31", "2020-02-01"]),
        # 2020-01-01 was a Wednesday.
        (("2020-01-01", "2021-01-01"), "week", ["2019-12-30", "2020-01-06"]),
        (("2010-03-15", "2020-01-01"), "month", ["2010-03-01", "2010-04-01"]),
        (("1990-05-15", "2020-01-01"), "quarter", ["1990-04-01", "1990-07-01"]),
        (("1931-05-15", "2020-01-01"), "year", ["1931-01-01", "1932-01-01"]),
        (("1700-05-15", "2020-01-01"), "5 years", ["1700-01-01", "1705-01-01"]),
    ],
)
def test_days_add_up_to_periods_without_gaps(days: tuple[str, ...], unit: str, starts: list[str]) -> None:
    found = by_period(activity(*days))
    assert found.unit == unit and [str(start) for start in found.starts[: len(starts)]] == starts
    assert len(found.counts) == len(found.starts) <= MOST_POINTS
    assert found.counts[0] == 1 and found.counts[-1] == 2 and found.counts.sum() == 3
    assert found.starts[-1] <= np.datetime64(days[1]) < found.end


def test_a_span_beyond_any_calendar_has_periods_too() -> None:
    found = by_period(Activity(np.array([-100_000_000, 100_000_000]), np.array([1, 2])))
    assert found.unit.endswith("years") and 2 <= len(found.counts) <= MOST_POINTS and found.counts.sum() == 3
