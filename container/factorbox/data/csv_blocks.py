"""Cutting a CSV file into blocks of whole lines, for parsers that refuse what is not plainly well-formed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from factorbox.data.csv_kernels import PADDING, last_line_end

MAX_LINE_BYTES = 1 << 16
"""Longest line that is accepted. Longer ones are legal up to the strict parser's limits, which also count fields."""

_LINE_FEED = ord("\n")


class Refused(Exception):  # noqa: N818 - it is no error: the strict parser takes over
    """The file is not plainly well-formed."""


class Lines(NamedTuple):
    """Whole lines: bytes from `start` to `end`, with `PADDING` behind them."""

    data: NDArray[np.uint8]
    start: int
    end: int


def blocks(stream: BinaryIO, *, block_bytes: int, idle: list[NDArray[np.uint8]]) -> Iterator[Lines]:
    """Cut a stream behind line ends into blocks, in memory that is idle again or new.

    Raises
    ------
    Refused
        For a long line, and a carriage return at the end of the file.
    """
    rest = np.empty(0, dtype=np.uint8)
    longest = max(MAX_LINE_BYTES, block_bytes)
    while True:
        data = idle.pop() if idle else np.empty(longest + block_bytes + 1 + PADDING, dtype=np.uint8)
        data[: len(rest)] = rest
        end = len(rest)
        # Streams of bytes have it, though the type that stands for all of them does not say so.
        end += stream.readinto(data[end : end + block_bytes])  # type: ignore[attr-defined]
        is_last = end == len(rest)
        if is_last and end:
            if data[end - 1] == ord("\r"):
                raise Refused("a carriage return alone")
            data[end] = _LINE_FEED
            end += 1
        lines_end = last_line_end(data, 0, end)
        rest = data[lines_end:end].copy()
        if len(rest) > longest:
            raise Refused("a long line")
        if lines_end:
            data[lines_end : lines_end + PADDING] = ord(" ")
            yield Lines(data, 0, lines_end)
        else:
            idle.append(data)
        if is_last:
            return
