"""What the benchmarks of time and memory rest on: made-up data, the phases of a log, and that each can be started."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import whole_job
from benchmarks.generated import COLUMNS, Columns, Shape, pairs_of, write_csv
from factorbox.data.reading import ReadOptions, read_interactions
from support import make_base

FOLDER = Path(whole_job.__file__).parent
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if "ArgumentParser(" in path.read_text(encoding="utf-8"))

SMALL = Shape(users=2_000, items=300, mean_history=10)


def test_made_up_pairs_are_distinct_sorted_by_user_and_come_again_with_their_seed() -> None:
    pairs, again, other = pairs_of(SMALL), pairs_of(SMALL), pairs_of(SMALL, random_state=1)
    codes = pairs.users.astype(np.int64) * SMALL.items + pairs.items
    assert len(np.unique(codes)) == len(codes) > 10_000
    assert (np.diff(pairs.users) >= 0).all() and pairs.items.max() < SMALL.items
    assert (pairs.counts == 1).all()
    assert all(np.array_equal(*columns) for columns in zip(pairs, again, strict=True))
    assert not np.array_equal(pairs.items, other.items)


def test_a_few_made_up_items_are_most_of_the_pairs_and_plays_are_counted() -> None:
    pairs = pairs_of(replace(SMALL, plays=True))
    of_items = np.sort(np.bincount(pairs.items, minlength=SMALL.items))[::-1]
    assert of_items[: SMALL.items // 5].sum() > 0.4 * len(pairs.items)
    assert pairs.counts.min() == 1 and pairs.counts.max() > 5


@pytest.mark.parametrize("columns", COLUMNS)
def test_made_up_files_are_read_as_the_pairs_that_they_were_made_of(tmp_path: Path, columns: Columns) -> None:
    pairs = pairs_of(SMALL)
    write_csv(pairs, tmp_path / "a.csv", shape=SMALL, columns=columns)
    interactions, summary = read_interactions(tmp_path, options=ReadOptions())
    assert interactions.n_pairs == len(pairs.users) and summary.repeated_rows == 0
    assert ("weight" in summary.columns) == (columns in ("weight", "time"))
    assert ("time" in summary.columns) == (columns == "time")
    assert (summary.first_time is not None) == (columns == "time")


def test_every_phase_of_a_real_job_is_found_in_its_log(tmp_path: Path) -> None:
    base = make_base(tmp_path, files={}, hyperparameters={"embedding_dim": "8"})
    write_csv(pairs_of(SMALL), base / "input/data/training/a.csv", shape=SMALL)
    job = whole_job.run(base)
    assert job.pairs == len(pairs_of(SMALL).users)
    assert all(job.peaks[name] > 0 for name in job.peaks if name != "exit"), job.peaks
    assert all(seconds >= 0 for seconds in job.seconds.values()) and job.seconds["reading"] > 0, job.seconds
    assert job.peak > 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_benchmark_says_what_it_takes_and_is_on_the_page(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    assert ended.value.code == 0 and "usage:" in capsys.readouterr().out
    assert f"`python -m benchmarks.{name}" in PAGE


def test_the_page_names_no_benchmark_that_is_not_there() -> None:
    named = set(re.findall(r"python -m benchmarks\.(\w+)", PAGE))
    assert named == set(PROGRAMS)
