"""One request for each known user, in parts that several transform instances can share."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from factorbox.data.ids import Ids
from factorbox.writing import disk_errors

USERS_PER_PART = 50_000
TOP_N = 10


def write_requests(folder: Path, *, user_ids: Ids) -> int:
    r"""Write `part-0000.jsonl` and on, lines such as `{"user_id":"685","top_n":"10"}`, and return how many parts.

    Raises
    ------
    PlatformError
        Where the folder cannot be written; no part is left half written.
    """
    starts = range(0, len(user_ids), USERS_PER_PART)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_requests(folder)
        for number, start in enumerate(starts):
            texts = user_ids.texts.slice(start, USERS_PER_PART).to_pylist()
            path = folder / f"part-{number:04d}.jsonl"
            partial = path.with_suffix(".partial")
            try:
                with partial.open("wb") as file:
                    # One after the other: each takes kilobytes until it is let go.
                    file.writelines(
                        orjson.dumps({"user_id": text, "top_n": str(TOP_N)}, option=orjson.OPT_APPEND_NEWLINE)
                        for text in texts
                    )
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
    return len(starts)


def remove_requests(folder: Path) -> None:
    """Remove the parts of an earlier training: they name that training's users."""
    for old in folder.glob("part-*.jsonl"):
        old.unlink()
