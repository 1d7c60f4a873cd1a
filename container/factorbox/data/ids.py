"""External ids and their positions: texts in sorted order, looked up without a hash table.

The texts stay in one Arrow buffer, which may be a memory-mapped file: worker processes share it, and no
Python object per id exists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.kernels import kernel


class Ids:
    """Distinct ids, sorted by their UTF-8 bytes; an id's position in that order is its index.

    Parameters
    ----------
    texts
        Arrow array of type `large_string` without nulls, strictly increasing by UTF-8 bytes.
    """

    def __init__(self, texts: pa.LargeStringArray) -> None:
        self.texts = texts
        _, offsets, data = texts.buffers()
        # An array of empty length may come without buffers.
        self._offsets = (
            np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
            if offsets is not None and len(texts)
            else np.zeros(1, dtype=np.int64)
        )
        self._data = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
        # Whether they could be written to is part of their type, for which kernels are compiled.
        self._offsets.flags.writeable = self._data.flags.writeable = False

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Ids:
        """Sort texts and drop repeated ones."""
        distinct = pc.unique(pa.array(texts, type=pa.large_string()))
        return cls(distinct.take(pc.array_sort_indices(distinct)))

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> str:
        return str(self.texts[index].as_py())

    def to_list(self) -> list[str]:
        """Return all ids in index order."""
        return list(self.texts.to_pylist())

    def indices_of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the index of each text, −1 where it is unknown.  # (len(texts),)."""
        return self.indices_among(pa.array(texts, type=pa.large_string()))

    def indices_among(self, texts: pa.LargeStringArray) -> NDArray[np.int64]:
        """Return the index of each text of a column, −1 where it is unknown.  # (len(texts),)."""
        queries = Ids(texts)  # in any order: only where each lies matters
        if not len(queries):
            return np.zeros(0, dtype=np.int64)
        found = np.empty(len(queries), dtype=np.int64)
        _search(self._offsets, self._data, queries._offsets, queries._data, found)
        return found

    def index_of(self, text: str) -> int:
        """Return the index of one text, −1 where it is unknown."""
        encoded = text.encode()
        ends = np.array([0, len(encoded)], dtype=np.int64)
        ends.flags.writeable = False
        found = np.empty(1, dtype=np.int64)
        _search(self._offsets, self._data, ends, np.frombuffer(encoded, dtype=np.uint8), found)
        return int(found[0])

    def is_sorted(self) -> bool:
        """Whether the texts are strictly increasing, which every look-up relies on."""
        return bool(_strictly_increasing(self._offsets, self._data))


@kernel()
def _compare(a, a_start, a_end, b, b_start, b_end):  # type: ignore[no-untyped-def]
    """Order two byte strings like memcmp, the shorter first where one begins the other."""
    for k in range(min(a_end - a_start, b_end - b_start)):
        difference = np.int64(a[a_start + k]) - np.int64(b[b_start + k])
        if difference != 0:
            return difference
    return (a_end - a_start) - (b_end - b_start)


@kernel()
def _search(offsets, data, query_offsets, query_data, found):  # type: ignore[no-untyped-def]
    """Find each query by bisection."""
    for q in range(len(found)):
        start, end = query_offsets[q], query_offsets[q + 1]
        low, high = 0, len(offsets) - 1
        found[q] = -1
        while low < high:
            middle = (low + high) // 2
            order = _compare(data, offsets[middle], offsets[middle + 1], query_data, start, end)
            if order == 0:
                found[q] = middle
                break
            if order < 0:
                low = middle + 1
            else:
                high = middle


@kernel()
def _strictly_increasing(offsets, data):  # type: ignore[no-untyped-def]
    for i in range(1, len(offsets) - 1):
        if _compare(data, offsets[i - 1], offsets[i], data, offsets[i], offsets[i + 1]) >= 0:
            return False
    return True
