"""Answers as pandas frames, and the ids of frames as texts; pandas is imported when it is first needed.

The image that serves has no pandas. Columns are gathered in Arrow and become a frame in one step.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox.arguments import as_id, not_an_id, shown
from factorbox.data.columns import SPELLINGS, Role, normalized
from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.errors import PlatformError, UserError
from factorbox.recommend.answers import Answers, Explanations
from factorbox.recommend.lists import ranges, starts_of
from factorbox.recommend.traits import LEAST_LIKELY

if TYPE_CHECKING:
    import pandas

_TEXT = pa.large_string()
_SHOWN_COLUMNS = 8


def require_pandas() -> Any:
    """Return pandas.

    Raises
    ------
    PlatformError
        Where it is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ModuleNotFoundError as error:
        raise PlatformError(
            f"answers in Python are pandas frames, and {error.name} is not installed: pip install {error.name}"
        ) from None


def framed(tables: Iterable[pa.Table]) -> pandas.DataFrame:
    """Return tables of the same columns, one after another, as one frame."""
    # Labels stay whole numbers beside missing ones.
    kinds = {pa.int8(): require_pandas().Int8Dtype()}
    return pa.concat_tables(tables).to_pandas(types_mapper=kinds.get)


def ranking_table(
    answers: Answers,
    *,
    columns: tuple[str, str],
    ids: Ids,
    details: ItemDetails | None = None,
    labelled: bool = False,
) -> pa.Table:
    """Return one row for each row of the answers' rankings.

    Parameters
    ----------
    columns
        What the column of the labels and that of what is ranked are called; `score` stands behind them.
    ids
        Of what is ranked.
    details
        Adds their columns, null for an item without a row.
    labelled
        Whether the scores are probabilities, so that `predicted_label` stands behind them; null for no score.
    """
    ranking = answers.ranking
    table = _ranked(answers, columns=columns, ids=ids, labelled=labelled)
    if details is not None:
        table |= _details_of(details, ranking.item_indices, prefix="", taken=[*table])
    return pa.table(table)


def reasons_table(
    answers: Answers, *, item_ids: Ids, details: ItemDetails | None = None, labelled: bool = False
) -> pa.Table:
    """Return one row for each reason of each explained item; an item without reasons has one row without any.

    `labelled` and `details` are those of `ranking_table`.
    """
    ranking, found = answers.ranking, answers.explanations or _NO_EXPLANATIONS
    counts = np.diff(found.indptr)
    lengths = np.maximum(counts, 1)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    # The position of a row's reason; −1 is that of the missing one, which is appended to each column.
    reasons = np.full(len(rows), -1, dtype=np.int64)
    reasons[ranges(starts_of(lengths)[:-1], counts)] = np.arange(len(found.impacts))
    because = np.append(found.item_indices, np.int32(-1))[reasons]
    nothing = np.float32(np.nan)
    ranked = _ranked(answers, columns=("user_id", "item_id"), ids=item_ids, labelled=labelled)
    table = {name: column.take(pa.array(rows)) for name, column in ranked.items()}
    table |= {
        "baseline": pa.array(found.baselines[rows]),
        "own_impact": pa.array(found.own_impacts[rows]),
        "because_item_id": _taken(item_ids.texts, because),
        "influence": pa.array(np.append(found.influences, nothing)[reasons]),
        "impact": pa.array(np.append(found.impacts, nothing)[reasons]),
    }
    if details is not None:
        table |= _details_of(details, ranking.item_indices[rows], prefix="", taken=[*table])
        table |= _details_of(details, because, prefix="because_", taken=[*table])
    return pa.table(table)


class CodedIds(NamedTuple):
    """A column of ids.

    Attributes
    ----------
    texts
        The distinct ids.
    codes
        int64, (rows,): which of them each row has.
    """

    texts: list[str]
    codes: NDArray[np.int64]


