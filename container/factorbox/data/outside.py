"""Pairs of a data set of their own, such as a validation channel, in the indices of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.data.splits import Pairs


@dataclass(frozen=True, eq=False)
class OutsidePairs:
    """What of a data set a model can be measured by.

    Attributes
    ----------
    pairs
        Those of users and items that the model knows and that it was not trained on, in its indices.
    unknown_users, unknown_items
        How many distinct ids of the data set the model does not know.
    pairs_of_unknown
        Pairs left out because the model does not know the user, the item, or both.
    pairs_in_training
        Pairs left out because the model was trained on them.
    """

    pairs: Pairs
    unknown_users: int
    unknown_items: int
    pairs_of_unknown: int
    pairs_in_training: int


def outside_pairs(read: Interactions, *, user_ids: Ids, item_ids: Ids, trained: Rows) -> OutsidePairs:
    """Find the pairs of a data set among the users and items of a model.

    Parameters
    ----------
    read
        The data set, with ids of its own.
    user_ids, item_ids
        Those of the model.
    trained
        What the model was trained on, in rows by user.
    """
    # Both lists of ids are sorted, so that the pairs stay so.
    user_index = user_ids.indices_of(read.user_ids.texts)
    item_index = item_ids.indices_of(read.item_ids.texts)
    users = np.repeat(user_index, read.by_user().counts)
    items = item_index[read.item_indices].astype(np.int32)
    known = (users >= 0) & (items >= 0)
    users, items, weights = users[known], items[known], read.weights[known]
    new = ~trained.holds(users, items)
    return OutsidePairs(
        pairs=Pairs(user_indices=users[new], item_indices=items[new], weights=weights[new]),
        unknown_users=int(np.count_nonzero(user_index < 0)),
        unknown_items=int(np.count_nonzero(item_index < 0)),
        pairs_of_unknown=read.n_pairs - len(users),
        pairs_in_training=len(users) - int(np.count_nonzero(new)),
    )
