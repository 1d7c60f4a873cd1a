"""Texts by the column: joined, escaped and made of numbers for a whole block of rows, without a Python object a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.serving.csv_kernels import needs_quotes

TEXT = pa.large_string()


def texts_of(values: list[str]) -> pa.LargeStringArray:
    """Make a column of texts."""
    return pa.array(values, type=TEXT)


def escape_csv(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Quote the texts that need it in a CSV field (RFC 4180)."""
    data, ends = bytes_of(texts)
    if not needs_quotes(data[ends[0] : ends[-1]]):
        return texts
    needy = pc.match_substring_regex(texts, '[",\r\n]')
    doubled = pc.replace_substring(texts, '"', '""')
    return pc.if_else(needy, joined('"', doubled, '"'), texts)


def csv_field(text: str) -> bytes:
    """Return one text as `escape_csv` writes it."""
    if any(mark in text for mark in '",\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode()


def escape_json(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Escape the texts that need it between the quotation marks of a JSON text; null stays null."""
    needy = pc.match_substring_regex(texts, r'["\\\x00-\x1f]')
    if not pc.any(needy).as_py():
        return texts
    escaped = [orjson.dumps(text)[1:-1].decode() for text in texts.filter(needy).to_pylist()]
    return pc.replace_with_mask(texts, needy, texts_of(escaped))


def joined(*parts: str | pa.LargeStringArray) -> pa.LargeStringArray:
    """Concatenate texts element by element; a plain text is the same for each, and null makes the whole null."""
    return pc.binary_join_element_wise(*_scalars(parts))


def joined_present(*parts: str | pa.LargeStringArray) -> pa.LargeStringArray:
    """Concatenate texts element by element, null as nothing."""
    return pc.binary_join_element_wise(*_scalars(parts), null_handling="replace", null_replacement="")


def number_texts(numbers: NDArray[np.float32], *, after: bytes) -> pa.LargeStringArray:
    """Return the one byte `after` and the shortest text that reads back to each float32, all of them finite."""
    if not len(numbers):
        return texts_of([])
    text = number_list(numbers)
    # "[0.5,0.25]" becomes ":0.5:0.25" for after = ":", cut before each of these.
    text = text[:-1].translate(bytes.maketrans(b"[,", after + after))
    offsets = np.empty(len(numbers) + 1, dtype=np.int64)
    offsets[:-1] = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == after[0])
    offsets[-1] = len(text)
    return pa.LargeStringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def number_list(numbers: NDArray[np.float32]) -> bytes:
    """Return the shortest texts that read back to each float32, as a JSON array."""
    return orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)


def bytes_of(texts: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes that texts stand in, and where each begins and the last ends.  # (…,), (len(texts) + 1,)."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        found, ends = np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    else:
        found = np.frombuffer(data, dtype=np.uint8)
        ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    # Whether they could be written to is part of their type, for which kernels are compiled.
    found.flags.writeable = ends.flags.writeable = False
    return found, ends


def text_and_ends(texts: Any) -> tuple[memoryview, NDArray[np.int64]]:
    """Return the concatenation of texts and where each begins and ends in it.  # (len(texts) + 1,)."""
    if not len(texts):
        return memoryview(b""), np.zeros(1, dtype=np.int64)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[ends[0] : ends[-1]], ends - ends[0]


def concatenated(texts: pa.LargeStringArray, *, indptr: NDArray[np.int64]) -> pa.LargeStringArray:
    """Concatenate the texts `indptr[r]:indptr[r + 1]` for each r."""
    text, ends = text_and_ends(texts)
    return pa.LargeStringArray.from_buffers(len(indptr) - 1, pa.py_buffer(ends[indptr]), pa.py_buffer(text))


def spread(texts: pa.LargeStringArray, places: NDArray[np.bool_]) -> pa.LargeStringArray:
    """Put texts, in order, where `places` is true, and null elsewhere.  # (len(places),)."""
    return texts.take(pa.array(np.cumsum(places) - 1, mask=~places))


def _scalars(parts: tuple[str | pa.LargeStringArray, ...]) -> list[Any]:
    """Return what Arrow joins, the empty separator last."""
    return [pa.scalar(part, type=TEXT) if isinstance(part, str) else part for part in (*parts, "")]
