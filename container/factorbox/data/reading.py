"""Reading the interactions of a channel: all files, checked, as one data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from factorbox.data import csv_fast, csv_strict, parquet
from factorbox.data.activity import Activity
from factorbox.data.batches import Batch, combine
from factorbox.data.columns import SPELLINGS, ReadOptions, Role, normalized
from factorbox.data.feedback import IMPLICIT, Feedback
from factorbox.data.fields import moment
from factorbox.data.files import Source, channel_files, kind_of, opened
from factorbox.data.interactions import Interactions
from factorbox.data.memory import release_unused_memory
from factorbox.errors import UserError

__all__ = ["ReadOptions", "ReadSummary", "read_interactions"]

# One thread unpacks and hands out the blocks: more than this many others would wait for it.
_MAX_THREADS = 8


@dataclass(frozen=True)
class ReadSummary:
    """What was read, for the log.

    Attributes
    ----------
    files
        Files read.
    rows
        Data rows in them, with those that were dropped.
    dropped_below_min_rating
        Rows dropped because their weight is below `min_rating`.
    repeated_rows
        Rows kept beyond one for each user and item: added to the others of the pair or, being ratings, replaced.
    columns
        For each role, the names of its columns, sorted: files may spell them differently.
    smallest_weight, largest_weight
        Of the rows kept; None without a weight column.
    first_time, last_time
        Of the rows kept, in UTC; None without a time column.
    activity
        The rows kept that have a time, by day; None without a time column.
    looks_like_ratings
        Whether the weights seem to be ratings rather than counts: by the name of their column, or because they
        are few whole or half steps up to 10 of which the smallest is not the most frequent.
    """

    files: int
    rows: int
    dropped_below_min_rating: int
    repeated_rows: int
    columns: Mapping[Role, tuple[str, ...]]
    smallest_weight: float | None
    largest_weight: float | None
    first_time: datetime | None
    last_time: datetime | None
    activity: Activity | None
    looks_like_ratings: bool


def read_interactions(
    path: Path,
    *,
    options: ReadOptions,
    feedback: Feedback = IMPLICIT,
    threads: int | None = None,
    keep_times: bool = False,
    with_folder: bool = False,
) -> tuple[Interactions, ReadSummary]:
    """Read every CSV and Parquet file of a channel, in any sub-folder, as one data set.

    Implicit: the rows of a pair add up, and the result depends on the set of rows alone: not on the names of the
    files, the order of rows or the threads. Ratings: the latest row of a pair counts; of rows at one time, or without
    times, the last one, files being read in the order of their names.

    Parameters
    ----------
    path
        The folder of the channel, or a single file.
    options
        Columns, delimiter, `min_rating`.
    feedback
        What the weights are taken for: which ones are allowed, and what becomes of repeated pairs.
    threads
        Threads that parse; as many as the process may use, where none are given.
    keep_times
        Whether the interactions have times, where the data have: eight bytes a pair, and more while reading.
    with_folder
        Whether errors name the folder of the channel before a file, since another one may have a file of the same name.

    Raises
    ------
    UserError
        For the first thing that is wrong in a file; the message names file, line, column, value and remedy.
    PlatformError
        Where a file cannot be read.
    """
    sources = channel_files(path, with_folder=with_folder)
    workers = min(threads or len(os.sched_getaffinity(0)), _MAX_THREADS)
    batches: list[Batch] = []
    first_name = ""
    coders = csv_fast.Coders()
    shared = _shared_roles(feedback, keep_times=keep_times)
    with ThreadPoolExecutor(workers, thread_name_prefix="reading") as executor:
        for source in sources:
            read = _read_file(
                source,
                options=options,
                feedback=feedback,
                keep_times=keep_times or feedback.kind == "ratings",
                executor=executor,
                coders=coders,
                workers=workers,
            )
            if batches and read:
                for role, why in shared.items():
                    _check_same_role(role, read[0], source.name, first=batches[0], first_name=first_name, why=why)
            elif read:
                first_name = source.name
            batches += read
    # The batches know those that they need.
    del coders
    kept = sum(batch.rows for batch in batches)
    dropped = sum(batch.dropped for batch in batches)
    if not kept:
        raise UserError(_nothing_left(path, sources, dropped=dropped, min_rating=options.min_rating))
    columns = _column_names(batches)
    weights = [batch.weights for batch in batches if batch.weights is not None and batch.rows]
    spans = [batch.span for batch in batches if batch.span is not None]
    smallest = min((float(part.min()) for part in weights), default=None)
    largest = max((float(part.max()) for part in weights), default=None)
    ratings = _are_ratings(columns.get("weight", ()), weights)
    del weights
    days = [batch.activity for batch in batches if batch.activity is not None]
    interactions = combine(batches, feedback=feedback, keep_times=keep_times and "time" in columns)
    release_unused_memory()
    return interactions, ReadSummary(
        files=len(sources),
        rows=kept + dropped,
        dropped_below_min_rating=dropped,
        repeated_rows=kept - interactions.n_pairs,
        columns=columns,
        smallest_weight=smallest,
        largest_weight=largest,
        first_time=moment(min(first for first, _ in spans)) if spans else None,
        last_time=moment(max(last for _, last in spans)) if spans else None,
        activity=Activity.merged(days) if days else None,
        looks_like_ratings=ratings,
    )


def _nothing_left(path: Path, sources: list[Source], *, dropped: int, min_rating: float | None) -> str:
    """Write the error for data of which no row is kept."""
    alone = sources[0].alone
    place = sources[0].name if alone else f"the channel {path.name!r}"
    if not dropped:
        it = "it holds" if alone else "its file holds" if len(sources) == 1 else f"its {len(sources):,} files hold"
        return f"no rows in {place}: {it} column names only; put at least one interaction into it"
    rows = "the only row" if dropped == 1 else f"all {dropped:,} rows"
    return f"min_rating={min_rating:g} drops {rows} of {place}: give a smaller one"


def _read_file(
    source: Source,
    *,
    options: ReadOptions,
    feedback: Feedback,
    keep_times: bool,
    executor: Executor,
    coders: csv_fast.Coders,
    workers: int,
) -> list[Batch]:
    """Read the batches of one file; one without rows has none, whichever parser reads it."""
    batches = _parsed(
        source,
        options=options,
        feedback=feedback,
        keep_times=keep_times,
        executor=executor,
        coders=coders,
        workers=workers,
    )
    return [batch for batch in batches if batch.rows or batch.dropped]


def _parsed(
    source: Source,
    *,
    options: ReadOptions,
    feedback: Feedback,
    keep_times: bool,
    executor: Executor,
    coders: csv_fast.Coders,
    workers: int,
) -> list[Batch]:
    if kind_of(source) == "parquet":
        return list(parquet.parse(source, options=options, feedback=feedback, keep_times=keep_times))
    name = source.name
    try:
        with opened(source) as stream:
            return csv_fast.parse(
                stream,
                name=name,
                options=options,
                feedback=feedback,
                keep_times=keep_times,
                executor=executor,
                coders=coders,
                ahead=workers + 1,
            )
    except csv_fast.Refused:
        with opened(source) as stream:
            return list(csv_strict.parse(stream, name=name, options=options, feedback=feedback, keep_times=keep_times))


def _shared_roles(feedback: Feedback, *, keep_times: bool) -> Mapping[Role, str]:
    """Return the optional roles that all files of a channel must have, or none, and why, for errors."""
    if feedback.kind == "ratings":
        return {"weight": "", "time": ", since of two ratings of one pair the later counts"}
    if keep_times:
        why = ", or choose a validation that needs no times, such as stratified"
        return {"weight": "", "time": why}
    return {"weight": ""}


def _check_same_role(role: Role, batch: Batch, name: str, *, first: Batch, first_name: str, why: str) -> None:
    """Refuse a channel where some files have a column for a role and others have none."""
    if (role in batch.columns.positions) == (role in first.columns.positions):
        return
    having, lacking = (name, first_name) if role in batch.columns.positions else (first_name, name)
    column = (batch if having == name else first).columns.name(role)
    raise UserError(
        f"{having} has the {role} column {column!r} and {lacking} has none: give all files one, or none{why}"
    )


def _column_names(batches: list[Batch]) -> Mapping[Role, tuple[str, ...]]:
    names: dict[Role, tuple[str, ...]] = {}
    for role in SPELLINGS:
        found = {batch.columns.name(role) for batch in batches if role in batch.columns.positions}
        if found:
            names[role] = tuple(sorted(found))
    return MappingProxyType(names)


def _are_ratings(names: tuple[str, ...], weights: list[NDArray[np.float32]]) -> bool:
    """Guess whether weights are ratings; see `ReadSummary`."""
    if any("rating" in normalized(name) for name in names):
        return True
    if not weights or any(normalized(name) == "totalinteractions" for name in names):
        return False
    counts = np.zeros(21, dtype=np.int64)  # of the weights 0, ½, 1, … 10
    for part in weights:
        # These first: twice a huge weight would overflow.
        if part.min() < 0 or part.max() > 10:
            return False
        halves = part * 2
        if not (halves == np.rint(halves)).all():
            return False
        counts += np.bincount(halves.astype(np.int64), minlength=21)
    found = np.flatnonzero(counts)
    return len(found) > 2 and int(counts.argmax()) != int(found[0])
