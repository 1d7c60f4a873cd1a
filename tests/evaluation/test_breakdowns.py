"""Groups of users by activity and of items by popularity."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from factorbox.evaluation.breakdowns import by_activity, by_popularity


def test_users_are_parted_at_round_numbers_near_the_quartiles() -> None:
    counts = np.arange(13, 413)  # quartiles 112.75, 212.5 and 312.25
    groups = by_activity(counts)
    assert [group.label for group in groups] == [
        "13 to 100 interactions",
        "101 to 200 interactions",
        "201 to 300 interactions",
        "301 interactions or more",
    ]
    assert [len(group.indices) for group in groups] == [88, 100, 100, 112]
    assert counts[groups[1].indices].min() == 101
    assert counts[groups[1].indices].max() == 200


def test_users_who_are_all_alike_are_one_group() -> None:
    (group,) = by_activity(np.full(7, 1))
    assert group.label == "1 interaction"
    assert group.indices.tolist() == list(range(7))
    (group,) = by_activity(np.full(7, 5))
    assert group.label == "5 interactions"


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60))
def test_every_user_is_in_the_one_group_whose_label_says_so(counts: list[int]) -> None:
    groups = by_activity(np.array(counts))
    assert sorted(user for group in groups for user in group.indices) == list(range(len(counts)))
    assert 1 <= len(groups) <= 4
    for group in groups:
        words = group.label.replace(",", "").split()
        low = int(words[0])
        high = int(words[2]) if words[1] == "to" else None if words[-1] == "more" else low
        assert all(counts[user] >= low and (high is None or counts[user] <= high) for user in group.indices)


def test_items_are_parted_by_their_share_of_interactions() -> None:
    # 100 interactions: 20 with the first item in order, 30 with the next two, 30 with six, 20 with the rest.
    users = np.array([0, 5, 5, 5, 5, 5, 5, 15, 20, 15, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0])
    groups = by_popularity(users)
    assert [group.label for group in groups] == [
        "item 1, 20% of interactions",
        "items 2 to 3, 30% of interactions",
        "items 4 to 9, 30% of interactions",
        "items 10 to 21, 20% of interactions",
    ]
    assert groups[0].indices.tolist() == [8]
    assert groups[1].indices.tolist() == [7, 9]
    # Items that nobody has are among the last.
    assert groups[3].indices.tolist() == [0, *range(10, 21)]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_every_item_is_in_one_group_and_groups_descend(users: list[int]) -> None:
    groups = by_popularity(np.array(users))
    assert sorted(item for group in groups for item in group.indices) == list(range(len(users)))
    lowest = [min(users[item] for item in group.indices) for group in groups]
    highest = [max(users[item] for item in group.indices) for group in groups]
    assert all(low >= high for low, high in zip(lowest, highest[1:], strict=False))


def test_one_item_that_everybody_has_is_the_only_group() -> None:
    (group,) = by_popularity(np.array([9]))
    assert group.label == "item 1, 100% of interactions"
