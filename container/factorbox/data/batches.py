"""Blocks of rows as the parsers hand them over, and how they become interactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.data.activity import Activity, count_days
from factorbox.data.columns import Columns
from factorbox.data.feedback import Feedback
from factorbox.data.folding import Block
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.errors import UserError

_MAX_IDS = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, eq=False)
class Coded:
    """A column of ids: distinct texts and, for each row, the position of its text.  # (rows,)."""

    texts: pa.StringArray
    codes: NDArray[np.int32]

    @classmethod
    def from_dictionary(cls, column: pa.DictionaryArray) -> Coded:
        """Take over a dictionary-encoded Arrow column without nulls."""
        return cls(texts=column.dictionary, codes=column.indices.to_numpy())

    def where(self, keep: NDArray[np.bool_]) -> Coded:
        """Keep some of the rows, and only the texts that these use."""
        used, codes = np.unique(self.codes[keep], return_inverse=True)
        return Coded(texts=self.texts.take(pa.array(used)), codes=codes.astype(np.int32))


@dataclass(frozen=True, eq=False)
class Batch:
    """Valid rows of one file.

    Attributes
    ----------
    columns
        Where the file keeps what.
    users, items
        The ids, all used.
    weights
        float32, (rows,); None without a weight column.
    times
        int64, (rows,): microseconds since 1970; None without a time column, and where they are not wanted.
    span
        First and last moment in microseconds since 1970; None without a time column or without rows.
    activity
        Rows by day; None likewise.
    dropped
        Rows below `min_rating`, which are not in here.
    """

    columns: Columns
    users: Coded
    items: Coded
    weights: NDArray[np.float32] | None
    times: NDArray[np.int64] | None
    span: tuple[int, int] | None
    activity: Activity | None
    dropped: int

    @property
    def rows(self) -> int:
        """Number of rows kept."""
        return len(self.users.codes)


def make_batch(
    columns: Columns,
    *,
    users: Coded,
    items: Coded,
    weights: NDArray[np.float64] | None,
    times: NDArray[np.float64] | NDArray[np.int64] | None,
    to_microseconds: Callable[[NDArray[Any]], NDArray[np.int64]],
    min_rating: float | None,
    keep_times: bool,
) -> Batch:
    """Drop the rows below `min_rating` and wrap up the others.

    Parameters
    ----------
    times
        (rows,), in any unit; `to_microseconds` turns an array of them into microseconds.
    keep_times
        Whether the batch holds them: they choose between ratings of one pair, for instance. For all else the memory is
        saved.
    """
    dropped = 0
    if weights is not None and min_rating is not None:
        keep = weights >= min_rating
        dropped = len(keep) - int(np.count_nonzero(keep))
        if dropped:
            users, items, weights = users.where(keep), items.where(keep), weights[keep]
            times = times[keep] if times is not None else None
    moments = to_microseconds(times) if times is not None else None
    span = (int(moments.min()), int(moments.max())) if moments is not None and len(moments) else None
    return Batch(
        columns=columns,
        users=users,
        items=items,
        weights=weights.astype(np.float32) if weights is not None else None,
        times=moments if keep_times else None,
        span=span,
        activity=count_days(moments, span=span) if moments is not None and span is not None else None,
        dropped=dropped,
    )


def combine(batches: list[Batch], *, feedback: Feedback, keep_times: bool = False) -> Interactions:
    """Build interactions from all batches of a data set, which have weights either all or none, and times likewise.

    The list is emptied on the way, so that at no time everything is held twice.

    Parameters
    ----------
    batches
        In reading order, which decides between ratings of one pair.
    keep_times
        Whether the interactions have times; all batches do then.

    Raises
    ------
    UserError
        Where there are more users or items than int32 counts, or weights add up to more than float32 holds.
    """
    user_ids, user_indices = _unify([batch.users.texts for batch in batches], what="users")
    item_ids, item_indices = _unify([batch.items.texts for batch in batches], what="items")
    rows_per_user = np.zeros(len(user_ids), dtype=np.int64)
    for batch, indices in zip(batches, user_indices, strict=True):
        rows_per_user[indices] += np.bincount(batch.users.codes, minlength=len(indices))

    for parts in (batches, user_indices, item_indices):
        parts.reverse()

    def blocks() -> Iterator[Block]:
        while batches:
            batch = batches.pop()
            yield Block(
                users=user_indices.pop()[batch.users.codes],
                items=item_indices.pop()[batch.items.codes],
                weights=batch.weights,
                times=batch.times,
            )

    return Interactions.from_blocks(
        user_ids,
        item_ids,
        blocks=blocks(),
        rows_per_user=rows_per_user,
        latest=feedback.kind == "ratings",
        keep_times=keep_times,
    )


def _unify(texts: list[pa.StringArray], *, what: str) -> tuple[Ids, list[NDArray[np.int32]]]:
    """Sort the texts of all batches; for each batch, return the index of each of its texts."""
    lengths = [len(part) for part in texts]
    if sum(lengths) > _MAX_IDS:
        raise UserError(f"too many {what}: {sum(lengths):,} ids in the blocks read, and {_MAX_IDS:,} are possible")
    # Large strings: all ids together may be more than 2 GiB.
    large = pa.chunked_array([part.cast(pa.large_string()) for part in texts], type=pa.large_string())
    coded = large.combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(coded.dictionary)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    indices = rank[coded.indices.to_numpy()]
    ids = Ids(coded.dictionary.take(order))
    return ids, np.split(indices, np.cumsum(lengths)[:-1])
