"""Bootstrap intervals: what they cover, what they do with constant data, and that threads change nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from factorbox.evaluation.estimates import Estimate
from factorbox.evaluation.intervals import Ratio, Sample, estimates
from factorbox.threads import Threads


def estimate(ratio: Ratio, *, random_state: int = 0) -> Estimate:
    n_users = len(ratio.numerators)
    ((found,),) = estimates([Sample(np.arange(n_users), [ratio])], n_users=n_users, random_state=random_state)
    assert found is not None
    return found


def width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_a_ratio_of_sums_computed_by_hand() -> None:
    squares, pairs = np.array([4.0, 1.0, 3.0]), np.array([2.0, 1.0, 1.0])
    assert estimate(Ratio(squares, pairs)).value == 8 / 4
    assert estimate(Ratio(squares, pairs, is_root=True)).value == math.sqrt(2)
    assert estimate(Ratio.mean(np.array([0.2, np.nan, 0.6]))).value == pytest.approx(0.4)


def test_two_users_have_the_interval_of_the_three_resamples_there_are() -> None:
    # 0 with chance 1/4, 1/2 with 1/2, 1 with 1/4: the percentiles 2.5 and 97.5 are 0 and 1.
    assert estimate(Ratio.mean(np.array([0.0, 1.0]))) == Estimate(0.5, 0.0, 1.0)


def test_constant_data_have_an_interval_without_width() -> None:
    found = estimate(Ratio.mean(np.full(50, 0.3)))
    assert found.value == pytest.approx(0.3)
    assert width(found) == pytest.approx(0, abs=1e-12)
    assert width(estimate(Ratio.mean(np.ones(50)))) == 0


def test_intervals_hold_the_true_mean_about_95_times_of_100() -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(400):
        found = estimate(Ratio.mean(random.exponential(1.0, 120)), random_state=trial)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high
    assert 0.90 <= held / 400 <= 0.98


def test_the_width_is_that_of_the_normal_approximation_for_many_users() -> None:
    values = np.random.default_rng(1).random(4_000)
    assert width(estimate(Ratio.mean(values))) == pytest.approx(2 * 1.96 * values.std() / math.sqrt(4_000), rel=0.08)


def test_pairs_of_one_user_are_drawn_together() -> None:
    random = np.random.default_rng(2)
    # Ten pairs of each user with the same error: no more is known than by one pair each.
    errors = random.exponential(1.0, 300)
    clustered = estimate(Ratio(10 * errors, np.full(300, 10.0)))
    assert width(clustered) == pytest.approx(width(estimate(Ratio.mean(errors))))


def test_a_group_without_values_has_no_estimate_and_a_rare_one_an_interval() -> None:
    values = np.full(200, np.nan)
    nothing, rare = Ratio.mean(values), Ratio.mean(np.where(np.arange(200) == 7, 0.25, np.nan))
    ((first, second),) = estimates([Sample(np.arange(200), [nothing, rare])], n_users=200, random_state=0)
    assert first is None
    # Resamples without that user are left out.
    assert second == Estimate(0.25, 0.25, 0.25)


def test_a_group_is_resampled_with_all_users() -> None:
    values = np.random.default_rng(3).random(90)
    group = np.arange(0, 90, 3)
    masked = np.where(np.isin(np.arange(90), group), values, np.nan)
    ((whole,), (part,)) = estimates(
        [Sample(np.arange(90), [Ratio.mean(masked)]), Sample(group, [Ratio.mean(values).over(group)])],
        n_users=90,
        random_state=0,
    )
    assert whole is not None
    assert part is not None
    assert (part.value, part.low, part.high) == pytest.approx((whole.value, whole.low, whole.high))


def test_the_seed_decides_and_threads_change_no_bit() -> None:
    values = np.random.default_rng(4).random((3, 2_000))
    sample = Sample(np.arange(2_000), [Ratio.mean(row) for row in values])
    found = []
    for count in (1, 2, 5):
        with Threads(count) as threads:
            found.append(estimates([sample], n_users=2_000, random_state=9, run=threads.map))
    assert found[0] == found[1] == found[2]
    assert estimates([sample], n_users=2_000, random_state=10) != found[0]


@st.composite
def shares_of_users(draw: st.DrawFn) -> NDArray[np.float64]:
    return np.array(draw(st.lists(st.floats(0, 1), min_size=1, max_size=12)))


@given(shares_of_users())
def test_intervals_of_shares_stay_within_0_and_1(values: NDArray[np.float64]) -> None:
    found = estimate(Ratio.mean(values))
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.high <= 1
    assert 0 <= found.value <= 1
