"""What is known of items beside their ids: titles and the like, text by column, for answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.errors import UserError

AVAILABLE = "available"
"""The column that says which items may be recommended; case and underscores are ignored."""


@dataclass(frozen=True, eq=False)
class ItemDetails:
    """The texts of items, which may lie in a mapped file.

    Attributes
    ----------
    columns
        For each column, one or more, an Arrow array of type `large_string`, (items,): null where the item has no
        row, and then null in every column.
    """

    columns: Mapping[str, pa.LargeStringArray]

    def of(self, item_index: int) -> dict[str, str] | None:
        """Return the text of each column of an item, exactly as it was written; None for an item without a row."""
        if not self._has_row[item_index]:
            return None
        return {
            name: str(data[offsets[item_index] : offsets[item_index + 1]], "utf-8")
            for name, offsets, data in self._buffers
        }

    @cached_property
    def _has_row(self) -> memoryview:
        first = next(iter(self.columns.values()))
        return memoryview(first.is_valid().to_numpy(zero_copy_only=False))

    @cached_property
    def _buffers(self) -> list[tuple[str, memoryview, memoryview]]:
        """Name, offsets and bytes of each column: to slice these takes half the time of Arrow's scalars."""
        buffers = []
        for name, column in self.columns.items():
            _, offsets, data = column.buffers()
            starts = np.frombuffer(offsets, dtype=np.int64)[column.offset :]
            buffers.append((name, starts.data, memoryview(data if data is not None else b"")))
        return buffers


@dataclass(frozen=True, eq=False)
class ItemsInTraining:
    """What a channel says of the items of a model.

    Attributes
    ----------
    details
        None where there are no text columns, or no item has a row.
    available
        bool, (items,): true too for an item without a row.
    matched
        Items that have a row.
    unknown
        Items with a row that are not in the model.
    """

    details: ItemDetails | None
    available: NDArray[np.bool_]
    matched: int
    unknown: int

    @property
    def unavailable(self) -> int:
        """Number of items that are not to be recommended."""
        return len(self.available) - int(np.count_nonzero(self.available))


@dataclass(frozen=True, eq=False)
class ItemRows:
    """What some files say, one entry for each item that they name.

    Attributes
    ----------
    item_ids
        Distinct.
    columns
        The texts by column, in the order of the files.
    available
        None without such a column.
    files, rows
        What was read, with repeated rows.
    """

    item_ids: pa.LargeStringArray
    columns: Mapping[str, pa.LargeStringArray]
    available: pa.BooleanArray | None
    files: int
    rows: int

    def for_items(self, item_ids: Ids) -> ItemsInTraining:
        """Look the items of a model up.

        Raises
        ------
        UserError
            Where all of them are unavailable: nothing could ever be recommended.
        """
        found = pc.index_in(item_ids.texts, value_set=self.item_ids)
        matched = len(found) - found.null_count
        available: NDArray[np.bool_] = np.ones(len(item_ids), dtype=np.bool_)
        if self.available is not None:
            available = pc.fill_null(self.available.take(found), True).to_numpy(zero_copy_only=False)
        if not available.any():
            raise UserError(
                f"all {len(item_ids):,} items of the model are unavailable, so that nothing could be recommended: give "
                f"at least one {AVAILABLE}=1, or leave it out"
            )
        details = {name: column.take(found) for name, column in self.columns.items()}
        return ItemsInTraining(
            details=ItemDetails(MappingProxyType(details)) if details and matched else None,
            available=available,
            matched=matched,
            unknown=len(self.item_ids) - matched,
        )
