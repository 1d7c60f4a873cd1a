"""The numbers that kernels read are those that Python reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorbox.data.csv_kernels import numbers
from factorbox.data.fields import is_number


def read(text: bytes) -> float | str:
    data = np.frombuffer(bytearray(b"1" + text + b"1" + bytes(64)), dtype=np.uint8)
    values, is_hard = np.empty(1, dtype=np.float64), np.empty(1, dtype=np.bool_)
    start, end = np.array([1], dtype=np.int32), np.array([1 + len(text)], dtype=np.int32)
    hard = numbers(data, start, end, values, is_hard)
    return "none" if hard < 0 else "hard" if hard else float(values[0])


texts = (
    st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.integers(-(10**20), 10**20).map(str)
    | st.decimals(-1000, 1000, places=3).map(str)
    | st.text(alphabet="0123456789+-.eE", max_size=9)
)


@settings(max_examples=500, deadline=None)
@given(text=texts)
def test_a_number_that_is_read_is_the_nearest_and_what_is_none_is_told(text: str) -> None:
    found = read(text.encode())
    if found == "none":
        assert not is_number(text)
    else:
        assert is_number(text)
        if isinstance(found, float):
            assert (found, math.copysign(1, found)) == (float(text), math.copysign(1, float(text)))


@pytest.mark.parametrize("text", ["1", "-0", "4.5", "+2", "1e5", "9007199254740992", "1.5e-21", "1e22", ".5", "5."])
def test_plain_numbers_are_not_hard(text: str) -> None:
    assert read(text.encode()) == float(text)


@pytest.mark.parametrize("text", ["9007199254740993", "0.30000000000000004", "1e23", "1e-23", "1" * 400, "1e999999999"])
def test_numbers_that_need_more_than_one_rounding_are_hard(text: str) -> None:
    assert read(text.encode()) == "hard"
