"""Lists of indices, one a request, of different lengths, laid one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.kernels import kernel


@dataclass(frozen=True, eq=False)
class Lists:
    """One list of indices for each of several requests.

    Attributes
    ----------
    indptr
        int64, (requests + 1,): the list of request r stands at `indptr[r]:indptr[r + 1]`.
    indices
        int32, (entries,).
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    @classmethod
    def empty(cls, requests: int) -> Lists:
        """Return an empty list for each request."""
        return cls(np.zeros(requests + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))

    @classmethod
    def of(cls, rows: Rows) -> Lists:
        """Return the columns of the entries of each row."""
        return cls(rows.indptr, rows.indices)

    @classmethod
    def gathered(cls, rows: Rows, which: NDArray[np.int64]) -> Lists:
        """Return the columns of the entries of some rows, an empty list for a negative one."""
        indptr = np.empty(len(which) + 1, dtype=np.int64)
        indices = np.empty(_measure(rows.indptr, which, indptr), dtype=np.int32)
        _gather(rows.indptr, rows.indices, which, indptr, indices)
        return cls(indptr, indices)

    @classmethod
    def joined(cls, requests: int, parts: Sequence[tuple[NDArray[np.int64], Lists]]) -> Lists:
        """Lay lists behind one another: those of a part are for the requests at its positions, each named once."""
        lengths = np.zeros(requests, dtype=np.int64)
        for positions, lists in parts:
            lengths[positions] += np.diff(lists.indptr)
        indptr = starts_of(lengths)
        indices = np.empty(indptr[-1], dtype=np.int32)
        next_free = indptr[:-1].copy()
        for positions, lists in parts:
            own = np.diff(lists.indptr)
            indices[ranges(next_free[positions], own)] = lists.indices
            next_free[positions] += own
        return cls(indptr, indices)

    def taken(self, which: NDArray[np.int64]) -> Lists:
        """Return some of the lists."""
        lengths = np.diff(self.indptr)[which]
        return Lists(starts_of(lengths), self.indices[ranges(self.indptr[which], lengths)])


def starts_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where lists of these lengths begin, and where the last one ends.  # (len(lengths) + 1,)."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return starts[r], starts[r] + 1, … for lengths[r] numbers, for each r in turn.  # (lengths.sum(),)."""
    indptr = starts_of(lengths)
    return np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])


def taken(rows: Rows, which: NDArray[np.int64]) -> Rows:
    """Return some rows of a matrix, in the order asked for; one may come several times."""
    lengths = rows.indptr[which + 1] - rows.indptr[which]
    at = ranges(rows.indptr[which], lengths)
    return Rows(indptr=starts_of(lengths), indices=rows.indices[at], weights=rows.weights[at])


def placed(requests: int, parts: Sequence[tuple[NDArray[np.int64], Rows]]) -> Rows:
    """Lay rows where they belong: those of a part are for the requests at its positions, which no other part names."""
    lengths = np.zeros(requests, dtype=np.int64)
    for positions, rows in parts:
        lengths[positions] = rows.counts
    indptr = starts_of(lengths)
    indices = np.empty(indptr[-1], dtype=np.int32)
    weights = np.empty(indptr[-1], dtype=np.float32)
    for positions, rows in parts:
        at = ranges(indptr[positions], rows.counts)
        indices[at], weights[at] = rows.indices, rows.weights
    return Rows(indptr=indptr, indices=indices, weights=weights)


def united(rows: Rows, others: Rows, *, columns: int) -> Rows:
    """Return rows with the entries of others put in; of one that is in both, the first weight counts.

    Meant for few others: each is looked up among the rows, and nothing is sorted.
    """
    keys, other_keys = (np.repeat(np.arange(len(r.counts)), r.counts) * columns + r.indices for r in (rows, others))
    at = np.searchsorted(keys, other_keys)
    new = np.ones(len(at), dtype=np.bool_)
    inside = at < len(keys)
    new[inside] = keys[at[inside]] != other_keys[inside]
    added = np.bincount(other_keys[new] // max(columns, 1), minlength=len(rows.counts))
    return Rows(
        indptr=rows.indptr + starts_of(added),
        indices=np.insert(rows.indices, at[new], others.indices[new]),
        weights=np.insert(rows.weights, at[new], others.weights[new]),
    )


def merged(
    requests: int, parts: Sequence[tuple[NDArray[np.int64], Rows]], *, columns: int, repeats: Literal["add", "replace"]
) -> Rows:
    """Put rows together: those of a part are for the requests at its positions.

    A column that comes several times in a request's rows adds up, or the last one counts. Sums are taken in float64;
    one beyond float32 is the largest float32.
    """
    owners = [np.repeat(positions, rows.counts) for positions, rows in parts]
    none = np.zeros(0, dtype=np.int64)
    keys = np.concatenate([none, *(o * columns + rows.indices for o, (_, rows) in zip(owners, parts, strict=True))])
    weights = np.concatenate([np.zeros(0), *(rows.weights.astype(np.float64) for _, rows in parts)])
    if repeats == "add":
        distinct, place = np.unique(keys, return_inverse=True)
        values = np.bincount(place, weights=weights, minlength=len(distinct))
    else:
        # What numpy finds first of equal keys, backwards, is the last.
        distinct, last = np.unique(keys[::-1], return_index=True)
        values = weights[::-1][last]
    return Rows(
        indptr=starts_of(np.bincount(distinct // columns, minlength=requests) if columns else np.zeros(requests, int)),
        indices=(distinct % max(columns, 1)).astype(np.int32),
        weights=np.minimum(values, np.finfo(np.float32).max).astype(np.float32),
    )


@kernel()
def _measure(indptr, which, starts):  # type: ignore[no-untyped-def]
    """Fill `starts` with where the entries of each row begin once they stand one after another; return their number."""
    total = 0
    for r in range(len(which)):
        starts[r] = total
        row = which[r]
        if row >= 0:
            total += indptr[row + 1] - indptr[row]
    starts[len(which)] = total
    return total


@kernel()
def _gather(indptr, indices, which, starts, gathered):  # type: ignore[no-untyped-def]
    """Copy the entries of each row to where they begin."""
    for r in range(len(which)):
        row = which[r]
        if row >= 0:
            gathered[starts[r] : starts[r + 1]] = indices[indptr[row] : indptr[row + 1]]
