"""The data of the demo: MovieLens 100K, or files that GroupLens ships, as tables of texts."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

_WHEEL = "recbole==1.2.1"
"""A package on PyPI that carries MovieLens 100K with titles; only two of its files are used."""

_MEMBER = "recbole/dataset_example/ml-100k/"
_FILES = ("ml-100k.inter", "ml-100k.item")

_SPELLINGS = {
    "user_id": ("userid", "user"),
    "item_id": ("itemid", "item", "movieid", "movie"),
    "rating": ("rating",),
    "timestamp": ("timestamp",),
    "title": ("title", "movietitle"),
    "year": ("releaseyear", "year"),
}


class DemoError(Exception):
    """What ends the demo, in a sentence for whoever runs it."""


def movielens_100k(folder: Path) -> tuple[Path, Path]:
    """Return the files of MovieLens 100K, its ratings and its items, downloaded into `folder` the first time."""
    ratings, items = (folder / name for name in _FILES)
    if not (ratings.exists() and items.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--dest", temporary, _WHEEL]
            if subprocess.run(pip).returncode != 0:
                raise DemoError(
                    f"MovieLens 100K could not be downloaded (pip download {_WHEEL}, its message is above);"
                    " give files of your own with --data FILE --items FILE"
                )
            (wheel,) = Path(temporary).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for name in _FILES:
                    archive.extract(_MEMBER + name, temporary)
                    os.replace(Path(temporary) / _MEMBER / name, folder / name)
    return ratings, items


def read_ratings(path: Path) -> pd.DataFrame:
    """Read user_id, item_id and, where the file has them, rating and timestamp; all as text.

    Understood are a header line (`userId,movieId,rating,timestamp` and its like, comma or tab, types behind a colon
    ignored), and `u.data`, which has tabs and no header.
    """
    table = _read(path, without_header=["user_id", "item_id", "rating", "timestamp"], delimiter="\t")
    _require(table, path, "user_id", "item_id")
    return table


def read_titles(path: Path) -> dict[str, str]:
    """Read the title of each item id, with the year where that is a column of its own.

    Understood are a header line (`movieId,title,genres` and its like), and `u.item`, which has bars and no header.
    """
    table = _read(path, without_header=["item_id", "title"], delimiter="|")
    _require(table, path, "item_id", "title")
    titles = table["title"]
    if "year" in table:
        titles = titles.where(table["year"] == "", titles + " (" + table["year"] + ")")
    return dict(zip(table["item_id"], titles, strict=True))


def above_two(ratings: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows with a rating above 2, best first within a user, later before earlier.

    That makes ratings implicit: who rated a film higher has probably liked to watch it.
    """
    if "rating" not in ratings:
        return ratings
    values = pd.to_numeric(ratings["rating"], errors="coerce")
    if values.isna().any():
        row = int(values.isna().to_numpy().argmax())
        raise DemoError(f"data row {row + 1} has rating {ratings['rating'].iloc[row]!r}, which is not a number")
    times = pd.to_numeric(ratings["timestamp"], errors="coerce") if "timestamp" in ratings else 0
    order = pd.DataFrame({"rating": values, "time": times}).sort_values(["rating", "time"], ascending=False).index
    return ratings.loc[order][values.loc[order] > 2]


def has_times(ratings: pd.DataFrame) -> bool:
    """Whether every row has a time in whole seconds since 1970, as the files of GroupLens do."""
    return "timestamp" in ratings and bool(ratings["timestamp"].str.fullmatch("[0-9]{1,11}").all())


def _read(path: Path, *, without_header: list[str], delimiter: str) -> pd.DataFrame:
    """Read a file with a header line into columns named as in `_SPELLINGS`, or one without as given."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DemoError(f"cannot read {path}: {error.strerror}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # GroupLens' oldest files are Latin-1.
        text = raw.decode("latin-1")
    first_line = text.partition("\n")[0].rstrip("\r")
    separator = next((mark for mark in ("\t", "|", ",") if mark in first_line), ",")
    names = [_role(name) for name in first_line.split(separator)]
    has_header = any(name in _SPELLINGS for name in names)
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=separator if has_header else delimiter,
            header=None,
            skiprows=1 if has_header else 0,
            names=names if has_header else None,
            dtype=str,
            keep_default_na=False,
            # Only files with commas quote fields; in the others a quotation mark is part of a title.
            quoting=csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE,
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise DemoError(f"cannot understand {path}: {str(error).strip()}") from None
    if not has_header:
        table = table.iloc[:, : len(without_header)]
        table.columns = without_header[: table.shape[1]]
    return table


def _role(name: str) -> str:
    """Map a column name such as `movieId`, `item_id:token` or `"title"` to its role, or return it as it is."""
    plain = name.partition(":")[0].strip('" ').replace("_", "").lower()
    return next((role for role, spellings in _SPELLINGS.items() if plain in spellings), name)


def _require(table: pd.DataFrame, path: Path, *columns: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing or table.empty:
        what = f"no column {' and no column '.join(missing)}" if missing else "no rows"
        raise DemoError(
            f"{path} has {what}; give a file such as u.data, u.item, ratings.csv or movies.csv of MovieLens, or one"
            " with a header line that names user_id and item_id, or item_id and title"
        )
