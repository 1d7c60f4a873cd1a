"""How good a model is for users who are described by hand: histories, and what should be recommended for them.

A line of a file of queries is a JSON object: `history`, as in a request; `relevant`, the ids of the items that a good
model recommends for it; and, where it helps, a `name`::

    {"name": "a horror fan", "history": ["219", "448"], "relevant": ["200", "185"]}
"""

from __future__ import annotations

import codecs
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from factorbox.commands.evaluate import require_k
from factorbox.errors import PlatformError, UserError
from factorbox.evaluation.popularity import Popularity
from factorbox.evaluation.ranking import Relevant, UserMetrics, top_items_matrix, user_metrics
from factorbox.recommend.lists import Lists
from factorbox.recommend.queries import History, Query
from factorbox.recommender import Recommender
from factorbox.report.labels import shortened
from factorbox.serving.fields import BadValueError, Id, Ids, Kind, Likings
from factorbox.serving.values import JsonFields, JsonInteger, JsonNumber, quoted, raw_text

_FIELDS: Mapping[str, Kind] = {"name": Id("the query"), "history": Likings(), "relevant": Ids()}
_EXAMPLE = '{"name": "a horror fan", "history": ["219", "448"], "relevant": ["200", "185"]}'
_SHOWN = ("precision", "recall", "ndcg")
_BLOCK_QUERIES = 1024
_LIKE_EVERYBODY = "no known item in its history: ranked as for everybody"


@dataclass(frozen=True)
class JudgedQuery:
    """One line of a file of queries.

    Attributes
    ----------
    line
        Its number in the file, from 1.
    name
        Its own name, or its line.
    history
        What the user is folded in from; never recommended again.
    relevant
        Distinct ids of the items that a good model recommends, in the order given; at least one, and none of `history`.
    """

    line: int
    name: str
    history: History
    relevant: Sequence[str]

    @property
    def label(self) -> str:
        """What tables call it: its name on one line, without what cannot be printed."""
        return shortened(self.name) or f"line {self.line}"


@dataclass(frozen=True, eq=False)
class JudgedQueries:
    """How good a model is for each of several queries, beside the ranking by popularity.

    Attributes
    ----------
    queries
        What was asked.
    unknown_history, unknown_relevant
        For each query, how many ids the model does not know: those of the history are ignored, those of the relevant
        items are missed.
    like_everybody
        For each query, whether the model knows nothing of its history, so that it ranks as for the mean user.
    model, most_popular
        Metrics of each query.
    """

    queries: Sequence[JudgedQuery]
    unknown_history: Sequence[int]
    unknown_relevant: Sequence[int]
    like_everybody: Sequence[bool]
    model: UserMetrics
    most_popular: UserMetrics

    def table(self) -> str:
        """Return the metrics of each query and their means as a table of text."""
        k = self.model.k
        rows = [("query", *(f"{name}@{k}" for name in _SHOWN))]
        rows += [(query.label, *_texts(self.model, at)) for at, query in enumerate(self.queries)]
        rows += [("mean", *_texts(self.model, None)), ("mean of most popular", *_texts(self.most_popular, None))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(text.rjust(width) if at else text.ljust(width) for at, (text, width) in enumerate(cells))
            for cells in (list(zip(row, widths, strict=True)) for row in rows)
        ]
        for at, alike in enumerate(self.like_everybody, start=1):
            lines[at] += f"  {_LIKE_EVERYBODY}" if alike else ""
        return "\n".join([*lines, *self._unknown()])

    def _unknown(self) -> Iterator[str]:
        for counts, place, effect in (
            (self.unknown_history, "history", "ignored"),
            (self.unknown_relevant, "relevant", "counted as missed"),
        ):
            if total := sum(counts):
                names = [query.label for query, count in zip(self.queries, counts, strict=True) if count]
                others = f" and {len(names) - 1} more" if len(names) > 1 else ""
                ids = "1 id" if total == 1 else f"{total:,} ids"
                yield f"Not known to the model: {ids} in {place}, {effect} (in {names[0]}{others})."

    def record(self) -> dict[str, Any]:
        """Return all numbers as JSON values."""
        return {
            "k": self.model.k,
            "queries": [
                {
                    "line": query.line,
                    "name": query.name,
                    **_numbers(self.model, at),
                    "most_popular": _numbers(self.most_popular, at),
                    "relevant": len(query.relevant),
                    "unknown_history": self.unknown_history[at],
                    "unknown_relevant": self.unknown_relevant[at],
                    "like_everybody": self.like_everybody[at],
                }
                for at, query in enumerate(self.queries)
            ],
            "mean": _numbers(self.model, None),
            "mean_of_most_popular": _numbers(self.most_popular, None),
        }


