"""What one request asks, as typed values: the request language of the server and of the Python API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

DEFAULT_TOP_N = 10

# No catalogue is larger: item indices are int32.
MAX_TOP_N = 2**31 - 1

# More is no question about one user, and would take gigabytes to read.
MAX_IDS = 1_000_000

History = Sequence[str] | Mapping[str, float]
"""Item ids that a user likes, or the weight or rating of each item id (`factorbox.recommend.traits.Traits`)."""

Kind = Literal["rank", "pairs", "similar_items", "similar_users"]


class Query(NamedTuple):
    """One request: a subject, what is wanted for it, and how.

    The subject is a user (`user_id`, folded in anew where there is a `history`), an unnamed user (`history` alone, or
    labelled by `sequence_id`), or an item (`item_id`).

    Attributes
    ----------
    user_id
        A user of the training data, or an unknown one.
    top_n
        How many items, or users, are wanted.
    exclude_seen
        Whether items that the user has are left out, trained on, held out or given; None for the default.
    include_items
        The only items that may be recommended; None for all.
    exclude_items
        Items that may not be recommended.
    history
        What the user is folded in from, beside the stored history of a known user; None for nothing.
    sequence_id
        A label of the user that `history` describes.
    item_ids
        Score exactly these items, in this order, instead of recommending; None to recommend.
    item_id
        The item whose like are wanted.
    similar_users
        Whether users like this one are wanted in place of items.
    explain
        How many items of the history to name as reasons for each item; 0 for none.
    titles
        Whether the columns of the channel `items` are wanted for each item.
    """

    user_id: str | None = None
    top_n: int = DEFAULT_TOP_N
    exclude_seen: bool | None = None
    include_items: Sequence[str] | None = None
    exclude_items: Sequence[str] = ()
    history: History | None = None
    sequence_id: str | None = None
    item_ids: Sequence[str] | None = None
    item_id: str | None = None
    similar_users: bool = False
    explain: int = 0
    titles: bool = False

    @property
    def kind(self) -> Kind:
        """What is wanted."""
        if self.item_id is not None:
            return "similar_items"
        if self.similar_users:
            return "similar_users"
        return "rank" if self.item_ids is None else "pairs"

    @property
    def label_field(self) -> Literal["user_id", "sequence_id", "item_id"] | None:
        """The field that the label was given in."""
        if self.user_id is not None:
            return "user_id"
        if self.sequence_id is not None:
            return "sequence_id"
        return None if self.item_id is None else "item_id"

    @property
    def label(self) -> str | None:
        """The id that an answer repeats; None for a bare history."""
        if self.user_id is not None:
            return self.user_id
        return self.sequence_id if self.sequence_id is not None else self.item_id
