"""From a request's body to its answer, without HTTP."""

from __future__ import annotations

import codecs
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.contract.log_lines import line
from factorbox.data.item_details import ItemDetails
from factorbox.recommend.answering import Answering
from factorbox.recommend.queries import Query
from factorbox.recommend.subjects import Resolved
from factorbox.recommend.traits import Misfit
from factorbox.serving.answers import RENDERERS, Block, EscapedIds
from factorbox.serving.csv_payload import parse_csv
from factorbox.serving.fields import place_of
from factorbox.serving.json_payload import parse_json
from factorbox.serving.media_types import Format
from factorbox.serving.queries import NOTHING, BadRecord, Records
from factorbox.serving.refusals import RequestError
from factorbox.serving.search import Searched
from factorbox.serving.settings import Settings
from factorbox.serving.single_record import SingleRecords
from factorbox.serving.texts import bytes_of
from factorbox.serving.values import Bare, shortened

_PARSERS: dict[Format, Callable[..., Records]] = {"csv": parse_csv, "json": parse_json}

# Sizes are counted in rows of ordinary length, some sixty characters of text. A request that fits in one block is
# answered in one piece; a record is never cut.
_BLOCK_ROWS = 1 << 18
_ROW_CHARACTERS = 64
_MOST_ROWS = 1 << 23
# What a record takes beside its rows, and a bad one, which has an error to itself.
_RECORD_ROWS = 8
_BAD_RECORD_ROWS = 64
# An entry of a history is an index and a weight.
_HISTORY_ROW_ENTRIES = 8
# Multiplications for the reasons of one record: some seconds.
_MOST_PRODUCTS = 1_000_000_000
# Those for the items of one history that is folded in: half a minute, and half a gigabyte for a network's slopes.
_MOST_FOLD_IN_PRODUCTS = 100_000_000_000
# Those of a block: some seconds, so that a client hears of a long answer, and one who has left is noticed.
_BLOCK_PRODUCTS = 10_000_000_000
_LONGEST_UNKNOWN = 2048
_LOGGED_RECORDS = 100

_logger = logging.getLogger(__name__)


class Recommends(Searched, Protocol):
    """What serving needs of a model (`factorbox.recommender.Recommender`), beside what its page looks at."""

    @property
    def answering(self) -> Answering:
        """What answers."""
        ...

    @property
    def exclude_seen(self) -> bool:
        """The default kept with the model."""
        ...

    def warm_up(self) -> None:
        """Make the first product of this process."""
        ...


@dataclass(frozen=True, eq=False)
class _Asked:
    """The records of a request, looked up and checked.

    Attributes
    ----------
    resolved
        A query for each record; a bad one has `NOTHING`.
    sizes
        int64, (records,): how large each one's answer may be, in rows of ordinary length.
    products
        int64, (records,): about how many multiplications it takes to fold each one's user in.
    bad
        The bad records by position.
    nobody
        How many records are about users of whom nothing is known.
    """

    resolved: Resolved
    sizes: NDArray[np.int64]
    products: NDArray[np.int64]
    bad: dict[int, BadRecord]
    nobody: int


