"""What one request asks, as typed values: the request language of the server and of the Python API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
    def is_plain(self) -> bool:
        """Whether it only names a user, how many items, and whether seen ones are left out."""
        return self[3:] == _OTHER_FIELDS and self.user_id is not None

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


UNSAID = -1
"""Stands in `Queries.exclude_seen` for a query that leaves it to the default."""


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries by the column, so that thousands which only name a user take no Python object each.

    Attributes
    ----------
    user_ids
        The user of each query; what stands at the positions of `others` does not matter.
    top_n
        int64, (queries,).
    exclude_seen
        int8, (queries,): 1 for true, 0 for false, `UNSAID`.
    others
        By position, the queries that ask by any other field, or name no user.
    """

    user_ids: pa.LargeStringArray
    top_n: NDArray[np.int64]
    exclude_seen: NDArray[np.int8]
    others: Mapping[int, Query] = field(default_factory=dict)

    @classmethod
    def of(cls, queries: Sequence[Query]) -> Queries:
        """Lay queries out."""
        return cls(
            user_ids=pa.array([query.user_id or "" for query in queries], type=_TEXT),
            top_n=np.array([query.top_n for query in queries], dtype=np.int64),
            exclude_seen=np.array([_SWITCHES[query.exclude_seen] for query in queries], dtype=np.int8),
            others={position: query for position, query in enumerate(queries) if not query.is_plain},
        )

    def __len__(self) -> int:
        return len(self.top_n)

    def __getitem__(self, position: int) -> Query:
        """Return one query."""
        if (other := self.others.get(position)) is not None:
            return other
        said = _SAID[int(self.exclude_seen[position])]
        return Query(self.user_ids[position].as_py(), int(self.top_n[position]), said)

    def __iter__(self) -> Iterator[Query]:
        columns = (self.user_ids.to_pylist(), self.top_n.tolist(), self.exclude_seen.tolist())
        for position, (user_id, top_n, said) in enumerate(zip(*columns, strict=True)):
            yield self.others.get(position) or Query(user_id, top_n, _SAID[said])

    def column(self, name: Literal["explain", "titles", "similar_users"]) -> NDArray[np.int64]:
        """Return a field that plain queries leave at 0 or false.  # (queries,)."""
        values = np.zeros(len(self), dtype=np.int64)
        for position, query in self.others.items():
            values[position] = getattr(query, name)
        return values

    def labels(self) -> pa.LargeStringArray:
        """Return the id that each answer repeats, empty for a bare history."""
        if not self.others:
            return self.user_ids
        at, places = sorted(self.others), np.zeros(len(self), dtype=np.bool_)
        places[at] = True
        labels = pa.array([self.others[position].label or "" for position in at], type=_TEXT)
        return pc.replace_with_mask(self.user_ids, pa.array(places), labels)

    def by_kind(self) -> dict[Kind, NDArray[np.int64]]:
        """Return where the queries of each kind stand, in ascending order; no kind is there without any."""
        if not self.others:
            return {"rank": np.arange(len(self))} if len(self) else {}
        ranked = np.ones(len(self), dtype=np.bool_)
        kinds: dict[Kind, list[int]] = {}
        for position, query in sorted(self.others.items()):
            if query.kind != "rank":
                kinds.setdefault(query.kind, []).append(position)
                ranked[position] = False
        found: dict[Kind, NDArray[np.int64]] = {"rank": np.flatnonzero(ranked)} if ranked.any() else {}
        return found | {kind: np.array(positions, dtype=np.int64) for kind, positions in kinds.items()}

    def taken(self, which: NDArray[np.int64]) -> Queries:
        """Return some of the queries, named in ascending order."""
        if len(which) == len(self):
            return self
        places = {position: place for place, position in enumerate(which.tolist())} if self.others else {}
        return Queries(
            user_ids=self.user_ids.take(pa.array(which)),
            top_n=self.top_n[which],
            exclude_seen=self.exclude_seen[which],
            others={places[position]: query for position, query in self.others.items() if position in places},
        )

    def part(self, start: int, stop: int) -> Queries:
        """Return consecutive queries."""
        if len(self.others) <= stop - start:
            inside = {position - start: query for position, query in self.others.items() if start <= position < stop}
        else:
            between = ((place, self.others.get(start + place)) for place in range(stop - start))
            inside = {place: query for place, query in between if query is not None}
        return Queries(self.user_ids[start:stop], self.top_n[start:stop], self.exclude_seen[start:stop], inside)

    def replaced(self, queries: Mapping[int, Query]) -> Queries:
        """Return the same with other queries at some positions."""
        top_n, exclude_seen = self.top_n.copy(), self.exclude_seen.copy()
        for position, query in queries.items():
            top_n[position], exclude_seen[position] = query.top_n, _SWITCHES[query.exclude_seen]
        return Queries(self.user_ids, top_n, exclude_seen, {**self.others, **queries})


_TEXT = pa.large_string()
_OTHER_FIELDS = Query()[3:]
_SWITCHES: Mapping[bool | None, int] = {None: UNSAID, False: 0, True: 1}
_SAID = {number: switch for switch, number in _SWITCHES.items()}
