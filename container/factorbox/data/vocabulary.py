"""Numbering ids in the order in which they come: a hash table whose texts stand in one buffer."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox.data.csv_kernels import load64, prefetch
from factorbox.kernels import kernel

_FEWEST_SLOTS = 1 << 10
# 64 bits of the fractional parts of the square roots of 2, 3 and 5, made odd.
_K0, _K1, _K2 = 0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B
_EMPTY_ID = -1
_AT_ONCE = 32


class Vocabulary:
    """Distinct ids, each with the number of those that came before it. Not to be used by two threads at a time."""

    def __init__(self) -> None:
        # Of each id: its first and second eight bytes, or two digests where it is longer; length and number + 1; where
        # its text begins. A slot without an id is zero.
        self._slots = _aligned(_FEWEST_SLOTS)
        self._bounds = np.zeros(_most_ids(_FEWEST_SLOTS) + 1, dtype=np.int64)
        self._data = np.empty(16 * _FEWEST_SLOTS, dtype=np.uint8)
        self._size = np.zeros(1, dtype=np.int64)
        self._sound = 0
        # Ids are chosen by strangers, who might choose such as meet in one slot; what they are numbered does not depend
        # on where they lie.
        self._seed = np.uint64(int.from_bytes(os.urandom(8)))

    def __len__(self) -> int:
        return int(self._size[0])

    def codes(
        self, data: NDArray[np.uint8], *, starts: NDArray[np.int32], ends: NDArray[np.int32]
    ) -> NDArray[np.int32] | None:
        """Return the number of each of some ids, new ones included; None where one is empty.

        Parameters
        ----------
        data
            Holds them, and at least sixteen bytes behind the last one.
        starts, ends
            (ids,): where they lie in it.
        """
        codes = np.empty(len(starts), dtype=np.int32)
        first = 0
        while first < len(codes):
            first = _code(
                data, starts, ends, first, self._seed, self._slots, self._bounds, self._data, self._size, codes
            )
            if first == _EMPTY_ID:
                return None
            if first < len(codes):
                self._grow(int(ends[first] - starts[first]))
        return codes

    def texts(self) -> pa.LargeStringArray:
        """Return the ids in the order of their numbers, in memory that is changed by new ones.

        That they are UTF-8 is for `check_text` to find out.
        """
        return pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(self._bounds), pa.py_buffer(self._data))

    def check_text(self) -> None:
        """Check the ids that are new since the last time.

        Raises
        ------
        pyarrow.ArrowInvalid
            Where one is not UTF-8.
        """
        self.texts()[self._sound :].validate(full=True)
        self._sound = len(self)

    def _grow(self, length: int) -> None:
        """Make room for one more id of some bytes, and for as many again as there are."""
        size, used = len(self), int(self._bounds[len(self)])
        if used + length > len(self._data):
            data = np.empty(max(2 * len(self._data), used + length), dtype=np.uint8)
            data[:used] = self._data[:used]
            self._data = data
        if size + 1 == len(self._bounds):
            slots = _aligned(2 * len(self._slots))
            _move(self._seed, self._slots, slots)
            self._slots = slots
            bounds = np.zeros(_most_ids(len(slots)) + 1, dtype=np.int64)
            bounds[: size + 1] = self._bounds
            self._bounds = bounds


def _most_ids(slots: int) -> int:
    """Return how many ids a table holds before it grows."""
    return slots * 3 // 4


def _aligned(count: int) -> NDArray[np.uint64]:
    """Return empty slots, of which none lies across two lines of the cache.  # (count, 4)."""
    memory = np.zeros(4 * count + 8, dtype=np.uint64)
    skipped = (-memory.ctypes.data % 64) // 8
    return memory[skipped : skipped + 4 * count].reshape(count, 4)


@kernel()
def _mixed(seed, a, b, length):  # type: ignore[no-untyped-def]
    """Spread the bits of an id over one word."""
    h = (a ^ seed ^ np.uint64(length)) * np.uint64(_K0)
    h ^= h >> np.uint64(32)
    h = (h ^ b) * np.uint64(_K1)
    h ^= h >> np.uint64(29)
    h *= np.uint64(_K2)
    return h ^ (h >> np.uint64(32))