class Invocations:
    """Answers request bodies with one model; used by all threads of a process.

    Parameters
    ----------
    recommender
        The model.
    settings
        How to treat unknown users, bad records and the end of an answer.
    """

    def __init__(self, recommender: Recommends, *, settings: Settings) -> None:
        self._answering = recommender.answering
        self._settings = settings
        self._details = recommender.item_details
        self._detail_rows = 0 if self._details is None else _rows_of_details(self._details)
        self._users = EscapedIds(recommender.user_ids)
        self._items = EscapedIds(recommender.item_ids)
        self._exclude_seen = recommender.exclude_seen if settings.exclude_seen is None else settings.exclude_seen
        self._single = SingleRecords(
            recommender.answering, user_ids=recommender.user_ids, items=self._items, exclude_seen=self._exclude_seen
        )

    def answer(self, body: bytes, *, request_format: Format, answer_format: Format) -> Iterable[bytes] | None:
        """Return the answer in blocks of bounded size, None where the body holds no record.

        All records are parsed and checked, and the first block is made, before this returns. An answer of one block
        is a list.

        Raises
        ------
        RequestError
            400 for a bad record, unless these are marked.
        """
        start = time.monotonic()
        body = body.removeprefix(codecs.BOM_UTF8)
        single = self._single.answer(body, request_format=request_format, answer_format=answer_format)
        if single is not None:
            return list(_joined([single], trailing_newline=self._settings.trailing_newline, at_end=lambda: None))
        refusing = self._settings.bad_records == "error"
        records = _PARSERS[request_format](body, stop_at_bad=refusing)
        if not len(records):
            return None
        asked = self._checked(records, answer_format=answer_format)

        def log() -> None:
            if len(records) > _LOGGED_RECORDS:
                seconds = time.monotonic() - start
                _logger.info(
                    line(records=len(records), unknown_users=asked.nobody, bad_records=len(asked.bad), seconds=seconds)
                )

        if asked.bad and refusing:
            log()
            position = min(asked.bad)
            raise RequestError(asked.bad[position].message(position + 1), status=HTTPStatus.BAD_REQUEST)
        cuts = _cuts(asked.sizes + asked.products * _BLOCK_ROWS // _BLOCK_PRODUCTS, rows=_BLOCK_ROWS)
        texts = self._texts(asked, cuts, answer_format)
        blocks = _joined(texts, trailing_newline=self._settings.trailing_newline, at_end=log)
        if len(cuts) == 2:
            return list(blocks)
        first = next(blocks, b"")
        return itertools.chain([first], blocks)

    def _checked(self, records: Records, *, answer_format: Format) -> _Asked:
        """Look all records up, and find those that this model or this format cannot answer."""
        queries, bad = records.queries, dict(records.bad)
        # Nothing else of a record is for a model to judge, and most records have neither.
        to_judge = [position for position, query in queries.others.items() if query.history or query.explain]
        for position in to_judge:
            if misfit := self._answering.misfit(queries[position]):
                bad[position] = _unfit(queries[position], misfit)
        if len(bad) > len(records.bad):
            queries = queries.replaced({position: NOTHING for position in bad})
        resolved = self._answering.resolve(queries)
        ends = bytes_of(queries.labels())[1]
        lengths = ends[1:] - ends[:-1]
        nobody: list[int] = []
        if (resolved.users < 0).any():
            nobody = [position for position in np.flatnonzero(resolved.nobody).tolist() if position not in bad]
            if self._settings.unknown_users == "error":
                bad |= {position: _nobody(queries[position]) for position in nobody}
            unnamed = (resolved.users < 0) & (resolved.items < 0)
            for position in np.flatnonzero(unnamed & (lengths > _LONGEST_UNKNOWN)).tolist():
                if len(queries[position].label or "") > _LONGEST_UNKNOWN:
                    bad.setdefault(position, _endless_label(queries[position]))
        sizes, reasons = self._sizes(resolved, lengths, answer_format=answer_format)
        products = np.zeros(len(queries), dtype=np.int64)
        if to_judge:
            if answer_format == "csv":
                explained = (position for position in to_judge if queries[position].explain)
                bad |= {position: _unexplainable(queries[position]) for position in explained}
            for position in np.flatnonzero(reasons > _MOST_PRODUCTS).tolist():
                bad.setdefault(position, _endless_reasons(queries[position]))
            for_items, beside = self._answering.fold_in_products(resolved)
            for position in np.flatnonzero(for_items > _MOST_FOLD_IN_PRODUCTS).tolist():
                bad.setdefault(position, _endless_history(queries[position]))
            products = for_items + beside
        for position in np.flatnonzero(sizes > _MOST_ROWS).tolist():
            bad.setdefault(position, _endless_answer(queries[position], int(sizes[position])))
        replaced = dict.fromkeys(bad, NOTHING)
        if self._settings.unknown_users == "empty":
            replaced = {p: queries[p]._replace(item_ids=(), explain=0) for p in nobody} | replaced
        if bad:
            sizes[list(bad)], products[list(bad)] = _BAD_RECORD_ROWS, 0
        return _Asked(
            resolved=resolved.replaced(replaced),
            sizes=sizes,
            products=products,
            bad=bad,
            nobody=len(nobody),
        )

    def _sizes(
        self, resolved: Resolved, label_bytes: NDArray[np.int64], *, answer_format: Format
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how large each answer may be, in rows of ordinary length, and the multiplications for its reasons."""
        queries = resolved.queries
        rows = self._answering.most_rows(resolved)
        sizes, products = rows, np.zeros(len(rows), dtype=np.int64)
        if queries.others:
            histories = self._answering.history_lengths(resolved)
            explain = queries.column("explain")
            sizes = rows * (1 + np.minimum(explain, histories)) * (1 + self._detail_rows * queries.column("titles"))
            products = np.where(explain > 0, rows * histories * self._answering.embedding_dim, 0)
        if answer_format == "csv":
            sizes = rows
            if (label_bytes >= _ROW_CHARACTERS).any():
                sizes = rows * (1 + pc.utf8_length(queries.labels()).to_numpy() // _ROW_CHARACTERS)
        return _RECORD_ROWS + sizes + self._answering.seen_lengths(resolved) // _HISTORY_ROW_ENTRIES, products

    def _texts(self, asked: _Asked, cuts: Sequence[int], answer_format: Format) -> Iterator[bytes]:
        """Write the blocks between the cuts, each line ended by a newline."""
        for start, end in itertools.pairwise(cuts):
            answers = self._answering.answer(asked.resolved.part(start, end), exclude_seen=self._exclude_seen)
            bad = {position - start: asked.bad[position] for position in range(start, end) if position in asked.bad}
            block = Block(answers=answers, bad=bad, first_number=start + 1)
            yield RENDERERS[answer_format](
                block,
                users=self._users,
                items=self._items,
                details=self._details,
                labels=self._answering.labels,
            )


def _rows_of_details(details: ItemDetails) -> int:
    """Return how large the texts of the item with the longest are, in rows of ordinary length."""
    longest = sum(pc.max(pc.binary_length(column)).as_py() or 0 for column in details.columns.values())
    return 1 + int(longest) // _ROW_CHARACTERS


def _unfit(query: Query, misfit: Misfit) -> BadRecord:
    return BadRecord(
        misfit.problem,
        field=misfit.field + ("" if misfit.item_id is None else place_of(misfit.item_id)),
        value=Bare(repr(misfit.value).removesuffix(".0")),
        label=_label(query),
    )


def _unexplainable(query: Query) -> BadRecord:
    return BadRecord(
        "cannot be answered in CSV, whose rows have no place for reasons: ask for JSON Lines with"
        " Accept: application/jsonlines, or leave the field out",
        field="explain",
        value=Bare(query.explain),
        label=_label(query),
    )


def _endless_reasons(query: Query) -> BadRecord:
    return BadRecord(
        "would take minutes for so many items and so long a history: ask for fewer items, or send a shorter history",
        field="explain",
        value=Bare(query.explain),
        label=_label(query),
    )


def _endless_history(query: Query) -> BadRecord:
    return BadRecord(
        f"has {len(query.history or ()):,} items, and would take minutes to fold in to this model: send a shorter one",
        field="history" if query.sequence_id is None else "sequence",
        label=_label(query),
    )


def _endless_answer(query: Query, rows: int) -> BadRecord:
    name, value = ("top_n", Bare(query.top_n)) if query.item_ids is None else ("item_ids", Bare("[...]"))
    return BadRecord(
        f"may make an answer of {rows * _ROW_CHARACTERS:,} characters, and one record may have"
        f" {_MOST_ROWS * _ROW_CHARACTERS:,}: ask for fewer items, for fewer reasons, or without titles",
        field=name,
        value=value,
        label=_label(query),
    )


def _nobody(query: Query) -> BadRecord:
    if query.history is None:
        return BadRecord(
            "is unknown: send users of the training data, or set UNKNOWN_USERS=mean or empty",
            field="user_id",
            value=shortened(query.label or ""),
            label=_label(query),
        )
    return BadRecord(
        "holds no item of the training data: send one that does, or set UNKNOWN_USERS=mean or empty",
        field="history" if query.sequence_id is None else "sequence",
        label=_label(query),
    )


def _endless_label(query: Query) -> BadRecord:
    text = query.label or ""
    return BadRecord(
        f"is unknown and has {len(text):,} characters: every row of its answer would repeat it, so at most"
        f" {_LONGEST_UNKNOWN:,} are allowed",
        field=query.label_field,
        value=shortened(text),
        label=_label(query),
    )


def _label(query: Query) -> tuple[str, str] | None:
    if query.label_field is None or query.label is None:
        return None
    text = query.label
    return query.label_field, text if len(text) <= _LONGEST_UNKNOWN else shortened(text)


def _cuts(counts: NDArray[np.int64], *, rows: int) -> list[int]:
    """Cut records into blocks of at most `rows` rows, or of one record; the first cut is 0, the last the end."""
    ends, cuts = np.cumsum(counts), [0]
    if len(ends) and ends[-1] <= rows:
        return [0, len(counts)]
    while cuts[-1] < len(counts):
        begun = int(ends[cuts[-1] - 1]) if cuts[-1] else 0
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, begun + rows, side="right"))))
    return cuts if len(cuts) > 1 else [0, len(counts)]


def _joined(texts: Iterable[bytes], *, trailing_newline: bool, at_end: Callable[[], None]) -> Iterator[bytes]:
    """Join blocks of lines so that a newline stands between lines, and after the last one where it is wanted."""
    begun = False
    for text in texts:
        if text:
            yield b"\n" + text[:-1] if begun else text[:-1]
            begun = True
    if begun and trailing_newline:
        yield b"\n"
    at_end()
