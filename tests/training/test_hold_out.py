"""Which interactions a job holds out, and why it holds none out."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from factorbox.data.interactions import Interactions
from factorbox.data.outside import OutsidePairs
from factorbox.data.splits import Pairs
from factorbox.errors import UserError
from factorbox.training.hold_out import HoldOut, HoldOutOptions, hold_out
from support import clustered_interactions, interactions_from_rows


def data(n_users: int = 120) -> Interactions:
    return clustered_interactions(np.random.default_rng(0), n_users=n_users)


def held(interactions: Interactions, *, outside: OutsidePairs | None = None, **options: Any) -> HoldOut | str:
    return hold_out(interactions, options=HoldOutOptions(**options), outside=outside, random_state=0)


def outside_of(pairs: list[tuple[int, int]]) -> OutsidePairs:
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return OutsidePairs(
        pairs=Pairs(users, items.astype(np.int32), np.ones(len(users), np.float32)),
        unknown_users=1,
        unknown_items=2,
        pairs_of_unknown=3,
        pairs_in_training=4,
    )


def test_by_default_a_tenth_of_each_user_is_held_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = held(data())
    assert isinstance(found, HoldOut)
    assert found.method == "stratified"
    assert found.users.tolist() == list(range(120))
    assert np.bincount(found.held_out.user_indices).tolist() == [1] * 120
    assert found.training.n_pairs + len(found.held_out) == 1200
    assert found.description == "a random 10% of each user's interactions"
    assert caplog.messages == ["validation=stratified; held_out_pairs=120; validation_users=120;"]


def test_below_a_thousand_interactions_nothing_is_held_out_unless_asked_for() -> None:
    small = data(n_users=99)
    assert small.n_pairs == 990
    assert held(small) == (
        "there are 990 interactions, and below 1,000 nothing is held out unless the hyperparameter validation asks for"
        " it"
    )
    assert isinstance(held(small, validation="stratified"), HoldOut)


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_a_handful_of_interactions_is_not_split_even_when_asked_for(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = held(interactions_from_rows([[0, 1], [1, 2]] * 5, n_items=3), validation=method)
    assert found == "there are 20 interactions, and below 100 a few that are held out tell nothing"
    assert caplog.messages == [f"nothing is measured: {found}"]


def test_none_holds_nothing_out() -> None:
    assert held(data(), validation="none") == "validation=none holds nothing out"


def test_only_so_many_users_lose_interactions() -> None:
    found = held(data(), validation_users=7)
    assert isinstance(found, HoldOut)
    assert len(found.users) == len(set(found.held_out.user_indices.tolist())) == 7


@pytest.mark.parametrize("method", ["chronological", "last"])
@pytest.mark.parametrize("n_users", [120, 2])
def test_what_goes_by_time_is_refused_without_times(method: str, n_users: int) -> None:
    with pytest.raises(UserError, match=f"validation={method} .* timestamp_column"):
        held(data(n_users), validation=method)


@pytest.mark.parametrize("method", ["chronological", "last"])
def test_what_goes_by_time_holds_the_latest_out(method: str) -> None:
    whole = data()
    of_user = np.arange(whole.n_pairs, dtype=np.int64) % 10
    found = held(replace(whole, times=of_user), validation=method)
    assert isinstance(found, HoldOut) and found.method == method
    assert found.held_out.item_indices.tolist() == whole.item_indices[of_user == 9].tolist()


@pytest.mark.parametrize(("share", "warns"), [(0.1, False), (0.11, True)])
def test_it_is_said_where_many_last_interactions_had_to_be_drawn(
    share: float, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    whole = data(100)
    times = np.arange(whole.n_pairs, dtype=np.int64) % 10
    # All of a user's at one moment, for the first of the users.
    times[: round(share * 100) * 10] = 0
    assert isinstance(held(replace(whole, times=times), validation="last"), HoldOut)
    said = (
        "the latest moment of 11 of 100 users has several interactions: which of them is the last was drawn; give finer"
        " times"
    )
    assert caplog.messages == [said] * warns


def test_an_own_channel_takes_nothing_from_the_training_data() -> None:
    whole = data()
    found = held(whole, outside=outside_of([(3, 59), (5, 59), (5, 58)]))
    assert isinstance(found, HoldOut)
    assert found.training is whole and found.is_own_channel
    assert found.users.tolist() == [3, 5]
    assert found.description == "the interactions of the validation channel"


def test_of_an_own_channel_only_so_many_users_are_measured() -> None:
    found = held(data(), outside=outside_of([(user, 59) for user in range(50)]), validation_users=10)
    assert isinstance(found, HoldOut) and len(found.users) == 10


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({}, []),
        ({"validation_users": 9, "patience": 2}, []),
        ({"validation_fraction": 0.2}, ["validation_fraction=0.2"]),
        ({"validation_fraction": 0.3, "refit": False}, ["validation_fraction=0.3", "refit=false"]),
    ],
)
def test_what_has_no_effect_on_an_own_channel_is_said(
    options: dict[str, Any], given: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(held(data(), outside=outside_of([(3, 59)]), **options), HoldOut)
    assert caplog.messages == [
        f"{one} has no effect: the validation channel takes nothing from the training data" for one in given
    ]


def test_an_own_channel_without_a_usable_interaction_measures_nothing() -> None:
    found = held(data(), outside=outside_of([]))
    assert isinstance(found, str) and found.startswith("no interaction of the validation channel")


@pytest.mark.parametrize(("options", "words"), [({"patience": 2}, "patience=2"), ({"refit": False}, "refit=false")])
def test_what_means_nothing_without_a_hold_out_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        HoldOutOptions(validation="none", **options)
    HoldOutOptions(**options)


def test_the_same_seed_holds_the_same_out() -> None:
    first, second = held(data()), held(data())
    assert isinstance(first, HoldOut) and isinstance(second, HoldOut)
    np.testing.assert_array_equal(first.held_out.item_indices, second.held_out.item_indices)