@kernel()
def _words(seed, data, start, length):  # type: ignore[no-untyped-def]
    """Return two words that stand for an id: its bytes where it has up to sixteen, else digests of them."""
    every = np.uint64(0xFFFFFFFFFFFFFFFF)
    if length <= 8:
        return load64(data, start) & (every >> np.uint64(64 - 8 * length)), np.uint64(0)
    if length <= 16:
        return load64(data, start), load64(data, start + 8) & (every >> np.uint64(128 - 8 * length))
    a, b = np.uint64(_K1) ^ seed, np.uint64(_K2) + seed
    k = np.int64(0)
    while k + 8 <= length:
        word = load64(data, start + k)
        a = (a ^ word) * np.uint64(_K0)
        a ^= a >> np.uint64(31)
        b = (b + word) * np.uint64(_K2)
        b ^= b >> np.uint64(33)
        k += 8
    # The last eight bytes, of which some may have been seen.
    word = load64(data, start + length - 8)
    return (a ^ word) * np.uint64(_K0), (b + word) * np.uint64(_K2)


@kernel()
def _is_same(data, start, texts, text, length):  # type: ignore[no-untyped-def]
    """Whether two texts of more than eight bytes are equal."""
    k = np.int64(0)
    while k + 8 <= length:
        if load64(data, start + k) != load64(texts, text + k):
            return False
        k += 8
    return load64(data, start + length - 8) == load64(texts, text + length - 8)


@kernel()
def _code(data, starts, ends, first, seed, slots, bounds, texts, size, codes):  # type: ignore[no-untyped-def]
    """Number ids from the first on; return the one for which there is no room, the end, or that one is empty."""
    mask = np.uint64(len(slots) - 1)
    known = size[0]
    words = np.empty((_AT_ONCE, 3), dtype=np.uint64)
    for some in range(first, len(codes), _AT_ONCE):
        # The slots of several ids are on their way from memory while the first is looked at.
        for row in range(some, min(some + _AT_ONCE, len(codes))):
            start = np.int64(starts[row])
            length = np.int64(ends[row]) - start
            if length == 0:
                size[0] = known
                return _EMPTY_ID
            a, b = _words(seed, data, start, length)
            slot = _mixed(seed, a, b, length) & mask
            words[row - some, 0], words[row - some, 1], words[row - some, 2] = a, b, slot
            prefetch(slots, np.int64(slot))
        for row in range(some, min(some + _AT_ONCE, len(codes))):
            start = np.int64(starts[row])
            length = np.int64(ends[row]) - start
            a, b, slot = words[row - some, 0], words[row - some, 1], words[row - some, 2]
            code = np.int64(-1)
            while slots[slot, 2] != 0:
                if (
                    slots[slot, 0] == a
                    and slots[slot, 1] == b
                    and np.int64(slots[slot, 2] >> np.uint64(32)) == length
                    and (length <= 16 or _is_same(data, start, texts, np.int64(slots[slot, 3]), length))
                ):
                    code = np.int64(slots[slot, 2] & np.uint64(0xFFFFFFFF)) - 1
                    break
                slot = (slot + np.uint64(1)) & mask
            if code < 0:
                text = bounds[known]
                if known + 1 == len(bounds) or text + length > len(texts):
                    size[0] = known
                    return row
                for k in range(length):
                    texts[text + k] = data[start + k]
                code = known
                known += 1
                bounds[known] = text + length
                slots[slot, 0], slots[slot, 1] = a, b
                slots[slot, 2] = (np.uint64(length) << np.uint64(32)) | np.uint64(known)
                slots[slot, 3] = text
            codes[row] = code
    size[0] = known
    return len(codes)


@kernel()
def _move(seed, slots, larger):  # type: ignore[no-untyped-def]
    """Put every id into a larger table."""
    mask = np.uint64(len(larger) - 1)
    for old in range(len(slots)):
        if slots[old, 2] != 0:
            length = np.int64(slots[old, 2] >> np.uint64(32))
            slot = _mixed(seed, slots[old, 0], slots[old, 1], length) & mask
            while larger[slot, 2] != 0:
                slot = (slot + np.uint64(1)) & mask
            for word in range(4):
                larger[slot, word] = slots[old, word]
