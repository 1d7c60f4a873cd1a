"""How a report names items and users: by title where there is one, else by id, cut to what fits."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox.data.columns import normalized
from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails

LONGEST = 48
"""Characters of a label, unless a caller wants others."""

TITLE_COLUMNS = ("title", "name", "itemtitle", "itemname", "producttitle", "productname", "movietitle")
"""Item columns that name an item, the best first; case and underscores are ignored."""

# Joiners are not printable by themselves, and hold emoji and some scripts together.
_JOINERS = "\u200c\u200d"

_MOST_MARKS = 2
"""Marks above or below one letter: more than any usual script needs would run into other lines."""


class Labelled(Protocol):
    """What labels are made from (`factorbox.recommender.Recommender`)."""

    @property
    def user_ids(self) -> Ids:
        """The users."""
        ...

    @property
    def item_ids(self) -> Ids:
        """The items."""
        ...

    @property
    def item_details(self) -> ItemDetails | None:
        """Titles and the like."""
        ...


def item_labels(
    model: Labelled, item_indices: NDArray[np.integer], *, longest: int = LONGEST, distinct: bool = False
) -> list[str]:
    """Return what some items are called.

    Parameters
    ----------
    item_indices
        (items,).
    longest
        Characters of a label at most; a longer one ends in an ellipsis.
    distinct
        Whether labels that several of these items share get the item's id behind them, and where that is not enough,
        a number; for the axes of charts, where equal texts would be one.
    """
    ids = shortened_all(_taken(model.item_ids.texts, item_indices), longest=longest)
    titles = _titles(model)
    labels = ids
    if titles is not None:
        named = shortened_all(_taken(titles, item_indices), longest=longest)
        labels = [title or item_id for title, item_id in zip(named, ids, strict=True)]
    return _told_apart(labels, ids, longest=longest) if distinct else labels


def user_labels(
    model: Labelled, user_indices: NDArray[np.integer], *, longest: int = LONGEST, distinct: bool = False
) -> list[str]:
    """Return what some users are called: their ids; `longest` and `distinct` are those of `item_labels`."""
    labels = shortened_all(_taken(model.user_ids.texts, user_indices), longest=longest)
    return _told_apart(labels, labels, longest=longest) if distinct else labels


def shortened(text: str, *, longest: int = LONGEST) -> str:
    """Return a text on one line, without what cannot be printed, and no longer than this."""
    # A label needs no more than its beginning of a text of any length.
    line = " ".join(text[: 4 * longest + 100].split())
    line = "".join(sign for sign in line if sign.isprintable() or sign in _JOINERS)
    line = line if line.isascii() else _without_stacks(line)
    return line if len(line) <= longest else line[: longest - 1].rstrip(f" {_JOINERS}") + "…"


def _without_stacks(line: str) -> str:
    """Return a text without what is beyond `_MOST_MARKS` in each run of combining marks."""
    kept, run = [], 0
    for sign in line:
        run = run + 1 if unicodedata.category(sign) in ("Mn", "Me") else 0
        if run <= _MOST_MARKS:
            kept.append(sign)
    return "".join(kept)


def shortened_all(texts: Sequence[str | None], *, longest: int = LONGEST) -> list[str]:
    """Return texts as `shortened` does, an empty one for each that is missing."""
    return [shortened(text, longest=longest) if text else "" for text in texts]


def _titles(model: Labelled) -> pa.LargeStringArray | None:
    details = model.item_details
    if details is None:
        return None
    columns = {normalized(name): texts for name, texts in reversed(list(details.columns.items()))}
    return next((columns[name] for name in TITLE_COLUMNS if name in columns), None)


def _taken(texts: pa.LargeStringArray, indices: NDArray[np.integer]) -> list[str | None]:
    return list(texts.take(pa.array(np.asarray(indices, dtype=np.int64))).to_pylist())


def _told_apart(labels: Sequence[str], ids: Sequence[str], *, longest: int) -> list[str]:
    """Return the labels, those that occur more than once with their ids behind them, or a number."""
    times = Counter(labels)
    told = [
        f"{label} ({item_id})" if times[label] > 1 and label != item_id else label
        for label, item_id in zip(labels, ids, strict=True)
    ]
    used: set[str] = set()
    for position, label in enumerate(told):
        number = 1
        while told[position] in used:
            number += 1
            told[position] = f"{label} #{number}"
        used.add(told[position])
    return told
