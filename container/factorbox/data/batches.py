"""Blocks of rows as the parsers hand them over, and how they become interactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

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
from factorbox.kernels import kernel

_MAX_IDS = int(np.iinfo(np.int32).max)


class TextSource(Protocol):
    """Distinct texts by number; several columns may use one, which may grow meanwhile."""

    def __len__(self) -> int: ...

    def texts(self) -> pa.Array:
        """Return the texts in the order of their numbers."""
        ...


@dataclass(frozen=True, eq=False)
class Coded:
    """A column of ids: where their texts stand and, for each row, the number of its text.  # (rows,)."""

    source: TextSource
    codes: NDArray[np.int32]

    @classmethod
    def from_dictionary(cls, column: pa.DictionaryArray) -> Coded:
        """Take over a dictionary-encoded Arrow column without nulls."""
        # Arrow's memory is read-only, and codes are changed in place later on.
        return cls(source=_Listed(column.dictionary), codes=column.indices.to_numpy().astype(np.int32))

    @property
    def texts(self) -> pa.Array:
        """The texts of the source."""
        return self.source.texts()

    def where(self, keep: NDArray[np.bool_]) -> Coded:
        """Keep some of the rows."""
        return Coded(source=self.source, codes=self.codes[keep])


@dataclass(frozen=True, eq=False)
class _Listed:
    """Texts that no longer grow."""

    array: pa.Array

    def __len__(self) -> int:
        return len(self.array)

    def texts(self) -> pa.Array:
        return self.array


@dataclass(frozen=True, eq=False)
class Batch:
    """Valid rows of one file.

    Attributes
    ----------
    columns
        Where the file keeps what.
    users, items
        The ids.
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
    user_ids, rows_per_user = _unify([batch.users for batch in batches], what="users")
    item_ids, rows_per_item = _unify([batch.items for batch in batches], what="items")
    waiting = [
        Block(users=batch.users.codes, items=batch.items.codes, weights=batch.weights, times=batch.times)
        for batch in reversed(batches)
    ]
    # With the batches go the vocabularies.
    batches.clear()

    def blocks() -> Iterator[Block]:
        while waiting:
            yield waiting.pop()

    return Interactions.from_blocks(
        user_ids,
        item_ids,
        blocks=blocks(),
        rows_per_user=rows_per_user,
        rows_per_item=rows_per_item,
        latest=feedback.kind == "ratings",
        keep_times=keep_times,
    )


def _unify(columns: list[Coded], *, what: str) -> tuple[Ids, NDArray[np.int64]]:
    """Sort the texts that columns use, and turn their codes, in place, into positions; also count the rows of each."""
    sources = list({id(column.source): column.source for column in columns}.values())
    number = {id(source): k for k, source in enumerate(sources)}
    rows = [np.zeros(len(source), dtype=np.int64) for source in sources]
    for column in columns:
        _count(column.codes, rows[number[id(column.source)]])
    # Of rows that were dropped, and of files that were refused, texts may be there that nobody uses.
    used = [np.flatnonzero(counts) for counts in rows]
    lengths = [len(part) for part in used]
    if sum(lengths) > _MAX_IDS:
        raise UserError(f"too many {what}: {sum(lengths):,} ids in the blocks read, and {_MAX_IDS:,} are possible")
    # Large strings: all ids together may be more than 2 GiB.
    texts = [
        source.texts().cast(pa.large_string()).take(pa.array(part)) for source, part in zip(sources, used, strict=True)
    ]
    coded = pa.chunked_array(texts, type=pa.large_string()).combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(coded.dictionary)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    positions = np.split(rank[coded.indices.to_numpy()], np.cumsum(lengths)[:-1])
    total = np.zeros(len(order), dtype=np.int64)
    of_codes = []
    for counts, part, position in zip(rows, used, positions, strict=True):
        total[position] += counts[part]
        of_codes.append(np.empty(len(counts), dtype=np.int32))
        of_codes[-1][part] = position
    for column in columns:
        _recode(column.codes, of_codes[number[id(column.source)]])
    return Ids(coded.dictionary.take(order)), total


@kernel()
def _count(codes, counts):  # type: ignore[no-untyped-def]
    """Count how often each code comes."""
    for k in range(len(codes)):
        counts[codes[k]] += 1


@kernel()
def _recode(codes, positions):  # type: ignore[no-untyped-def]
    """Replace each code by its position."""
    for k in range(len(codes)):
        codes[k] = positions[codes[k]]
