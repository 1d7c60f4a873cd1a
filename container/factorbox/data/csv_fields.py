"""One column of a block of CSV: where its texts lie, and what they become."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox.data.csv_blocks import Refused
from factorbox.data.csv_kernels import gather, numbers, trim

NUMBER = pa.float64()


class Fields(NamedTuple):
    """One column of a block: where its texts lie.  # (rows,)."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self.starts)

    def as_numbers(self) -> NDArray[np.float64]:
        """Read decimal numbers, with spaces and tabs around them.

        Raises
        ------
        Refused
            Where a text is none.
        """
        trim(*self)
        values = np.empty(self.rows, dtype=np.float64)
        is_hard = np.empty(self.rows, dtype=np.bool_)
        hard = numbers(self.data, self.starts, self.ends, values, is_hard)
        if hard < 0:
            raise Refused("no number")
        if hard:
            some = Fields(self.data, self.starts[is_hard], self.ends[is_hard])
            values[is_hard] = some.as_type(NUMBER).to_numpy()
        return values

    def as_type(self, kind: pa.DataType) -> pa.Array:
        """Let Arrow convert the texts, without spaces and tabs around them.

        Raises
        ------
        Refused
            Where it cannot.
        """
        trim(*self)
        offsets = np.zeros(self.rows + 1, dtype=np.int64)
        np.cumsum(self.ends - self.starts, out=offsets[1:])
        texts = np.empty(offsets[-1], dtype=np.uint8)
        gather(self.data, self.starts, self.ends, offsets, texts)
        column = pa.LargeStringArray.from_buffers(self.rows, pa.py_buffer(offsets), pa.py_buffer(texts))
        try:
            return column.cast(kind)
        except pa.ArrowInvalid as error:
            raise Refused(str(error)) from error
