"""Pairs of a data set of its own in the indices of a model."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.outside import OutsidePairs, outside_pairs

Pair = tuple[str, str]
pairs_among = st.dictionaries(
    st.tuples(st.sampled_from("abcdeé"), st.sampled_from(["p", "q", "r", "10", "9"])), st.floats(0.5, 9, width=32)
)


def interactions_of(pairs: dict[Pair, float]) -> Interactions:
    users, items = Ids.from_texts([user for user, _ in pairs]), Ids.from_texts([item for _, item in pairs])
    return Interactions.from_pairs(
        users,
        items,
        user_indices=users.indices_of([user for user, _ in pairs]),
        item_indices=items.indices_of([item for _, item in pairs]),
        weights=np.array(list(pairs.values())),
        latest=True,
    )


def outside(read: dict[Pair, float], trained: dict[Pair, float]) -> tuple[OutsidePairs, Interactions]:
    model = interactions_of(trained)
    found = outside_pairs(
        interactions_of(read), user_ids=model.user_ids, item_ids=model.item_ids, trained=model.by_user()
    )
    return found, model


@given(read=pairs_among, trained=pairs_among)
def test_pairs_are_found_by_their_ids_and_the_others_counted(
    read: dict[Pair, float], trained: dict[Pair, float]
) -> None:
    found, model = outside(read, trained)
    users, items = {user for user, _ in trained}, {item for _, item in trained}
    known = {pair: weight for pair, weight in read.items() if pair[0] in users and pair[1] in items}
    pairs = found.pairs
    texts = [
        (model.user_ids[user], model.item_ids[item])
        for user, item in zip(pairs.user_indices.tolist(), pairs.item_indices.tolist(), strict=True)
    ]
    assert dict(zip(texts, pairs.weights.tolist(), strict=True)) == {
        pair: weight for pair, weight in known.items() if pair not in trained
    }
    places = list(zip(pairs.user_indices.tolist(), pairs.item_indices.tolist(), strict=True))
    assert places == sorted(set(places))
    assert [array.dtype.name for array in (pairs.user_indices, pairs.item_indices, pairs.weights)] == [
        "int64",
        "int32",
        "float32",
    ]
    assert found.unknown_users == len({user for user, _ in read} - users)
    assert found.unknown_items == len({item for _, item in read} - items)
    assert found.pairs_of_unknown == len(read) - len(known)
    assert found.pairs_in_training == len(known.keys() & trained.keys())


def test_data_that_the_model_knows_nothing_of_give_no_pairs() -> None:
    found, _ = outside({("x", "p"): 1.0, ("y", "z"): 1.0}, {("a", "p"): 1.0})
    assert len(found.pairs) == 0
    assert (found.unknown_users, found.unknown_items, found.pairs_of_unknown, found.pairs_in_training) == (2, 1, 2, 0)
