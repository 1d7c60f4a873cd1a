"""One plain record about a known user, which is what an endpoint is mostly asked: the straight way to its answer.

It is for what the ways of a whole payload would cost beside the ranking of one user: columns, lists and tables of one
row. The bytes are the same; whatever is not plain goes those ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import orjson
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.recommend.answering import Answering
from factorbox.recommend.queries import Query
from factorbox.recommend.top_n import Ranking
from factorbox.recommend.traits import LEAST_LIKELY
from factorbox.serving import csv_payload, json_payload
from factorbox.serving.answers import EscapedIds, finite_list
from factorbox.serving.media_types import Format
from factorbox.serving.texts import csv_field

_LONGEST = 1024
_MOST_ROWS = 100
"""More are faster by the column."""


class SingleRecords:
    """Answers bodies of one plain record; used by all threads of a process.

    Parameters
    ----------
    answering
        What ranks.
    user_ids
        The users of the model.
    items
        Its items.
    exclude_seen
        For records that do not say.
    """

    def __init__(self, answering: Answering, *, user_ids: Ids, items: EscapedIds, exclude_seen: bool) -> None:
        self._answering = answering
        self._user_ids = user_ids
        self._items = items
        self._exclude_seen = exclude_seen

    def answer(self, body: bytes, *, request_format: Format, answer_format: Format) -> bytes | None:
        """Return the lines of the answer, each ended by a newline, None where the body is to go the other way.

        Raises
        ------
        AlgorithmError
            Where a score is not finite.
        """
        query = _READERS[request_format](body) if len(body) <= _LONGEST else None
        if query is None or not query.is_plain or query.user_id is None or query.top_n > _MOST_ROWS:
            return None
        user = self._user_ids.index_of(query.user_id)
        if user < 0:
            return None
        exclude_seen = self._exclude_seen if query.exclude_seen is None else query.exclude_seen
        ranking = self._answering.best_of_user(user, top_n=query.top_n, exclude_seen=exclude_seen)
        return self._csv(query.user_id, ranking) if answer_format == "csv" else self._json(query.user_id, ranking)

    def _csv(self, user_id: str, ranking: Ranking) -> bytes:
        head = csv_field(user_id)
        rows = zip(_taken(self._items.csv_bytes, ranking), _score_texts(ranking), strict=True)
        return b"".join([b"%b,%b,%b\n" % (head, item_id, score) for item_id, score in rows])

    def _json(self, user_id: str, ranking: Ranking) -> bytes:
        labels = [b""] * len(ranking.scores)
        if self._answering.labels:
            labels = [b',"predicted_label":%d' % (score >= LEAST_LIKELY) for score in ranking.scores.tolist()]
        rows = zip(_taken(self._items.json_bytes, ranking), _score_texts(ranking), labels, strict=True)
        return b'{"user_id":%b,"recommendations":[%b]}\n' % (
            orjson.dumps(user_id),
            b",".join([b'{"item_id":"%b","score":%b%b}' % row for row in rows]),
        )


def _json_query(body: bytes) -> Query | None:
    line = body.rstrip(json_payload.BLANK)
    return None if b"\n" in line or not line else json_payload.fast_record(line)


def _csv_query(body: bytes) -> Query | None:
    line = body.rstrip(b"\r\n")
    return None if b"\n" in line or line in csv_payload.HEADERS else csv_payload.fast_record(line)


_READERS: Mapping[Format, Callable[[bytes], Query | None]] = {"csv": _csv_query, "json": _json_query}


def _taken(ids: tuple[NDArray[np.uint8], NDArray[np.int64]], ranking: Ranking) -> list[bytes]:
    """Return the ids of the rows."""
    data, ends = ids
    starts, stops = ends[ranking.item_indices].tolist(), ends[ranking.item_indices + 1].tolist()
    return [data[start:stop].tobytes() for start, stop in zip(starts, stops, strict=True)]


def _score_texts(ranking: Ranking) -> list[bytes]:
    return finite_list(ranking.scores)[1:-1].split(b",") if len(ranking.scores) else []
