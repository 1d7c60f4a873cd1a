"""A part of the matrix of users and items that fits on a screen: values, splits and what the model predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.data.splits import Pairs
from factorbox.recommend.lists import taken
from factorbox.report.popular import most

MOST_ROWS = 200
"""Users of a picture at most."""
MOST_COLUMNS = 200
"""Items of a picture at most."""

NOT_KNOWN, TRAINED, HELD_OUT = 0, 1, 2
"""What a cell is in `Cells.splits`."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of some users and items.

    Attributes
    ----------
    users, items
        int64, (rows,) and (columns,): indices.
    values
        float32, (rows, columns): the weight or rating of the pair, NaN where there is none.
    splits
        int8, (rows, columns): `NOT_KNOWN`, `TRAINED` or `HELD_OUT`.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float32]
    splits: NDArray[np.int8]

    def ordered(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Cells:
        """Return the cells with rows and columns in this order."""
        at = np.ix_(rows, columns)
        return Cells(self.users[rows], self.items[columns], self.values[at], self.splits[at])


def chosen_users(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the users of a picture, by activity: all of them, or as many at equal distances in that order.

    So those who do much and those who do little are there in the proportion of the data.

    Parameters
    ----------
    counts
        (users,): interactions of each.
    """
    by_activity = most(counts, len(counts))
    if len(counts) <= MOST_ROWS:
        return by_activity
    return by_activity[np.linspace(0, len(counts) - 1, MOST_ROWS).round().astype(np.int64)]


def chosen_items(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the items of a picture: the most popular, in that order; of all items most cells would be empty."""
    return most(counts, MOST_COLUMNS)


def cells_of(users: NDArray[np.int64], items: NDArray[np.int64], *, seen: Rows, held_out: Pairs | None) -> Cells:
    """Look the cells of some users and items up.

    Parameters
    ----------
    seen
        What the model knows of: trained on, or held out.
    held_out
        What it was measured by, in `seen` or not.
    """
    values = np.full((len(users), len(items)), np.nan, dtype=np.float32)
    splits = np.zeros((len(users), len(items)), dtype=np.int8)
    n_items = 1 + max([int(items.max(initial=0)), int(seen.indices.max(initial=0)), *_largest(held_out)])
    column_of = np.full(n_items, -1, dtype=np.int64)
    column_of[items] = np.arange(len(items))
    parts = [(seen, TRAINED)]
    if held_out is not None:
        parts.append((_rows_of(held_out, n_users=len(seen.indptr) - 1), HELD_OUT))
    for rows, split in parts:
        of_users = taken(rows, users)
        row, column = np.repeat(np.arange(len(users)), of_users.counts), column_of[of_users.indices]
        shown = column >= 0
        at = row[shown], column[shown]
        values[at], splits[at] = of_users.weights[shown], split
    return Cells(users, items, values, splits)


def pattern_order(predicted: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return orders of rows and columns that bring the strongest pattern of a matrix out.

    The matrix less the means of its rows and columns has a best approximation of rank one, u vᵀ: rows are ordered by u
    and columns by v, so that what goes together stands together. Of the two directions that is taken which has the
    first row in the first half.

    Parameters
    ----------
    predicted
        (rows, columns), finite.
    """
    x = predicted.astype(np.float64)
    x -= x.mean(axis=1, keepdims=True)
    x -= x.mean(axis=0, keepdims=True)
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    rows, columns = np.argsort(-u[:, 0], kind="stable"), np.argsort(-vt[0], kind="stable")
    if 2 * int(np.flatnonzero(rows == 0)[0]) >= len(rows):
        rows, columns = rows[::-1].copy(), columns[::-1].copy()
    return rows, columns


def _rows_of(pairs: Pairs, *, n_users: int) -> Rows:
    """Return pairs, which are sorted by user, as rows."""
    indptr = np.searchsorted(pairs.user_indices, np.arange(n_users + 1))
    return Rows(indptr=indptr, indices=pairs.item_indices, weights=pairs.weights)


def _largest(pairs: Pairs | None) -> list[int]:
    return [] if pairs is None else [int(pairs.item_indices.max(initial=0))]