def judge(model: Recommender, queries: Sequence[JudgedQuery], *, k: int) -> JudgedQueries:
    """Rank for each query and measure the rankings by its relevant items.

    Parameters
    ----------
    queries
        At least one.
    k
        Length of the rankings.

    Raises
    ------
    UserError
        Where k is more than the items of the model.
    AlgorithmError
        Where a history cannot be folded in.
    """
    require_k(k, model=model)
    popularity = Popularity.of(model.history.indices, n_items=len(model.item_ids), available=model.available)
    of_model, of_popularity, ignored, alike = [], [], [], []
    for start in range(0, len(queries), _BLOCK_QUERIES):
        asked = [Query(history=query.history, top_n=k) for query in queries[start : start + _BLOCK_QUERIES]]
        resolved = model.answering.resolve(asked)
        ranking = model.answering.answer(resolved, exclude_seen=True).ranking
        of_model.append(top_items_matrix(ranking.indptr, ranking.item_indices, k=k))
        of_popularity.append(popularity.top_items(Lists.of(resolved.given), k=k))
        ignored += [int(count) for count in resolved.ignored]
        alike += [bool(nobody) for nobody in resolved.nobody]
    relevant, unknown = _relevant(model, queries)
    rows = np.arange(len(queries))
    return JudgedQueries(
        queries=queries,
        unknown_history=ignored,
        unknown_relevant=unknown,
        like_everybody=alike,
        model=user_metrics(np.concatenate(of_model), user_indices=rows, relevant=relevant, k=k),
        most_popular=user_metrics(np.concatenate(of_popularity), user_indices=rows, relevant=relevant, k=k),
    )


def _relevant(model: Recommender, queries: Sequence[JudgedQuery]) -> tuple[Relevant, list[int]]:
    """Return the relevant items of each query, and how many of them the model does not know."""
    owners = np.repeat(np.arange(len(queries)), [len(query.relevant) for query in queries])
    items = model.item_ids.indices_of([item_id for query in queries for item_id in query.relevant])
    unknown = items < 0
    # Each under an index of its own, behind those of the model: nothing hits it, and it counts.
    items[unknown] = len(model.item_ids) + np.arange(np.count_nonzero(unknown))
    counts = np.bincount(owners[unknown], minlength=len(queries))
    return Relevant.from_pairs(owners, items, n_users=len(queries)), counts.tolist()


def read_queries(path: Path, model: Recommender) -> list[JudgedQuery]:
    """Read a file of queries; blank lines do not count.

    Raises
    ------
    UserError
        For the first line that is no query; the message names file, line, field and remedy.
    PlatformError
        Where the file cannot be read.
    """
    try:
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"there is no file {path}: give one with a query a line, such as {_EXAMPLE}") from None
    except OSError as error:
        raise PlatformError(f"cannot read {path}: {error.strerror}") from None
    queries = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                queries.append(_query(line, number=number, model=model))
            except _BadQueryError as error:
                raise UserError(f"{path} line {number}: {error}") from None
    if not queries:
        raise UserError(f"{path} holds no query: write one a line, such as {_EXAMPLE}")
    return queries


class _BadQueryError(Exception):
    """What is wrong with a line."""


def _query(line: bytes, *, number: int, model: Recommender) -> JudgedQuery:
    values = {name: _read(name, value) for name, value in _fields(line).items()}
    for name in ("history", "relevant"):
        if not values.get(name):
            lack = "is empty" if name in values else "is missing"
            raise _BadQueryError(f"{name} {lack}: give at least one item, as in {_EXAMPLE}")
    history: History = values["history"]
    relevant = list(dict.fromkeys(values["relevant"]))
    if both := set(history).intersection(relevant):
        item = next(item for item in relevant if item in both)
        raise _BadQueryError(
            f"relevant {quoted(item)} is in history too, and what is in the history is never recommended: leave it out"
            " of one of them"
        )
    if misfit := model.answering.misfit(Query(history=history)):
        raise _BadQueryError(f"history[{quoted(misfit.item_id or '')}] {misfit.value:g} {misfit.problem}")
    return JudgedQuery(number, values.get("name", f"line {number}"), history, relevant)


def _fields(line: bytes) -> JsonFields:
    try:
        document = _DECODER.decode(line.decode().strip())
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _BadQueryError(f"is not JSON ({error}): give an object, such as {_EXAMPLE}") from None
    if not isinstance(document, JsonFields):
        raise _BadQueryError(f"{quoted(raw_text(line.strip()))} is no JSON object: give one, such as {_EXAMPLE}")
    if document.repeated is not None:
        raise _BadQueryError(f"{quoted(document.repeated)} is there twice: give each field once")
    return document


def _read(name: str, value: object) -> Any:
    if name not in _FIELDS:
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        meant = f"did you mean {near[0]}?" if near else f"the fields of a query are {', '.join(_FIELDS)}"
        raise _BadQueryError(f"unknown field {quoted(name)}: {meant}")
    try:
        return _FIELDS[name].read(value)
    except BadValueError as error:
        raise _BadQueryError(f"{name}{error.place} {quoted(error.value)} {error.problem}") from None


def _constant(name: str) -> object:
    """Refuse NaN and the infinities, which Python's decoder knows and JSON does not."""
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=JsonFields, parse_float=JsonNumber, parse_int=JsonInteger, parse_constant=_constant
)


def _numbers(metrics: UserMetrics, at: int | None) -> dict[str, float]:
    """Return what is shown of a query, or of the mean of all."""
    each = ((name, getattr(metrics, name)) for name in _SHOWN)
    return {f"{name}@{metrics.k}": float(values.mean() if at is None else values[at]) for name, values in each}


def _texts(metrics: UserMetrics, at: int | None) -> list[str]:
    return [f"{value:.4f}" for value in _numbers(metrics, at).values()]
