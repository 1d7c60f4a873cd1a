"""Rows by day."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.activity import Activity, count_days
from factorbox.data.fields import moment

# Years 1 to 9999; many at one day, or before 1970.
moments = (
    st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
    | st.integers(-(10**12), 10**12)
    | st.sampled_from([-1, 0, 1, 86_399_999_999, 86_400_000_000, -86_400_000_000, -86_400_000_001])
)


@given(parts=st.lists(st.lists(moments, min_size=1, max_size=30), min_size=1, max_size=4))
def test_rows_are_counted_by_their_day_in_utc(parts: list[list[int]]) -> None:
    counted = [count_days(np.array(part), span=(min(part), max(part))) for part in parts]
    merged = Activity.merged(counted)
    expected = Counter((moment(one) - moment(0).replace(hour=0)).days for part in parts for one in part)
    assert dict(zip(merged.days.tolist(), merged.counts.tolist(), strict=True)) == expected
    assert merged.days.tolist() == sorted(expected)
    assert merged.days.dtype == merged.counts.dtype == np.int64
