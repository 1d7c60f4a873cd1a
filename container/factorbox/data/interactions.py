"""Who had to do with what: the interactions of a data set, in rows by user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.kernels import kernel


@dataclass(frozen=True, eq=False)
class Rows:
    """A sparse matrix in compressed rows.

    Attributes
    ----------
    indptr
        int64, (rows + 1,).
    indices
        int32, (pairs,): the column of each entry, ascending within a row.
    weights
        float32, (pairs,).
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Entries of each row.  # (rows,)."""
        return np.diff(self.indptr)

    def transposed(self, columns: int) -> Rows:
        """Return the same entries in rows by column."""
        counts = np.bincount(self.indices, minlength=columns)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        indices = np.empty(len(self.indices), dtype=np.int32)
        weights = np.empty(len(self.indices), dtype=np.float32)
        _transpose(self.indptr, self.indices, self.weights, indptr[:-1].copy(), indices, weights)
        return Rows(indptr=indptr, indices=indices, weights=weights)


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

    def items_of(self, user_index: int) -> NDArray[np.int32]:
        """Return the item indices of one user, ascending."""
        return self.item_indices[self.indptr[user_index] : self.indptr[user_index + 1]]

    def by_user(self) -> Rows:
        """Return the pairs in rows by user (the arrays themselves)."""
        return Rows(indptr=self.indptr, indices=self.item_indices, weights=self.weights)

    def by_item(self) -> Rows:
        """Return the pairs in rows by item."""
        return self.by_user().transposed(self.n_items)


@kernel()
def _transpose(indptr, indices, weights, next_slot, out_indices, out_weights):  # type: ignore[no-untyped-def]
    """Deal the entries out by column; rows are visited in order, so each column's list comes out ascending."""
    for row in range(len(indptr) - 1):
        for k in range(indptr[row], indptr[row + 1]):
            slot = next_slot[indices[k]]
            next_slot[indices[k]] += 1
            out_indices[slot] = row
            out_weights[slot] = weights[k]
