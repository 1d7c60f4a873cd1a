"""Blocks of answers made by hand, for tests of how they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.recommend.answers import UNKNOWN_ITEM, Answers, Explanations
from factorbox.recommend.queries import Queries, Query
from factorbox.recommend.top_n import Ranking
from factorbox.serving.answers import Block, EscapedIds, render_csv, render_json
from factorbox.serving.queries import BadRecord


class Reason(NamedTuple):
    """One item of a history that explains a row."""

    item: int
    influence: float
    impact: float


@dataclass(frozen=True)
class Row:
    """One row of an answer; a baseline is there where it is explained."""

    index: int
    score: float
    baseline: float = float("nan")
    own_impact: float = float("nan")
    reasons: Sequence[Reason] = ()


@dataclass(frozen=True)
class Answered:
    """A query and its answer."""

    query: Query
    rows: Sequence[Row] = ()
    known: bool = True
    ignored: int = 0


Recorded = Answered | BadRecord


@dataclass(frozen=True)
class Model:
    """The names of a model."""

    users: Sequence[str]
    items: Sequence[str]
    details: Mapping[str, Sequence[str | None]] | None = None
    labels: bool = False

    @property
    def user_ids(self) -> Ids:
        return Ids.from_texts(self.users)

    @property
    def item_ids(self) -> Ids:
        return Ids.from_texts(self.items)

    @property
    def item_details(self) -> ItemDetails | None:
        if self.details is None:
            return None
        return ItemDetails({name: pa.array(texts, pa.large_string()) for name, texts in self.details.items()})

    def csv(self, block: Block) -> bytes:
        return self._rendered(render_csv, block)

    def json(self, block: Block) -> bytes:
        return self._rendered(render_json, block)

    def _rendered(self, render: Callable[..., bytes], block: Block) -> bytes:
        users, items = EscapedIds(self.user_ids), EscapedIds(self.item_ids)
        return render(block, users=users, items=items, details=self.item_details, labels=self.labels)


def unknown_row() -> Row:
    """Stand for an unknown id among `item_ids`."""
    return Row(UNKNOWN_ITEM, float("nan"))


def block_of(records: Sequence[Recorded], *, first_number: int = 7) -> Block:
    """Put records and their answers into columns."""
    answered = [_nothing() if isinstance(record, BadRecord) else record for record in records]
    rows = [row for answer in answered for row in answer.rows]
    answers = Answers(
        queries=Queries.of([answer.query for answer in answered]),
        known=np.array([answer.known for answer in answered], dtype=np.bool_),
        ignored=np.array([answer.ignored for answer in answered], dtype=np.int64),
        ranking=Ranking(
            _starts([len(answer.rows) for answer in answered]),
            np.array([row.index for row in rows], dtype=np.int32),
            np.array([row.score for row in rows], dtype=np.float32),
        ),
        explanations=None,
    )
    if any(answer.query.explain for answer in answered):
        answers = replace(answers, explanations=_explanations(rows))
    bad = {position: record for position, record in enumerate(records) if isinstance(record, BadRecord)}
    return Block(answers=answers, bad=bad, first_number=first_number)


def _nothing() -> Answered:
    return Answered(Query(item_ids=()))


def _explanations(rows: Sequence[Row]) -> Explanations:
    reasons = [reason for row in rows for reason in row.reasons]
    return Explanations(
        indptr=_starts([len(row.reasons) for row in rows]),
        item_indices=np.array([reason.item for reason in reasons], dtype=np.int32),
        influences=np.array([reason.influence for reason in reasons], dtype=np.float32),
        impacts=np.array([reason.impact for reason in reasons], dtype=np.float32),
        baselines=np.array([row.baseline for row in rows], dtype=np.float32),
        own_impacts=np.array([row.own_impact for row in rows], dtype=np.float32),
    )


def _starts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
