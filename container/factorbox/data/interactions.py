"""Who had to do with what: the interactions of a data set, in rows by user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.folding import Block, fold
from factorbox.data.ids import Ids
from factorbox.data.rows import Rows, all_equal
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
        float32, (pairs,). Implicit: > 0, the sum over the rows of a pair; their number where the data have no weight
        column. Ratings: any finite number, of the row that counts; 1 where the data have no weight column.
    times
        int64, (pairs,): microseconds since 1970 (UTC) of the latest row of each pair; None where they are not known or
        were not kept.
    """

    user_ids: Ids
    item_ids: Ids
    indptr: NDArray[np.int64]
    item_indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: NDArray[np.int64] | None = None

    @classmethod
    def from_pairs(
        cls,
        user_ids: Ids,
        item_ids: Ids,
        *,
        user_indices: NDArray[np.integer],
        item_indices: NDArray[np.integer],
        weights: NDArray[np.floating] | None = None,
        times: NDArray[np.int64] | None = None,
        latest: bool = False,
        keep_times: bool = False,
    ) -> Interactions:
        """Build the rows from pairs in any order; pairs that come several times add up, or the latest counts.

        Parameters
        ----------
        user_indices, item_indices
            (rows,), indices into the ids.
        weights
            (rows,), taken as float32, and > 0 where they add up; each row counts as 1 without them.
        times
            (rows,): which row of a pair is the latest. In any unit where they are not kept.
        latest
            Whether of the rows of one pair the latest counts, and of those at one time, or without times, the last.
        keep_times
            Whether to keep the time of each pair; there are `times` then.

        Raises
        ------
        UserError
            Where the weights of a pair add up to more than float32 holds.
        """
        values = None if weights is None else weights.astype(np.float32)
        block = Block(users=user_indices, items=item_indices, weights=values, times=times)
        return cls.from_blocks(
            user_ids,
            item_ids,
            blocks=[block],
            rows_per_user=np.bincount(user_indices, minlength=len(user_ids)),
            rows_per_item=np.bincount(item_indices, minlength=len(item_ids)),
            latest=latest,
            keep_times=keep_times,
        )

    @classmethod
    def from_blocks(
        cls,
        user_ids: Ids,
        item_ids: Ids,
        *,
        blocks: Iterable[Block],
        rows_per_user: NDArray[np.int64],
        rows_per_item: NDArray[np.int64],
        latest: bool = False,
        keep_times: bool = False,
    ) -> Interactions:
        """Build the rows from pairs that come in blocks, each of which is needed only once.

        The sum of a repeated pair is taken in float64 from the smallest weight to the largest, so that it does not
        depend on the order of the rows.

        Parameters
        ----------
        blocks
            Some rows each: all with weights or none, and all with times or none.
        rows_per_user, rows_per_item
            (users,) and (items,): how many rows there are of each in all blocks.
        latest
            As in `from_pairs`; the last row is that of the last block.
        keep_times
            As in `from_pairs`.

        Raises
        ------
        UserError
            Where the weights of a pair add up to more than float32 holds.
        """
        folded = fold(
            blocks, rows_per_user=rows_per_user, rows_per_item=rows_per_item, latest=latest, keep_times=keep_times
        )
        built = cls(user_ids, item_ids, *folded)
        if not latest and built.n_pairs and np.isinf(built.weights.max()):
            pair = int(built.weights.argmax())
            user = int(np.searchsorted(built.indptr, pair, side="right")) - 1
            raise UserError(
                f"the weights of user {user_ids[user]!r} and item {item_ids[int(built.item_indices[pair])]!r} add up to"
                " more than 3.4e38: give smaller weights"
            )
        return built

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

    def count_by_user(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Count the chosen pairs of each user.

        Parameters
        ----------
        chosen
            (pairs,): which pairs count.

        Returns
        -------
        NDArray
            int64, (users,).
        """
        counts = np.zeros(self.n_users, dtype=np.int64)
        some = np.flatnonzero(self.by_user().counts)
        # The slice of a user without pairs would be read as one pair.
        counts[some] = np.add.reduceat(chosen, self.indptr[some], dtype=np.int64)
        return counts

    def only(self, chosen: NDArray[np.bool_]) -> Interactions:
        """Return the chosen pairs, with the ids, and so the indices, of the whole.

        Weights that are all equal, as in data without a column of weights, are a part of these, not a copy.

        Parameters
        ----------
        chosen
            (pairs,): which pairs to keep.
        """
        indptr = np.concatenate([[0], np.cumsum(self.count_by_user(chosen))]).astype(np.int64)
        return Interactions(
            user_ids=self.user_ids,
            item_ids=self.item_ids,
            indptr=indptr,
            item_indices=self.item_indices[chosen],
            weights=self.weights[: indptr[-1]] if all_equal(self.weights) else self.weights[chosen],
            times=None if self.times is None else self.times[chosen],
        )
