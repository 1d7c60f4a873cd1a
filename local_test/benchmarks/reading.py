"""How long it takes to read interactions, beside the CSV reader of pyarrow alone.

    cd local_test && python -m benchmarks.reading [SHAPE ...] [--columns plain weight time quoted] [--runs N]

"Ours" is everything from the file to interactions: checking every byte that the strict parser would check, coding the
ids, sorting the pairs into rows by user and adding up repeated ones. pyarrow only splits and converts: ids to strings,
and ids to dictionaries of each block. All of them use the same threads, and the file is in the page cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from benchmarks.generated import COLUMNS, SHAPES, pairs_of, write_csv
from benchmarks.side_by_side import Timed, in_turn, machine, ratio
from factorbox.data.reading import ReadOptions, read_interactions

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())


def readers(file: Path) -> dict[str, Callable[[], object]]:
    """Return what reads a file: pyarrow in two ways, and ours."""
    ids = ("user_id", "item_id")

    def read(kind: pa.DataType) -> int:
        how = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(ids, kind))
        return int(pyarrow.csv.read_csv(file, convert_options=how).num_rows)

    return {
        "strings": lambda: read(pa.string()),
        "dictionaries": lambda: read(_DICTIONARY),
        "ours": lambda: read_interactions(file, options=ReadOptions(), threads=pa.cpu_count()),
    }


def main() -> None:
    """Write the files, read them in turn and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reading", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shapes", nargs="*", default=["5m", "20m"], metavar="SHAPE", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=["plain", "time"])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    if unknown := set(arguments.shapes) - SHAPES.keys():
        parser.error(f"no shape {', '.join(sorted(unknown))}: give some of {', '.join(SHAPES)}")
    pa.set_cpu_count(len(os.sched_getaffinity(0)))
    print(f"{machine()}; medians of {arguments.runs} runs in turn\n")
    print("| file | rows | MB | pyarrow, strings | pyarrow, dictionaries | ours | ours / the faster | rows/s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(prefix="reading-") as folder:
        for shape in arguments.shapes:
            for columns in arguments.columns:
                file = Path(folder) / "interactions.csv"
                pairs = pairs_of(SHAPES[shape])
                rows = len(pairs.users)
                write_csv(pairs, file, shape=SHAPES[shape], columns=columns)
                del pairs
                print(_row(f"{shape}, {columns}", file, rows, in_turn(readers(file), runs=arguments.runs)), flush=True)
                file.unlink()


def _row(label: str, file: Path, rows: int, timed: dict[str, Timed]) -> str:
    ours = timed["ours"]
    fastest = min((timed["strings"], timed["dictionaries"]), key=lambda one: one.median)
    return (
        f"| {label} | {rows:,} | {file.stat().st_size / 1e6:.0f} | {timed['strings']} | {timed['dictionaries']} |"
        f" {ours} | {ratio(ours, fastest):.2f} | {rows / ours.median / 1e6:.1f} M |"
    )


if __name__ == "__main__":
    main()
