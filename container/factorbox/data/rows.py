"""A sparse matrix in compressed rows, and the same entries by column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

    @classmethod
    def empty(cls, rows: int) -> Rows:
        """Return so many rows without entries."""
        return cls(np.zeros(rows + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Entries of each row.  # (rows,)."""
        return self.indptr[1:] - self.indptr[:-1]

    def holds(self, rows: NDArray[np.int64], columns: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether there is an entry at each of some places.

        Parameters
        ----------
        rows, columns
            (places,): indices of rows that exist, and of columns.
        """
        if not len(self.indices):
            return np.zeros(len(rows), dtype=np.bool_)
        low, end = self.indptr[rows], self.indptr[rows + 1]
        high = end
        # All places at once, each within its row: the first entry that is not below the column.
        while (low < high).any():
            middle = (low + high) // 2
            below = (low < high) & (self.indices[np.minimum(middle, len(self.indices) - 1)] < columns)
            low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
        found: NDArray[np.bool_] = self.indices[np.minimum(low, len(self.indices) - 1)] == columns
        return found & (low < end)

    def transposed(self, columns: int) -> Rows:
        """Return the same entries in rows by column; weights that are all equal are this matrix's own."""
        counts = np.bincount(self.indices, minlength=columns)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        indices = np.empty(len(self.indices), dtype=np.int32)
        if all_equal(self.weights):
            _transpose_places(self.indptr, self.indices, indptr[:-1].copy(), indices)
            return Rows(indptr=indptr, indices=indices, weights=self.weights)
        weights = np.empty(len(self.indices), dtype=np.float32)
        _transpose(self.indptr, self.indices, self.weights, indptr[:-1].copy(), indices, weights)
        return Rows(indptr=indptr, indices=indices, weights=weights)


def all_equal(weights: NDArray[np.float32]) -> bool:
    """Whether weights are all the same, so that any order of them is the same array."""
    return not len(weights) or bool(weights.min() == weights.max())


@kernel()
def _transpose_places(indptr, indices, next_slot, out_indices):  # type: ignore[no-untyped-def]
    """Deal the entries out by column, without their weights."""
    for row in range(len(indptr) - 1):
        for k in range(indptr[row], indptr[row + 1]):
            slot = next_slot[indices[k]]
            next_slot[indices[k]] = slot + 1
            out_indices[slot] = row


@kernel()
def _transpose(indptr, indices, weights, next_slot, out_indices, out_weights):  # type: ignore[no-untyped-def]
    """Deal the entries out by column; rows are visited in order, so each column's list comes out ascending."""
    for row in range(len(indptr) - 1):
        for k in range(indptr[row], indptr[row + 1]):
            slot = next_slot[indices[k]]
            next_slot[indices[k]] += 1
            out_indices[slot] = row
            out_weights[slot] = weights[k]
