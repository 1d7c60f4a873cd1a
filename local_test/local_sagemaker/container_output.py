"""The lines that a container prints, whatever it prints: binary, endless or without a last newline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

LONGEST_LINE = 256 * 1024
"""Bytes; CloudWatch Logs takes events of this size. A longer line comes in pieces."""

_CHUNK = 64 * 1024


class Source(Protocol):
    """Where the output comes from."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes; none at the end."""


def hand_on_lines(stream: Source, *, on_line: Callable[[str], None]) -> None:
    r"""Read a stream to its end and hand on its lines as they come.

    Should ``on_line`` fail, the rest is read all the same, so that the container never blocks on a full pipe; the
    error is raised at the end.

    Parameters
    ----------
    stream
        An unbuffered or buffered stream of bytes, such as a pipe.
    on_line
        Gets each line without ``\n`` or ``\r\n``; bytes that are not UTF-8 become U+FFFD.
    """
    read = getattr(stream, "read1", stream.read)
    pending = bytearray()
    try:
        while chunk := read(_CHUNK):
            # Only the new bytes are searched: a line without end would otherwise cost the square of its length.
            searched = len(pending)
            pending += chunk
            start = 0
            while (end := pending.find(b"\n", max(start, searched))) >= 0:
                _hand_on(pending[start:end], on_line=on_line)
                start = end + 1
            del pending[:start]
            while len(pending) > LONGEST_LINE:
                cut = _character_boundary(pending)
                _hand_on(pending[:cut], on_line=on_line)
                del pending[:cut]
        if pending:
            _hand_on(pending, on_line=on_line)
    finally:
        while read(_CHUNK):
            pass


def _hand_on(line: bytearray, *, on_line: Callable[[str], None]) -> None:
    on_line(line.removesuffix(b"\r").decode("utf-8", errors="replace"))


def _character_boundary(line: bytearray) -> int:
    """Return where to cut a long line so that no UTF-8 character is torn: at most three bytes early."""
    for cut in range(LONGEST_LINE, LONGEST_LINE - 4, -1):
        if line[cut] & 0xC0 != 0x80:
            return cut
    return LONGEST_LINE
