"""Answers as text: CSV rows, or one JSON line a record.

Texts are joined by Arrow for a whole block of rows at once: no Python object per row or per reason exists. What only
some rows have, such as titles, is a column that is null for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.errors import AlgorithmError
from factorbox.recommend.answers import UNKNOWN_ITEM, Answers, Explanations
from factorbox.recommend.queries import Query
from factorbox.recommend.traits import LEAST_LIKELY
from factorbox.serving.csv_kernels import write_csv_rows
from factorbox.serving.media_types import Format
from factorbox.serving.queries import BadRecord
from factorbox.serving.texts import (
    TEXT,
    bytes_of,
    concatenated,
    csv_field,
    escape_csv,
    escape_json,
    joined,
    joined_present,
    number_list,
    number_texts,
    spread,
    text_and_ends,
    texts_of,
)

_UNKNOWN_LABEL = {"user_id": b'"known_user":false,', "item_id": b'"known_item":false,'}


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
    def csv_bytes(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The ids as CSV fields: their bytes, and where each begins and the last ends."""
        return bytes_of(self.csv)

    @cached_property
    def json(self) -> pa.LargeStringArray:
        """The ids as the inside of JSON texts."""
        return escape_json(self._ids.texts)

    @cached_property
    def json_bytes(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The ids as the inside of JSON texts: their bytes, and where each begins and the last ends."""
        return bytes_of(self.json)


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive records of one request, with their answers.

    Attributes
    ----------
    answers
        One query a record, in order; in the place of a bad record stands a query that was answered with no rows.
    bad
        The bad records by their position in the block.
    first_number
        The number of the first record, counted from 1 within the request.
    """

    answers: Answers
    bad: Mapping[int, BadRecord]
    first_number: int


def render_csv(
    block: Block, *, users: EscapedIds, items: EscapedIds, details: ItemDetails | None, labels: bool
) -> bytes:
    """Write rows `id,item_id,score`, each ended by a newline; a bad record is a row `id,ERROR,message`.

    The first field is the record's id, empty where it has none. Rows of similar users hold users in place of items.
    An unknown item has an empty score. Reasons have no place in a row, nor have `details` and `labels`.

    Parameters
    ----------
    block
        What to write.
    users, items
        The ids of the model.
    details, labels
        Not written.

    Raises
    ------
    AlgorithmError
        Where a score is not finite.
    """
    columns = _Columns(block.answers)
    ranking = block.answers.ranking
    (ids, id_ends), places = items.csv_bytes, ranking.item_indices
    # Plain queries are answered with items of the model alone.
    others = bool(block.answers.queries.others)
    if others and columns.elsewhere.any():
        ids, id_ends = bytes_of(columns.ids(users=users.csv, items=items.csv, escape=escape_csv))
        places = np.arange(len(places), dtype=np.int32)
    some_unknown = others and bool(columns.unknown.any())
    starts = np.empty(len(ranking.indptr), dtype=np.int64)
    written = write_csv_rows(
        ranking.indptr,
        *bytes_of(escape_csv(block.answers.queries.labels())),
        ids,
        id_ends,
        places,
        columns.unknown if some_unknown else _ALL_KNOWN,
        np.frombuffer(
            finite_list(ranking.scores[~columns.unknown] if some_unknown else ranking.scores), dtype=np.uint8
        ),
        starts,
    )
    rows: bytes = written.tobytes()
    if not block.bad:
        return rows
    parts: list[bytes] = []
    begun = 0
    for position, record in sorted(block.bad.items()):
        end = int(starts[position])
        label = "" if record.label is None else record.label[1]
        message = record.message(block.first_number + position)
        parts += [rows[begun:end], csv_field(label), b",ERROR,", csv_field(message), b"\n"]
        begun = end
    return b"".join([*parts, rows[begun:]])


def render_json(
    block: Block, *, users: EscapedIds, items: EscapedIds, details: ItemDetails | None, labels: bool
) -> bytes:
    """Write one JSON object a record, each ended by a newline; a bad record is an object with `error`.

    Parameters
    ----------
    block
        What to write.
    users, items
        The ids of the model.
    details
        What `titles` shows of each item; None where nothing is known.
    labels
        Whether a user's scores are probabilities, so that each comes with the `predicted_label`.

    Raises
    ------
    AlgorithmError
        Where a number is not finite.
    """
    answers = block.answers
    rows, ends = text_and_ends(_json_rows(_Columns(answers), users=users, items=items, details=details, labels=labels))
    starts = ends[answers.ranking.indptr].tolist()
    parts: list[bytes | memoryview] = []
    for position, (query, known, ignored) in enumerate(
        zip(answers.queries, answers.known.tolist(), answers.ignored.tolist(), strict=True)
    ):
        if position in block.bad:
            parts += [_json_error(block.bad[position], number=block.first_number + position), b"\n"]
            continue
        # A row begins with the comma that separates it from the one before.
        start, end = starts[position], starts[position + 1]
        parts += [_json_head(query, known=known, ignored=ignored), rows[start + 1 : end], b"]}\n"]
    return b"".join(parts)


RENDERERS: dict[Format, Callable[..., bytes]] = {"csv": render_csv, "json": render_json}


class _Columns:
    """The rows of some answers by the column."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.indices = answers.ranking.item_indices

    @cached_property
    def unknown(self) -> NDArray[np.bool_]:
        """Which rows hold an unknown id among `item_ids`.  # (rows,)."""
        return np.asarray(self.indices == UNKNOWN_ITEM)

    @cached_property
    def of_users(self) -> NDArray[np.bool_]:
        """Which rows hold a user.  # (rows,)."""
        return self.where("similar_users")

    @cached_property
    def records(self) -> NDArray[np.int64]:
        """Which record each row belongs to.  # (rows,)."""
        counts = np.diff(self.answers.ranking.indptr)
        return np.repeat(np.arange(len(counts)), counts)

    def where(self, field: Literal["explain", "titles", "similar_users"]) -> NDArray[np.bool_]:
        """Return which rows belong to a record that asks for something by this field.  # (rows,)."""
        queries = self.answers.queries
        if not queries.others:
            return np.zeros(len(self.indices), dtype=np.bool_)
        return queries.column(field).astype(np.bool_)[self.records]

    @cached_property
    def elsewhere(self) -> NDArray[np.bool_]:
        """Which rows hold something else than an item of the model.  # (rows,)."""
        return np.asarray(self.unknown | self.of_users)

    def ids(
        self,
        *,
        users: pa.LargeStringArray,
        items: pa.LargeStringArray,
        escape: Callable[[pa.LargeStringArray], pa.LargeStringArray],
    ) -> pa.LargeStringArray:
        """Return the id of each row's item or user, an unknown item's as it was given."""
        if not self.elsewhere.any():
            return items.take(pa.array(self.indices))
        ids = items.take(pa.array(self.indices, mask=self.elsewhere))
        if self.of_users.any():
            ids = pc.coalesce(ids, users.take(pa.array(self.indices, mask=~self.of_users)))
        if self.unknown.any():
            ids = pc.replace_with_mask(ids, pa.array(self.unknown), escape(texts_of(self._unknown_ids())))
        return ids

    def scores(self, *, after: bytes, unknown: str) -> pa.LargeStringArray:
        """Return the text of each score, after one byte; of an unknown item what is to stand there."""
        scores = self.answers.ranking.scores
        if not self.unknown.any():
            return _finite_texts(scores, after=after)
        known = _finite_texts(scores[~self.unknown], after=after)
        return pc.fill_null(spread(known, ~self.unknown), unknown)

    def labels(self) -> pa.LargeStringArray:
        """Return the member `predicted_label` of each row, after a comma; null where the score is no probability."""
        queries, scores = self.answers.queries, self.answers.ranking.scores
        by_cosine = np.zeros(len(queries), dtype=np.bool_)
        others = queries.others.items()
        by_cosine[[n for n, query in others if query.item_id is not None or query.similar_users]] = True
        likely = pa.array(scores >= LEAST_LIKELY, mask=self.unknown | by_cosine[self.records])
        return pc.if_else(likely, pa.scalar(',"predicted_label":1', TEXT), pa.scalar(',"predicted_label":0', TEXT))

    def _unknown_ids(self) -> list[str]:
        queries, indptr = self.answers.queries, self.answers.ranking.indptr
        rows = np.flatnonzero(self.unknown)
        records = self.records[rows]
        places = rows - indptr[records]
        return [
            (queries[record].item_ids or ())[place]
            for record, place in zip(records.tolist(), places.tolist(), strict=True)
        ]


def _json_rows(
    columns: _Columns, *, users: EscapedIds, items: EscapedIds, details: ItemDetails | None, labels: bool
) -> pa.LargeStringArray:
    """Return each row as a JSON object after a comma."""
    of_users = columns.of_users
    begin = ',{"item_id":"'
    if of_users.any():
        begin = pc.if_else(pa.array(of_users), pa.scalar(',{"user_id":"', TEXT), pa.scalar(begin, TEXT))
    ids = columns.ids(users=users.json, items=items.json, escape=escape_json)
    parts = [begin, ids, '","score"', columns.scores(after=b":", unknown=":null")]
    if labels:
        parts.append(columns.labels())
    titled = columns.where("titles") & ~columns.unknown
    if details is not None and titled.any():
        parts.append(_json_details(details, columns.indices, wanted=titled))
    explained = columns.where("explain") & ~columns.unknown
    if columns.answers.explanations is not None and explained.any():
        parts += _json_reasons(columns.answers.explanations, explained, titled, items=items, details=details)
    return joined_present(*parts, "}")


def _json_reasons(
    reasons: Explanations,
    explained: NDArray[np.bool_],
    titled: NDArray[np.bool_],
    *,
    items: EscapedIds,
    details: ItemDetails | None,
) -> list[pa.LargeStringArray]:
    """Return the members `baseline`, `own_impact` and `because` of each row, each after a comma or null."""
    counts = np.diff(reasons.indptr)
    first = np.zeros(len(reasons.item_indices), dtype=np.bool_)
    first[reasons.indptr[:-1][counts > 0]] = True
    parts = [
        pc.if_else(pa.array(first), pa.scalar('{"item_id":"', TEXT), pa.scalar(',{"item_id":"', TEXT)),
        items.json.take(pa.array(reasons.item_indices)),
        '","influence"',
        _finite_texts(reasons.influences, after=b":"),
        ',"impact"',
        _finite_texts(reasons.impacts, after=b":"),
    ]
    titled_reasons = np.repeat(titled, counts)
    if details is not None and titled_reasons.any():
        parts.append(_json_details(details, reasons.item_indices, wanted=titled_reasons))
    because = concatenated(joined_present(*parts, "}"), indptr=reasons.indptr).filter(pa.array(explained))
    own = explained & ~np.isnan(reasons.own_impacts)
    return [
        spread(joined(',"baseline"', _finite_texts(reasons.baselines[explained], after=b":")), explained),
        spread(joined(',"own_impact"', _finite_texts(reasons.own_impacts[own], after=b":")), own),
        spread(joined(',"because":[', because, "]"), explained),
    ]


def _json_details(
    details: ItemDetails, item_indices: NDArray[np.int32], *, wanted: NDArray[np.bool_]
) -> pa.LargeStringArray:
    """Return the member `item` of each row, after a comma; null where it is not wanted and for an item without."""
    places = pa.array(item_indices, mask=~wanted)
    members: list[str | pa.LargeStringArray] = []
    for name, column in details.columns.items():
        members += [f'{"," if members else ""}{orjson.dumps(name).decode()}:"', escape_json(column.take(places)), '"']
    return joined(',"item":{', *members, "}")


def _json_head(query: Query, *, known: bool, ignored: int) -> bytes:
    """Return what stands before the rows of a record."""
    field, label = query.label_field, query.label
    head = b"{"
    if field is not None:
        head = b'{"%b":%b,' % (field.encode(), orjson.dumps(label))
        if not known:
            head += _UNKNOWN_LABEL.get(field, b"")
    if ignored:
        head += b'"ignored_items":%d,' % ignored
    return head + (b'"similar_users":[' if query.similar_users else b'"recommendations":[')


def _json_error(record: BadRecord, *, number: int) -> bytes:
    error = {
        "record": number,
        "field": record.field,
        "value": None if record.value is None else str(record.value),
        "message": record.message(number),
    }
    label = {} if record.label is None else dict([record.label])
    return orjson.dumps(label | {"error": error})


_ALL_KNOWN = np.zeros(0, dtype=np.bool_)


def _finite_texts(numbers: NDArray[np.float32], *, after: bytes) -> pa.LargeStringArray:
    """Return the texts of numbers that damaged factors would have made infinite or no numbers at all."""
    _check_finite(numbers)
    return number_texts(numbers, after=after)


def finite_list(numbers: NDArray[np.float32]) -> bytes:
    """Return the same texts with a byte before each, and one at the end."""
    _check_finite(numbers)
    return number_list(numbers)


def _check_finite(numbers: NDArray[np.float32]) -> None:
    if not np.isfinite(numbers).all():
        raise AlgorithmError(
            "a score or a reason for it is not a finite number: the model's factors are damaged, train it again"
        )
