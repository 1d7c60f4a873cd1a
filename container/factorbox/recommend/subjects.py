"""Who asks: names and histories looked up, and the vectors that answer for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.data.rows import Rows
from factorbox.models.row_system import FoldInProblem
from factorbox.recommend.fold_in import fold_in
from factorbox.recommend.lists import merged, placed, starts_of, taken
from factorbox.recommend.queries import History, Queries, Query
from factorbox.recommend.traits import Traits

UNKNOWN = -1

_LARGEST = np.float32(1e18)
"""Bound of a folded-in number: ratings near the end of float32 would else lead to scores beyond it."""


class UserSide(Protocol):
    """What is known of users and of items by name (`factorbox.artifact.Artifact`)."""

    @property
    def user_ids(self) -> Ids:
        """The users of the training."""
        ...

    @property
    def item_ids(self) -> Ids:
        """The items of the training."""
        ...

    @property
    def history(self) -> Rows:
        """The interactions of the training, in rows by user: what users are folded in and explained by."""
        ...

    @property
    def held_out(self) -> Rows | None:
        """What else the users have, in rows by user, and training has not seen; None where that is nothing."""
        ...

    @property
    def user_factors(self) -> NDArray[np.float32]:
        """(users, d)."""
        ...

    @property
    def user_biases(self) -> NDArray[np.float32]:
        """(users,)."""
        ...

    @property
    def mean_user_factors(self) -> NDArray[np.float32]:
        """(d,)."""
        ...

    @property
    def mean_user_bias(self) -> NDArray[np.float32]:
        """(1,)."""
        ...


@dataclass(frozen=True, eq=False)
class Resolved:
    """Queries with the ids of their subjects looked up.

    Attributes
    ----------
    queries
        The queries.
    users, items
        int64, (queries,): index of `user_id` and of `item_id`; `UNKNOWN` for an unknown one and where there is none.
    given
        The items of `history` that the model knows, each once with what all its mentions come to; a row a query.
    ignored
        int64, (queries,): ids of `history` that the model does not know.
    """

    queries: Queries
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    given: Rows
    ignored: NDArray[np.int64]

    @property
    def nobody(self) -> NDArray[np.bool_]:
        """Whether a query is about a user of whom nothing is known.  # (queries,)."""
        nobody: NDArray[np.bool_] = (self.users < 0) & (self.given.counts == 0)
        for position, query in self.queries.others.items():
            if query.item_id is not None:
                nobody[position] = False
        return nobody

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the user or item that a query names is one of the model's; true where it names none."""
        known: NDArray[np.bool_] = (self.users >= 0) | (self.items >= 0)
        for position, query in self.queries.others.items():
            if query.user_id is None and query.item_id is None:
                known[position] = True
        return known

    def replaced(self, queries: Mapping[int, Query]) -> Resolved:
        """Return the same with other queries, about nobody new, at some positions; no history is left there."""
        if not queries:
            return self
        left = np.ones(len(self.queries), dtype=np.bool_)
        left[list(queries)] = False
        counts, entries = self.given.counts, np.repeat(left, self.given.counts)
        given = Rows(
            indptr=starts_of(np.where(left, counts, 0)),
            indices=self.given.indices[entries],
            weights=self.given.weights[entries],
        )
        return replace(self, queries=self.queries.replaced(queries), given=given)

    def part(self, start: int, stop: int) -> Resolved:
        """Return consecutive queries."""
        if start == 0 and stop == len(self.users):
            return self
        first, last = self.given.indptr[[start, stop]]
        return Resolved(
            queries=self.queries.part(start, stop),
            users=self.users[start:stop],
            items=self.items[start:stop],
            given=Rows(
                indptr=self.given.indptr[start : stop + 1] - first,
                indices=self.given.indices[first:last],
                weights=self.given.weights[first:last],
            ),
            ignored=self.ignored[start:stop],
        )


