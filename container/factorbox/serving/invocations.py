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
from numpy.typing import NDArray

from factorbox.contract.log_lines import line
from factorbox.data.ids import Ids
from factorbox.recommend.top_n import Ranking
from factorbox.serving.answers import RENDERERS, Block, EscapedIds
from factorbox.serving.csv_payload import parse_csv
from factorbox.serving.json_payload import parse_json
from factorbox.serving.media_types import Format
from factorbox.serving.queries import BadRecord, Query, Record, shortened
from factorbox.serving.refusals import RequestError
from factorbox.serving.settings import Settings

_PARSERS: dict[Format, Callable[..., list[Record]]] = {"csv": parse_csv, "json": parse_json}

# Rows of one block of an answer, some ten megabytes of text; a request that fits is answered in one piece. A row
# with a long user id counts as several.
_BLOCK_ROWS = 1 << 18
_ROW_CHARACTERS = 64
_LONGEST_UNKNOWN = 2048
_LOGGED_RECORDS = 100

_logger = logging.getLogger(__name__)


class Recommends(Protocol):
    """What serving needs of a model (`factorbox.recommender.Recommender`)."""

    @property
    def user_ids(self) -> Ids:
        """The users."""
        ...

    @property
    def item_ids(self) -> Ids:
        """The items."""
        ...

    @property
    def exclude_seen(self) -> bool:
        """The default kept with the model."""
        ...

    def warm_up(self) -> None:
        """Make the first product of this process."""
        ...

    def top_n(
        self, user_indices: NDArray[np.int64], *, counts: NDArray[np.int64], exclude_seen: NDArray[np.bool_]
    ) -> Ranking:
        """Rank items for each user; index −1 is the mean user."""
        ...


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
        self._recommender = recommender
        self._settings = settings
        self._items = EscapedIds(recommender.item_ids)
        self._exclude_seen = recommender.exclude_seen if settings.exclude_seen is None else settings.exclude_seen

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
        refusing = self._settings.bad_records == "error"
        records = _PARSERS[request_format](body.removeprefix(codecs.BOM_UTF8), stop_at_bad=refusing)
        if not records:
            return None
        users = self._recommender.user_ids.indices_of([record.user_id or "" for record in records])
        unknown = [position for position in np.flatnonzero(users < 0).tolist() if isinstance(records[position], Query)]
        for position in unknown:
            if self._settings.unknown_users == "error":
                records[position] = _unknown_user(records[position])
            elif len(records[position].user_id or "") > _LONGEST_UNKNOWN:
                records[position] = _endless_user(records[position])
        bad = [(number, record) for number, record in enumerate(records, 1) if isinstance(record, BadRecord)]

        def log() -> None:
            if len(records) > _LOGGED_RECORDS:
                seconds = time.monotonic() - start
                _logger.info(
                    line(
                        records=len(records),
                        unknown_users=len(unknown),
                        bad_records=len(bad),
                        seconds=seconds,
                    )
                )

        if bad and refusing:
            log()
            number, record = bad[0]
            raise RequestError(record.message(number), status=HTTPStatus.BAD_REQUEST)
        wanted = self._wanted(records, users)
        cuts = _cuts(_weights(records, wanted.counts), rows=_BLOCK_ROWS)
        texts = self._texts(records, wanted, cuts, answer_format)
        blocks = _joined(texts, trailing_newline=self._settings.trailing_newline, at_end=log)
        if len(cuts) == 2:
            return list(blocks)
        first = next(blocks, b"")
        return itertools.chain([first], blocks)

    def _wanted(self, records: Sequence[Record], users: NDArray[np.int64]) -> _Wanted:
        """Say for each record which ranking to make."""
        n_items, exclude_seen = len(self._recommender.item_ids), self._exclude_seen
        counts = [min(record.top_n, n_items) if isinstance(record, Query) else 0 for record in records]
        exclude = [
            record.exclude_seen if isinstance(record, Query) and record.exclude_seen is not None else exclude_seen
            for record in records
        ]
        wanted = _Wanted(users=users, counts=np.array(counts, dtype=np.int64), exclude_seen=np.array(exclude))
        if self._settings.unknown_users == "empty":
            wanted.counts[users < 0] = 0
        return wanted

    def _texts(
        self, records: Sequence[Record], wanted: _Wanted, cuts: Sequence[int], answer_format: Format
    ) -> Iterator[bytes]:
        """Write the blocks between the cuts, each line ended by a newline."""
        for start, end in itertools.pairwise(cuts):
            block = Block(
                records=records[start:end],
                known=wanted.users[start:end] >= 0,
                ranking=self._ranking(wanted, slice(start, end)),
                first_number=start + 1,
            )
            yield RENDERERS[answer_format](block, items=self._items)

    def _ranking(self, wanted: _Wanted, block: slice) -> Ranking:
        """Rank for the records of a block; those that want nothing get nothing."""
        counts = wanted.counts[block]
        asking = counts > 0
        lengths = np.zeros(len(counts), dtype=np.int64)
        if not asking.any():
            return Ranking(_indptr(lengths), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))
        # An unknown user's index −1 is the mean user's.
        ranking = self._recommender.top_n(
            wanted.users[block][asking],
            counts=counts[asking],
            exclude_seen=wanted.exclude_seen[block][asking],
        )
        lengths[asking] = np.diff(ranking.indptr)
        return Ranking(_indptr(lengths), ranking.item_indices, ranking.scores)


@dataclass(frozen=True, eq=False)
class _Wanted:
    """Which rankings a request wants, by record: user index, number of items (0 for none), and the switch."""

    users: NDArray[np.int64]
    counts: NDArray[np.int64]
    exclude_seen: NDArray[np.bool_]


def _unknown_user(record: Record) -> BadRecord:
    return BadRecord(
        "is unknown: send users of the training data, or set UNKNOWN_USERS=mean or empty",
        field="user_id",
        value=shortened(record.user_id or ""),
        user_id=record.user_id,
    )


def _endless_user(record: Record) -> BadRecord:
    user_id = record.user_id or ""
    return BadRecord(
        f"is unknown and has {len(user_id):,} characters: every row of its answer would repeat it, so at most"
        f" {_LONGEST_UNKNOWN:,} are allowed",
        field="user_id",
        value=shortened(user_id),
        user_id=shortened(user_id),
    )


def _weights(records: Sequence[Record], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what each record adds to a block, in rows of ordinary length."""
    lengths = np.array([len(record.user_id or "") for record in records], dtype=np.int64)
    return counts * (1 + lengths // _ROW_CHARACTERS)


def _cuts(counts: NDArray[np.int64], *, rows: int) -> list[int]:
    """Cut records into blocks of at most `rows` rows, or of one record; the first cut is 0, the last the end."""
    cuts, in_block = [0], 0
    for position, count in enumerate(counts.tolist()):
        if in_block and in_block + count > rows:
            cuts.append(position)
            in_block = 0
        in_block += count
    return [*cuts, len(counts)]


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


def _indptr(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
