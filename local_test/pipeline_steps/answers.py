"""The answers: fetched, read as a table, joined with titles, written and printed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline_steps.errors import InputRefusedError
from pipeline_steps.progress import say

COLUMNS = ["user_id", "item_id", "score"]
_ROWS_AT_ONCE = 500_000
_LINES_SHOWN = 10
_DELIMITER_NAMES = {"tab": "\t", "\\t": "\t"}
_ITEM_COLUMNS = ("itemid", "item", "movieid", "productid")


def read_titles(path: Path, *, item_column: str | None = None, delimiter: str = ",") -> dict[str, str] | None:
    """Read the title of each item id from a CSV with a header; ids stay as they are written.

    Parameters
    ----------
    path
        The CSV.
    item_column
        Its item column, where that has none of the usual names.
    delimiter
        Of the training data; tried first, and a comma then.

    Returns
    -------
    dict or None
        None where there is no column of titles.

    Raises
    ------
    InputRefusedError
        Where the file cannot be read or has no such columns.
    """
    try:
        separator = _DELIMITER_NAMES.get(delimiter.lower(), delimiter)
        table = _table(path, separator if len(separator) == 1 else ",")
        if len(table.columns) == 1:
            table = _table(path, ",")
    except OSError as error:
        raise InputRefusedError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputRefusedError(f"cannot read {path}: {str(error).strip()}; give a CSV with a header, UTF-8") from error
    plain = {name: name.replace("_", "").lower() for name in table.columns}
    items = [name for name in table.columns if name == item_column]
    items = items or [name for name in table.columns if plain[name] in _ITEM_COLUMNS]
    titles = [name for name in table.columns if plain[name] == "title"]
    if len(items) != 1 or len(titles) > 1:
        raise InputRefusedError(
            f"{path} has the columns {', '.join(table.columns)}: one item column (item_id, movie_id, product_id) and"
            " at most one column title are needed"
        )
    if not titles:
        return None
    return dict(zip(table[items[0]], table[titles[0]], strict=True))


def _table(path: Path, delimiter: str) -> pd.DataFrame:
    return pd.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def tables(path: Path, *, accept: str) -> Iterator[pd.DataFrame]:
    """Read a file of answers as tables of user_id, item_id and score, all as text, some rows at a time.

    Parameters
    ----------
    path
        CSV rows `user_id,item_id,score`, or JSON Lines with `recommendations`.
    accept
        Which of them.

    Raises
    ------
    ValueError
        Where the file holds something else.
    """
    if accept == "text/csv":
        return _csv_tables(path)
    return _json_tables(path)


def _csv_tables(path: Path) -> Iterator[pd.DataFrame]:
    with path.open(encoding="utf-8", newline="") as file:
        first = next(csv.reader(file), None)
    if first is None:
        return
    if len(first) != len(COLUMNS):
        raise ValueError(f"its rows have {len(first)} fields, not {', '.join(COLUMNS)}")
    yield from pd.read_csv(path, header=None, names=COLUMNS, dtype=str, keep_default_na=False, chunksize=_ROWS_AT_ONCE)


def _json_tables(path: Path) -> Iterator[pd.DataFrame]:
    with path.open(encoding="utf-8") as file:
        # A number stays the text that it was.
        rows = (row for line in file if line.strip() for row in _rows(json.loads(line, parse_float=str)))
        while block := list(islice(rows, _ROWS_AT_ONCE)):
            yield pd.DataFrame(block, columns=COLUMNS)


def _rows(answer: Any) -> Iterator[tuple[str, str, str]]:
    if not isinstance(answer, dict):
        raise ValueError("a line is no JSON object")
    answer = answer.get("SageMakerOutput", answer)
    if "error" in answer:
        return
    if not isinstance(answer.get("recommendations"), list):
        raise ValueError("a line has no recommendations")
    user = str(answer.get("user_id", answer.get("sequence_id", "")))
    for entry in answer["recommendations"]:
        yield user, str(entry["item_id"]), str(entry["score"])


def join(
    files: Sequence[Path], target: Path, *, accept: str, titles: Mapping[str, str] | None, show: int
) -> pd.DataFrame:
    """Write all answers into one CSV with a header, with titles where there are, and return those of `show` users.

    Raises
    ------
    ValueError
        Where a file holds something else than recommendations; it is named.
    """
    columns = COLUMNS if titles is None else [*COLUMNS, "title"]
    shown = pd.DataFrame(columns=columns)
    with target.open("w", encoding="utf-8", newline="") as output:
        output.write(",".join(columns) + "\n")
        for path in files:
            try:
                for table in tables(path, accept=accept):
                    if titles is not None:
                        table["title"] = table["item_id"].map(lambda item: titles.get(item, ""))
                    table.to_csv(output, index=False, header=False)
                    users = pd.concat([shown["user_id"], table["user_id"]]).unique()[:show]
                    shown = pd.concat([shown, table[table["user_id"].isin(users)]])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path.name} holds no recommendations: {error}") from error
    return shown


def show_table(shown: pd.DataFrame) -> None:
    """Print the recommendations of some users, best first."""
    for user, rows in shown.groupby("user_id", sort=False):
        say(f"\n{user}")
        say(rows.drop(columns="user_id").to_string(index=False))


def show_lines(path: Path) -> None:
    """Print how a file begins that holds no recommendations, as it is."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in islice(file, _LINES_SHOWN):
            say(f"   {line.rstrip()[:200]}")
