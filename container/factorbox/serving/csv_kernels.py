"""Rows of CSV put together byte by byte."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel


@kernel()
def needs_quotes(text):  # type: ignore[no-untyped-def]
    """Whether a quotation mark, a comma or the end of a line is anywhere in a text."""
    needy = 0
    for byte in text:
        needy += (byte == 34) | (byte == 44) | (byte == 10) | (byte == 13)
    return needy > 0


@kernel()
def _copy(source, start, end, target, at):  # type: ignore[no-untyped-def]
    """Copy bytes; return where the next ones go."""
    for k in range(start, end):
        target[at] = source[k]
        at += 1
    return at


@kernel()
def write_csv_rows(  # type: ignore[no-untyped-def]
    indptr, labels, label_ends, ids, id_ends, places, unknown, scores, starts
):
    """Return the rows `label,id,score`, each ended by a newline.

    Parameters
    ----------
    indptr
        int64, (records + 1,): the rows of record r are `indptr[r]:indptr[r + 1]`.
    labels, label_ends
        uint8, and int64, (records + 1,): the first field of the rows of a record.
    ids, id_ends
        uint8, and int64, (ids + 1,).
    places
        (rows,): which of the ids each row has.
    unknown
        bool, (rows,): whether a row has no score; empty where all have one.
    scores
        uint8: the scores of the other rows in order, each with one byte before it, and one at the end.
    starts
        int64, (records + 1,): filled with where the rows of each record begin.
    """
    size = len(scores) + 3 * len(places)
    for record in range(len(indptr) - 1):
        size += (indptr[record + 1] - indptr[record]) * (label_ends[record + 1] - label_ends[record])
        for row in range(indptr[record], indptr[record + 1]):
            size += id_ends[places[row] + 1] - id_ends[places[row]]
    rows = np.empty(size, dtype=np.uint8)
    at = 0
    score = 1
    for record in range(len(indptr) - 1):
        starts[record] = at
        for row in range(indptr[record], indptr[record + 1]):
            at = _copy(labels, label_ends[record], label_ends[record + 1], rows, at)
            rows[at] = 44
            at = _copy(ids, id_ends[places[row]], id_ends[places[row] + 1], rows, at + 1)
            rows[at] = 44
            at += 1
            if not (len(unknown) and unknown[row]):
                while scores[score] != 44 and scores[score] != 93:
                    rows[at] = scores[score]
                    at += 1
                    score += 1
                score += 1
            rows[at] = 10
            at += 1
    starts[len(indptr) - 1] = at
    return rows[:at]
