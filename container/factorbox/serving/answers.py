"""Answers as text: CSV rows, or one JSON line a record.

Texts are joined by Arrow for a whole block of rows at once: no Python object per row exists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.errors import AlgorithmError
from factorbox.recommend.top_n import Ranking
from factorbox.serving.media_types import Format
from factorbox.serving.queries import BadRecord, Record

_TEXT = pa.large_string()


class EscapedIds:
    """Ids as they stand in an answer; a whole catalogue is escaped once, when it is first needed.

    Where no id needs escaping, both forms are the (memory-mapped) ids themselves.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    @cached_property
    def csv(self) -> pa.LargeStringArray:
        """The ids as CSV fields."""
        return escape_csv(self._ids.texts)

    @cached_property
    def json(self) -> pa.LargeStringArray:
        """The ids as the inside of JSON texts."""
        return escape_json(self._ids.texts)


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive records of one request, with their rankings.

    Attributes
    ----------
    records
        The records; a bad one has no rows.
    known
        bool, (records,): whether the user is known.
    ranking
        One row a record.
    first_number
        The number of the first record, counted from 1 within the request.
    """

    records: Sequence[Record]
    known: NDArray[np.bool_]
    ranking: Ranking
    first_number: int


def render_csv(block: Block, *, items: EscapedIds) -> bytes:
    """Write rows `user_id,item_id,score`, each ended by a newline; a bad record is a row `id,ERROR,message`."""
    ranking = block.ranking
    users = escape_csv(pa.array([record.user_id or "" for record in block.records], type=_TEXT))
    row_users = users.take(pa.array(np.repeat(np.arange(len(users)), np.diff(ranking.indptr))))
    rows, ends = _text_and_ends(
        _joined(
            row_users, ",", items.csv.take(pa.array(ranking.item_indices)), ",", _score_texts(ranking.scores, b"\n")
        )
    )
    parts: list[bytes | memoryview] = []
    written = 0
    for position, record in enumerate(block.records):
        if isinstance(record, BadRecord):
            end = ends[ranking.indptr[position]]
            message = record.message(block.first_number + position)
            marked = pa.array([record.user_id or "", "ERROR", message], type=_TEXT)
            parts += [rows[written:end], ",".join(escape_csv(marked).to_pylist()).encode(), b"\n"]
            written = end
    return b"".join([*parts, rows[written:]])


def render_json(block: Block, *, items: EscapedIds) -> bytes:
    """Write one JSON object a record, each ended by a newline; a bad record is an object with `error`."""
    ranking = block.ranking
    rows, ends = _text_and_ends(
        _joined(
            ',{"item_id":"',
            items.json.take(pa.array(ranking.item_indices)),
            '","score":',
            _score_texts(ranking.scores, b"}"),
        )
    )
    starts = ends[ranking.indptr].tolist()
    parts: list[bytes | memoryview] = []
    for position, (record, known) in enumerate(zip(block.records, block.known.tolist(), strict=True)):
        if isinstance(record, BadRecord):
            parts += [_json_error(record, number=block.first_number + position), b"\n"]
            continue
        # A row begins with the comma that separates it from the one before.
        start, end = starts[position], starts[position + 1]
        parts += [
            b'{"user_id":',
            orjson.dumps(record.user_id),
            b',"recommendations":[' if known else b',"known_user":false,"recommendations":[',
            rows[min(start + 1, end) : end],
            b"]}\n",
        ]
    return b"".join(parts)


RENDERERS: dict[Format, Callable[..., bytes]] = {"csv": render_csv, "json": render_json}


def escape_csv(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Quote the texts that need it in a CSV field (RFC 4180)."""
    needy = pc.match_substring_regex(texts, '[",\r\n]')
    if not pc.any(needy).as_py():
        return texts
    doubled = pc.replace_substring(texts, '"', '""')
    return pc.if_else(needy, _joined('"', doubled, '"'), texts)


def escape_json(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Escape the texts that need it between the quotation marks of a JSON text."""
    needy = pc.match_substring_regex(texts, r'["\\\x00-\x1f]')
    if not pc.any(needy).as_py():
        return texts
    escaped = [orjson.dumps(text)[1:-1].decode() for text in texts.filter(needy).to_pylist()]
    return pc.replace_with_mask(texts, needy, pa.array(escaped, type=_TEXT))


def _joined(*parts: str | pa.LargeStringArray) -> pa.LargeStringArray:
    """Concatenate texts element by element; a plain text is the same for each."""
    scalars = [pa.scalar(part, type=_TEXT) if isinstance(part, str) else part for part in (*parts, "")]
    return pc.binary_join_element_wise(*scalars)


def _score_texts(scores: NDArray[np.float32], end: bytes) -> pa.LargeStringArray:
    """Return the shortest text that reads back to each float32, followed by the one byte `end`."""
    if not np.isfinite(scores).all():
        raise AlgorithmError("a score is not a finite number: the model's factors are damaged, train it again")
    if not len(scores):
        return pa.array([], type=_TEXT)
    text = orjson.dumps(np.ascontiguousarray(scores), option=orjson.OPT_SERIALIZE_NUMPY)
    # "[0.5,0.25]" becomes "0.5}0.25}" for end = "}", cut after each end.
    text = text[1:].translate(bytes.maketrans(b",]", end + end))
    offsets = np.zeros(len(scores) + 1, dtype=np.int64)
    offsets[1:] = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == end[0]) + 1
    return pa.LargeStringArray.from_buffers(len(scores), pa.py_buffer(offsets), pa.py_buffer(text))


def _text_and_ends(texts: Any) -> tuple[memoryview, NDArray[np.int64]]:
    """Return the concatenation of texts and where each begins and ends in it.  # (len(texts) + 1,)."""
    if not len(texts):
        return memoryview(b""), np.zeros(1, dtype=np.int64)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[ends[0] : ends[-1]], ends - ends[0]


def _json_error(record: BadRecord, *, number: int) -> bytes:
    error = {
        "record": number,
        "field": record.field,
        "value": None if record.value is None else str(record.value),
        "message": record.message(number),
    }
    label = {} if record.user_id is None else {"user_id": record.user_id}
    return orjson.dumps(label | {"error": error})
