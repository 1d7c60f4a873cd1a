"""What validation and the report cost of a whole training job on ML-1M.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.job_cost [NAME=VALUE ...]

Each run is a process of `container/train` from its start to its end, imports and all, over a base folder with the
channels `training` and `items`. Three kinds of runs take turns, so that what else the machine does falls on all of
them: without validation and report, with validation alone, and the job as it is. Medians are compared. The seconds
that the job itself writes into its log are those of its last run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import movielens

_TRAIN = Path(__file__).resolve().parent.parent.parent / "container/train"
_WITHOUT_REPORT = """\
import runpy, sys
sys.path.insert(0, sys.argv[2])
import factorbox.report.writing
factorbox.report.writing.write_report = lambda *given, **named: None
runpy.run_path(sys.argv[1], run_name="__main__")
"""
_SECONDS = re.compile(r"(?:^|\s)(\w*seconds)=([-+0-9.eE]+);")
_FILES = {"training": ("ratings.csv.gz",), "items": ("items.csv",)}


@dataclass
class Kind:
    """One kind of runs.

    Attributes
    ----------
    label
        What the table calls it.
    hyperparameters
        Beside those that all have.
    has_report
        Whether the report is written.
    wall
        Seconds of each run, from the start of the process to its end.
    log
        What the last run wrote.
    """

    label: str
    hyperparameters: Mapping[str, str]
    has_report: bool
    wall: list[float] = field(default_factory=list)
    log: str = ""

    @property
    def median(self) -> float:
        """Seconds of the run in the middle."""
        return statistics.median(self.wall)

    def run(self, base: Path, given: Mapping[str, str]) -> None:
        """Train once in a base folder that has its channels."""
        (base / "input/config").mkdir(parents=True, exist_ok=True)
        hyperparameters = {**given, **self.hyperparameters}
        (base / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
        for left in ("model", "output"):
            shutil.rmtree(base / left, ignore_errors=True)
        command = [str(_TRAIN)] if self.has_report else ["-c", _WITHOUT_REPORT, str(_TRAIN), str(_TRAIN.parent)]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.wall.append(time.perf_counter() - started)
        self.log = done.stdout
        if done.returncode != 0:
            raise SystemExit(f"the job failed:\n{done.stdout}")


def kinds() -> tuple[Kind, Kind, Kind]:
    """Return the kinds of runs, the barest first."""
    return (
        Kind("neither", {"validation": "none"}, has_report=False),
        Kind("validation", {}, has_report=False),
        Kind("validation and report", {}, has_report=True),
    )


def channels(base: Path) -> None:
    """Copy the data into the channels."""
    for channel, names in _FILES.items():
        folder = base / "input/data" / channel
        folder.mkdir(parents=True)
        for name in names:
            source = movielens.data_folder() / "ml-1m" / name
            if not source.is_file():
                raise SystemExit(f"{source} is missing: FACTORBOX_DATA names the wrong folder, or see README.md here")
            shutil.copyfile(source, folder / name)


def seconds_in(log: str) -> dict[str, float]:
    """Return the seconds that a log names, those of all epochs added up."""
    found: dict[str, float] = {}
    for line in log.splitlines():
        # The first word says of what.
        first = line.partition("=")[0]
        for name, value in _SECONDS.findall(line):
            label = f"{first}: {name}" if name == "seconds" else name
            found[label] = found.get(label, 0.0) + float(value)
    return found


def main() -> None:
    """Run, measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.job_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("hyperparameters", nargs="*", type=_pair, metavar="NAME=VALUE", help="of all runs")
    parser.add_argument("--runs", type=int, default=5, help="of each kind (default: %(default)s)")
    arguments = parser.parse_args()
    given: Mapping[str, str] = dict(arguments.hyperparameters)
    bare, validated, whole = compared = kinds()
    with tempfile.TemporaryDirectory(prefix="job-cost-") as folder:
        base = Path(folder)
        channels(base)
        # Once before the clock counts: the files of the channels and of Python come out of memory then.
        whole.run(base, given)
        whole.wall.clear()
        for _ in range(arguments.runs):
            for kind in compared:
                kind.run(base, given)
        size = sum(file.stat().st_size for file in base.glob("output/data/report.*"))
    setting = " ".join(f"{name}={value}" for name, value in given.items()) or "no hyperparameters"
    print(f"ML-1M, {setting}, {len(os.sched_getaffinity(0))} processors, medians of {arguments.runs} runs")
    print(f"{'job with':24} seconds  range          more")
    for kind, before in zip(compared, (None, bare, validated), strict=True):
        print(_row(kind, before, of=whole))
    print(f"both: {_share(whole, bare, of=whole)} of the job; the report takes {size / 2**20:.1f} MiB")
    print("\nseconds that the log of the last whole job names:")
    for name, value in seconds_in(whole.log).items():
        print(f"  {name:44} {value:8.2f}")


def _row(kind: Kind, before: Kind | None, *, of: Kind) -> str:
    more = "" if before is None else f"{kind.median - before.median:+.2f} s, {_share(kind, before, of=of)} of the job"
    return f"{kind.label:24} {kind.median:7.2f}  {min(kind.wall):5.2f} to {max(kind.wall):5.2f}  {more}"


def _share(kind: Kind, before: Kind, *, of: Kind) -> str:
    return f"{(kind.median - before.median) / of.median:.1%}"


def _pair(text: str) -> Sequence[str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


if __name__ == "__main__":
    main()