def resolve(queries: Queries, *, user_ids: Ids, item_ids: Ids, traits: Traits) -> Resolved:
    """Look up the users, items and histories that queries name; `traits` say what a history's values mean."""
    users = user_ids.indices_among(queries.user_ids)
    if queries.others:
        users[list(queries.others)] = UNKNOWN
        named = [(position, query.user_id) for position, query in queries.others.items() if query.user_id is not None]
        users[[position for position, _ in named]] = user_ids.indices_of([user_id for _, user_id in named])
    items = np.full(len(queries), UNKNOWN, dtype=np.int64)
    with_item = [(position, query.item_id) for position, query in queries.others.items() if query.item_id is not None]
    if with_item:
        items[[position for position, _ in with_item]] = item_ids.indices_of([item_id for _, item_id in with_item])
    ignored = np.zeros(len(queries), dtype=np.int64)
    histories = sorted((position, query.history) for position, query in queries.others.items() if query.history)
    if not histories:
        return Resolved(queries=queries, users=users, items=items, given=Rows.empty(len(queries)), ignored=ignored)
    positions = np.array([position for position, _ in histories], dtype=np.int64)
    rows, unknown = _looked_up([history for _, history in histories], item_ids, listed_value=traits.listed_value)
    ignored[positions] = unknown
    given = merged(len(queries), [(positions, rows)], columns=len(item_ids), repeats=traits.repeats)
    return Resolved(queries=queries, users=users, items=items, given=given, ignored=ignored)


def _looked_up(histories: Sequence[History], item_ids: Ids, *, listed_value: float) -> tuple[Rows, NDArray[np.int64]]:
    """Return the known entries of each history, and how many others it has."""
    indices = item_ids.indices_of([item_id for history in histories for item_id in history])
    weights = [
        value
        for history in histories
        for value in (history.values() if isinstance(history, Mapping) else [listed_value] * len(history))
    ]
    owners = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    known = indices >= 0
    counts = np.bincount(owners[known], minlength=len(histories))
    largest = np.finfo(np.float32).max
    rows = Rows(
        indptr=starts_of(counts),
        indices=indices[known].astype(np.int32),
        weights=np.clip(np.array(weights)[known], -largest, largest).astype(np.float32),
    )
    return rows, np.bincount(owners[~known], minlength=len(histories))


@dataclass(frozen=True, eq=False)
class Subjects:
    """The users that queries are about.

    Attributes
    ----------
    factors, biases
        float32, (queries, d) and (queries,): stored, folded in, or those of the mean user.
    histories
        What the user is folded in and explained by, the training's and the query's: a row a query, without entries
        where they were not wanted.
    """

    factors: NDArray[np.float32]
    biases: NDArray[np.float32]
    histories: Rows


def subjects_of(
    resolved: Resolved,
    *,
    side: UserSide,
    problem: Callable[[], FoldInProblem],
    traits: Traits,
    with_histories: bool = False,
) -> Subjects:
    """Return the vectors of the users of some queries; all that have a history of their own are solved together.

    Parameters
    ----------
    resolved
        The queries.
    side
        What the model knows.
    problem
        Gives the problem to solve; it is not asked where no query has a history.
    traits
        How a given history goes with a stored one.
    with_histories
        Whether the histories are wanted, as explanations need them.
    """
    users, given = resolved.users, resolved.given
    known = users >= 0
    factors, biases = side.user_factors[users], side.user_biases[users]
    if not known.all():
        factors[~known], biases[~known] = side.mean_user_factors, side.mean_user_bias
    parts = []
    if with_histories:
        others = np.flatnonzero(known & (given.counts == 0))
        parts.append((others, taken(side.history, users[others])))
    if len(given.indices):
        folding = np.flatnonzero(given.counts)
        stored_too = np.flatnonzero(known[folding])
        histories = merged(
            len(folding),
            [
                (stored_too, taken(side.history, users[folding[stored_too]])),
                (np.arange(len(folding)), taken(given, folding)),
            ],
            columns=len(side.item_ids),
            repeats=traits.repeats,
        )
        folded = fold_in(problem(), histories)
        factors[folding], biases[folding] = (np.clip(column, -_LARGEST, _LARGEST) for column in folded)
        parts.append((folding, histories))
    return Subjects(factors, biases, placed(len(users), parts) if with_histories else Rows.empty(len(users)))