def ids_in(frame: pandas.DataFrame, role: Role, *, named: str | None) -> CodedIds:
    """Return the ids of a frame's users or items.

    Parameters
    ----------
    role
        Whose ids.
    named
        The column that the training was told to take; it counts where the frame has it. Otherwise the column is
        found as in training.

    Raises
    ------
    UserError
        Where there is no such column, or two, or it holds something that is no id.
    """
    position = _position(list(getattr(frame, "columns", ())), role, named=named)
    column = frame.iloc[:, position]
    _check_types(column)
    codes, distinct = require_pandas().factorize(column)
    if (codes < 0).any():
        raise _not_an_id(column, int(np.argmin(codes)))
    texts = []
    for code, value in enumerate(distinct.tolist()):
        text = as_id(value)
        if text is None:
            raise _not_an_id(column, int(np.argmax(codes == code)))
        texts.append(text)
    return CodedIds(texts, codes)


def _ranked(answers: Answers, *, columns: tuple[str, str], ids: Ids, labelled: bool) -> dict[str, pa.Array]:
    ranking = answers.ranking
    owners = np.repeat(np.arange(len(answers.queries)), np.diff(ranking.indptr))
    labels = answers.queries.labels()
    if (ranking.item_indices < 0).any():
        # Only given pairs have unknown items, and all queries of a call are of one kind.
        ranked = pa.array([item_id for query in answers.queries for item_id in query.item_ids or ()], type=_TEXT)
    else:
        ranked = ids.texts.take(pa.array(ranking.item_indices))
    table = {columns[0]: labels.take(pa.array(owners)), columns[1]: ranked, "score": pa.array(ranking.scores)}
    if labelled:
        likes = (ranking.scores >= LEAST_LIKELY).astype(np.int8)
        table["predicted_label"] = pa.array(likes, mask=np.isnan(ranking.scores))
    return table


def _details_of(
    details: ItemDetails, item_indices: NDArray[np.int32], *, prefix: str, taken: Sequence[str]
) -> Mapping[str, pa.Array]:
    """Return the columns of the channel `items`, under names that are not taken."""
    columns = {}
    for name, texts in details.columns.items():
        free = prefix + name
        while free in taken or free in columns or (free != prefix + name and free in details.columns):
            free = f"item_{free}"
        columns[free] = _taken(texts, item_indices)
    return columns


def _taken(texts: pa.LargeStringArray, indices: NDArray[np.int32]) -> pa.LargeStringArray:
    """Return some texts; null for a negative index."""
    return texts.take(pa.array(indices, mask=indices < 0))


def _position(columns: Sequence[object], role: Role, *, named: str | None) -> int:
    """Return where a frame has the ids of a role."""
    found = [k for k, column in enumerate(columns) if named is not None and column == named]
    if not found:
        spellings = {normalized(spelling) for spelling in SPELLINGS[role]}
        found = [k for k, column in enumerate(columns) if isinstance(column, str) and normalized(column) in spellings]
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(repr(columns[k]) for k in found)
        raise UserError(f"the frame has {len(found)} {role} columns, {both}: drop all but one")
    listed = ", ".join(repr(column) for column in columns[:_SHOWN_COLUMNS]) or "none"
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    raise UserError(
        f"no {role} column in the frame, whose columns are {listed}{more}: give a pandas frame with one called"
        f" {SPELLINGS[role][0]}"
    )


def _check_types(column: pandas.Series) -> None:
    """Refuse what is no id while its type tells: equal values of several types would be taken for the first."""
    if str(column.dtype) != "object":
        return
    values = column.tolist()
    suspects = {kind for kind in set(map(type, values)) if not issubclass(kind, str | int) or kind is bool}
    for position, value in enumerate(values) if suspects else ():
        if type(value) in suspects and as_id(value) is None:
            raise _not_an_id(column, position)


def _not_an_id(column: pandas.Series, position: int) -> UserError:
    return not_an_id(column.iloc[position], place=f"{column.name} of row {shown(column.index[position])}")


_NO_EXPLANATIONS = Explanations(
    indptr=np.zeros(1, dtype=np.int64),
    item_indices=np.zeros(0, dtype=np.int32),
    influences=np.zeros(0, dtype=np.float32),
    impacts=np.zeros(0, dtype=np.float32),
    baselines=np.zeros(0, dtype=np.float32),
    own_impacts=np.zeros(0, dtype=np.float32),
)
