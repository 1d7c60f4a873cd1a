"""Where nobody can be measured, the reason is true and each remedy that it names helps."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from factorbox.data.interactions import Interactions
from factorbox.training.hold_out import HoldOut, HoldOutOptions, hold_out
from support import interactions_from_rows

SINGLE = [[k % 40] for k in range(1500)]
PAIRS = [[k % 40, k % 40 + 40] for k in range(600)]
OWN = [[3 * k, 3 * k + 1, 3 * k + 2] for k in range(400)]
ALONE = [list(range(1500))]
SAME = [list(range(30))] * 50
# One user has the only items that another one has too.
FEW_SHARED = [*([5 * k + item for item in range(5)] for k in range(300)), list(range(5))]

NO_SECOND = "no user has a second interaction"
NOT_FIVE = "no user has five interactions of which one can be held out without taking an item's only one"
ONLY_ONE = "can be held out without taking a user's or an item's only one"
NO_CUT = "no user has interactions both before and after the cut in time"
CHANNEL = "give a channel validation"


def held(rows: list[list[int]], times: list[int] | None = None, **options: Any) -> HoldOut | str:
    whole: Interactions = interactions_from_rows(rows, n_items=max(map(max, rows)) + 1)
    if times is not None:
        whole = replace(whole, times=np.resize(np.array(times, dtype=np.int64), whole.n_pairs))
    return hold_out(whole, options=HoldOutOptions(**options), outside=None, random_state=0)


@pytest.mark.parametrize("method", ["random", "stratified", "chronological", "last"])
def test_where_users_have_one_interaction_only_a_channel_helps(method: str) -> None:
    assert held(SINGLE, [1, 2, 3], validation=method) == f"{NO_SECOND}: {CHANNEL}"
    # With a single item there is nothing that a channel could hold.
    assert held([[0]] * 1500, [1, 2, 3], validation=method) == NO_SECOND


@pytest.mark.parametrize(
    ("rows", "times", "options", "reason"),
    [
        (PAIRS, None, {}, f"{NOT_FIVE}: set validation=random to hold out rows of any users, or {CHANNEL}"),
        (OWN, None, {}, f"{NOT_FIVE}: {CHANNEL}"),
        (OWN, None, {"validation": "random"}, f"no interaction {ONLY_ONE}: {CHANNEL}"),
        (ALONE, None, {}, NOT_FIVE),
        (ALONE, None, {"validation": "random"}, f"no interaction {ONLY_ONE}"),
        (SAME, [7], {"validation": "chronological"}, f"{NO_CUT}: set validation=stratified"),
        (PAIRS, [7], {"validation": "chronological"}, f"{NO_CUT}: set validation=random, or {CHANNEL}"),
        (OWN, [7], {"validation": "chronological"}, f"{NO_CUT}: {CHANNEL}"),
    ],
)
def test_only_what_helps_is_advised(
    rows: list[list[int]],
    times: list[int] | None,
    options: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    assert held(rows, times, **options) == reason
    assert caplog.messages == [f"nothing is measured: {reason}"]
    for method in ("random", "stratified"):
        if f"validation={method}" in reason:
            assert isinstance(held(rows, times, validation=method), HoldOut)


def test_a_share_that_is_less_than_one_interaction_is_to_be_raised() -> None:
    rows = [[k] for k in range(2)] * 500 + [[0, 1]]
    assert held(rows, validation="random") == (
        f"validation_fraction=0.1 of so few interactions is less than one: raise it, or {CHANNEL}"
    )
    assert isinstance(held(rows, validation="random", validation_fraction=0.5), HoldOut)


@pytest.mark.parametrize("method", ["random", "stratified"])
@pytest.mark.parametrize(("most", "who"), [(1, "user who was drawn"), (3, "3 users who were drawn")])
def test_where_those_who_were_drawn_have_nothing_to_spare_more_are_to_be_drawn(
    method: str, most: int, who: str
) -> None:
    assert held(FEW_SHARED, validation=method, validation_users=most) == (
        f"no interaction of the {who} {ONLY_ONE}: raise validation_users, or {CHANNEL}"
    )
    assert isinstance(held(FEW_SHARED, validation=method), HoldOut)
