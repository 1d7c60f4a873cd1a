"""Who had to do with what: the interactions of a data set, in rows by user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.data.rows import Rows
from factorbox.errors import UserError


@dataclass(frozen=True, eq=False)
class Interactions:
    """Distinct (user, item) pairs with their weights, sorted by user index and then by item index.

    Attributes
    ----------
    user_ids, item_ids
        The external ids; position is index.
    indptr
        int64, (users + 1,): the pairs of user u stand at `indptr[u]:indptr[u + 1]`.
    item_indices
        int32, (pairs,): strictly increasing within a user.
    weights
        float32, (pairs,): > 0 for implicit training; the number of rows where the data have no weight column.
    """

    user_ids: Ids
    item_ids: Ids
    indptr: NDArray[np.int64]
    item_indices: NDArray[np.int32]
    weights: NDArray[np.float32]

    @classmethod
    def from_pairs(
        cls,
        user_ids: Ids,
        item_ids: Ids,
        *,
        user_indices: NDArray[np.integer],
        item_indices: NDArray[np.integer],
        weights: NDArray[np.floating] | None = None,
    ) -> Interactions:
        """Build the rows from pairs in any order; pairs that come several times add up.

        Parameters
        ----------
        user_indices, item_indices
            (rows,), indices into the ids.
        weights
            (rows,); each row counts as 1 without them.

        Raises
        ------
        UserError
            Where the weights of a pair add up to more than float32 holds.
        """
        keys = user_indices.astype(np.int64)
        keys *= len(item_ids)
        keys += item_indices
        return cls.from_keys(user_ids, item_ids, keys=keys, weights=weights)

    @classmethod
    def from_keys(
        cls,
        user_ids: Ids,
        item_ids: Ids,
        *,
        keys: NDArray[np.int64],
        weights: NDArray[np.floating] | None = None,
    ) -> Interactions:
        """Build the rows from pairs given as `user_index * len(item_ids) + item_index`.

        The sum of a repeated pair is taken in float64 from the smallest weight to the largest, so that it does
        not depend on the order of the rows.

        Parameters
        ----------
        keys
            (rows,), in any order; used up: the array is overwritten.
        weights
            (rows,), as in `from_pairs`.

        Raises
        ------
        UserError
            Where the weights of a pair add up to more than float32 holds.
        """
        if weights is None:
            keys.sort()
        else:
            weights = weights[np.argsort(keys)]
            # Sorting once more takes no memory, as keys[order] would.
            keys.sort()
        starts_pair = np.ones(len(keys), dtype=np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=starts_pair[1:])
        if starts_pair.all():
            pairs, sums = keys, _ones_or(weights, rows=len(keys))
        else:
            starts = np.flatnonzero(starts_pair)
            pairs = keys[starts]
            lengths = np.diff(starts, append=len(keys))
            sums = lengths.astype(np.float32) if weights is None else _sums(weights, starts=starts, lengths=lengths)
        n_items = max(len(item_ids), 1)
        bounds = np.arange(len(user_ids) + 1, dtype=np.int64) * n_items
        interactions = cls(
            user_ids=user_ids,
            item_ids=item_ids,
            indptr=np.searchsorted(pairs, bounds).astype(np.int64),
            item_indices=(pairs % n_items).astype(np.int32),
            weights=sums,
        )
        too_large = np.flatnonzero(np.isinf(sums))
        if len(too_large):
            user, item = divmod(int(pairs[too_large[0]]), n_items)
            raise UserError(
                f"the weights of user {user_ids[user]!r} and item {item_ids[item]!r} add up to more than 3.4e38: "
                "give smaller weights"
            )
        return interactions

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    @property
    def n_pairs(self) -> int:
        """Number of distinct (user, item) pairs."""
        return len(self.item_indices)

    def by_user(self) -> Rows:
        """Return the pairs in rows by user (the arrays themselves)."""
        return Rows(indptr=self.indptr, indices=self.item_indices, weights=self.weights)

    def by_item(self) -> Rows:
        """Return the pairs in rows by item."""
        return self.by_user().transposed(self.n_items)

    def items_of(self, user_index: int) -> NDArray[np.int32]:
        """Return the item indices of one user, ascending."""
        return self.item_indices[self.indptr[user_index] : self.indptr[user_index + 1]]


def _ones_or(weights: NDArray[np.floating] | None, *, rows: int) -> NDArray[np.float32]:
    """Return the weights of rows none of which is repeated.  # (rows,)."""
    if weights is None:
        return np.ones(rows, dtype=np.float32)
    with np.errstate(over="ignore"):
        return weights.astype(np.float32, copy=False)


def _sums(
    weights: NDArray[np.floating], *, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Add up the weights of each run of rows, given by its start and length.  # (runs,)."""
    repeated = np.flatnonzero(lengths > 1)
    run_lengths = lengths[repeated]
    runs = np.repeat(np.arange(len(repeated)), run_lengths)
    # The positions of all rows of the repeated runs: each start, counted up along its run.
    rows = np.repeat(starts[repeated] - np.cumsum(run_lengths) + run_lengths, run_lengths) + np.arange(len(runs))
    values = weights[rows].astype(np.float64)
    ascending = np.lexsort((values, runs))
    # bincount adds one row after the other, in the order given.
    totals = np.bincount(runs, weights=values[ascending])
    with np.errstate(over="ignore"):
        sums = weights[starts].astype(np.float32)
        sums[repeated] = totals.astype(np.float32)
    return sums
