"""Seconds of an epoch of ALS and the quality after each, beside implicit's and irspack's by conjugate gradients.

    cd local_test && python -m benchmarks.als [--shape 5m|20m] [--dimension 64|128] [--epochs N] [--choose|--parts]

Made-up interactions, a tenth of the pairs held out. All trainings are in one process and take turns, an epoch each,
with the same threads and `OPENBLAS_NUM_THREADS=1`, as implicit asks; nDCG@10 on the held-out pairs is measured between
the epochs. The first epoch, with compilation and first use, is not timed. Beside them stands the time of nothing but
reading what an epoch has to read at least once: for each pair the row of its item and the row of its user, summed up,
so that no row is skipped; eight rows at once, with and without asking for them ahead.

Ours and irspack's minimise the same objective and have the same hyperparameters, with penalties that grow with the
square root of the frequency; implicit's do not grow. Each was chosen by `--choose`, which prints nDCG@10 over a small
grid on a tenth of what is left for training. `--parts` prints where an epoch of ours goes instead: rows with one step
more differ by the pass over the history that a step takes.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from benchmarks.als_trainings import IMPLICIT, IRSPACK, OURS, TRAININGS, Data, Gathers, Ours, Setting
from benchmarks.side_by_side import Timed, in_turn, machine, ratio
from factorbox.threads import Threads

SETTINGS: Mapping[str, Mapping[str, Setting]] = MappingProxyType(
    {
        OURS: {
            "5m": {"unobserved_weight": 0.3, "regularization": 0.4},
            "20m": {"unobserved_weight": 0.3, "regularization": 0.4},
        },
        IMPLICIT: {"5m": {"alpha": 4, "regularization": 150}, "20m": {"alpha": 3, "regularization": 150}},
    }
)
"""What `--choose` found best at d=64; on 20m the settings next to the best of 5m were compared."""

_GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        OURS: {"unobserved_weight": (0.1, 0.2, 0.3, 0.5, 0.8), "regularization": (0.2, 0.3, 0.4, 0.5, 0.8)},
        IMPLICIT: {"alpha": (1, 2, 3, 4, 8), "regularization": (30, 60, 100, 150, 200)},
    }
)


def setting_of(name: str, shape: str) -> Setting:
    """Return the hyperparameters of a side; irspack's are ours."""
    return SETTINGS[OURS if name == IRSPACK else name][shape]


@dataclass
class Course:
    """What one of those that take turns has shown so far."""

    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    ndcg: list[float] = field(default_factory=list)

    def timed(self) -> Timed:
        """Return the times, without the first."""
        return Timed(tuple(self.seconds[1:]), tuple(self.others[1:]))


def run(shape: str, *, dimension: int, epochs: int, threads: int) -> dict[str, Course]:
    """Train all sides in turn, an epoch at a time."""
    data = Data.of(shape, validation=False)
    print(
        f"{len(data.users.indices):,} pairs of {len(data.users.indptr) - 1:,} users and"
        f" {len(data.items.indptr) - 1:,} items, d={dimension}",
        file=sys.stderr,
    )
    with Threads(threads) as pool:
        trainings = {
            name: make(data, setting_of(name, shape), dimension=dimension, threads=threads)
            for name, make in TRAININGS.items()
            if name == OURS or importlib.util.find_spec(name)
        }
        ours = trainings[OURS]
        assert isinstance(ours, Ours)
        steps: dict[str, Callable[[], object]] = {name: training.epoch for name, training in trainings.items()}
        steps["exact finish"] = ours.finish
        steps["bare gathers"] = Gathers(data, dimension=dimension, threads=pool, ahead=False).epoch
        steps["bare gathers, asked for ahead"] = Gathers(data, dimension=dimension, threads=pool, ahead=True).epoch
        courses = {name: Course() for name in steps}
        for number in range(epochs):
            order = list(steps) if number % 2 == 0 else list(steps)[::-1]
            timed = in_turn({name: steps[name] for name in order}, runs=1, warm_ups=0)
            for name, once in timed.items():
                courses[name].seconds += once.seconds
                courses[name].others += once.others
            for name, training in trainings.items():
                courses[name].ndcg.append(data.ndcg(*training.factors(), threads=pool))
    return courses


def table(courses: Mapping[str, Course], *, shape: str) -> str:
    """Return the Markdown table of a run."""
    epochs = len(courses[OURS].ndcg)
    shown = [epoch for epoch in (1, 2, 3, 5, 8, 12, 16) if epoch <= epochs]
    lines = [
        f"| {shape} | hyperparameters | seconds | times ours |" + "".join(f" epoch {epoch} |" for epoch in shown),
        "| --- | --- | --- | --- |" + " --- |" * len(shown),
    ]
    ours = courses[OURS].timed()
    for name, course in courses.items():
        setting = setting_of(name, shape) if course.ndcg else {}
        named = ", ".join(f"{key}={value:g}" for key, value in setting.items())
        quality = "".join(f" {course.ndcg[epoch - 1]:.4f} |" if course.ndcg else "  |" for epoch in shown)
        lines.append(f"| {name} | {named} | {course.timed()} | {ratio(course.timed(), ours):.2f} |{quality}")
    return "\n".join(lines)


def parts(shape: str, *, dimension: int, epochs: int, threads: int) -> str:
    """Return what the parts of an epoch of ours take, after some epochs, as a Markdown table."""
    data = Data.of(shape, validation=False)
    ours = Ours(data, setting_of(OURS, shape), dimension=dimension, threads=threads)
    for _ in range(epochs):
        ours.epoch()
    with Threads(threads) as pool:
        gathers = Gathers(data, dimension=dimension, threads=pool, ahead=True)
        timed = in_turn(
            {
                "Gram matrices and rotations": lambda: ours.bases(pool),
                "epoch with one step a row": lambda: ours.epoch_of(1),
                "two, as in a training": lambda: ours.epoch_of(2),
                "three": lambda: ours.epoch_of(3),
                "bare gathers": gathers.epoch,
            },
            runs=7,
        )
    lines = [f"| {shape} | seconds |", "| --- | --- |", *(f"| {name} | {once} |" for name, once in timed.items())]
    return "\n".join(lines)


def choose(shape: str, *, dimension: int, epochs: int, threads: int) -> str:
    """Return nDCG@10 on a validation part for each setting of the grids, as a Markdown table."""
    data = Data.of(shape, validation=True)
    lines = ["| side | hyperparameters | nDCG@10 |", "| --- | --- | --- |"]
    with Threads(threads) as pool:
        for name, grid in _GRIDS.items():
            if name != OURS and importlib.util.find_spec(name) is None:
                continue
            for values in itertools.product(*grid.values()):
                setting = dict(zip(grid, values, strict=True))
                training = TRAININGS[name](data, setting, dimension=dimension, threads=threads)
                for _ in range(epochs):
                    training.epoch()
                ndcg = data.ndcg(*training.factors(), threads=pool)
                lines.append(f"| {name} | {setting} | {ndcg:.4f} |")
                print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def main() -> None:
    """Print the table of one shape and dimension."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.als", description="Time epochs of ALS beside the peers', and measure the quality after each."
    )
    parser.add_argument("--shape", choices=SETTINGS[OURS], default="5m", help="the made-up data (5m)")
    parser.add_argument("--dimension", type=int, default=64, help="latent dimension (64)")
    parser.add_argument("--epochs", type=int, default=8, help="epochs, the first of which is not timed (8)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of each (all)")
    parser.add_argument("--choose", action="store_true", help="compare hyperparameters on a validation part instead")
    parser.add_argument("--parts", action="store_true", help="print where an epoch of ours goes instead")
    arguments = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        # OpenBLAS reads it when it is loaded.
        os.execve(
            sys.executable,
            [sys.executable, "-m", "benchmarks.als", *sys.argv[1:]],
            {**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    # As within a training: parallel are the blocks.
    torch.set_num_threads(1)
    missing = [name for name in (IMPLICIT, IRSPACK) if importlib.util.find_spec(name) is None]
    if missing:
        wanted = "-r tests/requirements.txt -r local_test/benchmarks/requirements.txt"
        print(f"{' and '.join(missing)} left out: pip install {wanted}", file=sys.stderr)
    size = dict(dimension=arguments.dimension, epochs=arguments.epochs, threads=arguments.threads)
    if arguments.choose:
        print(choose(arguments.shape, **size))
        return
    if arguments.parts:
        print(f"{parts(arguments.shape, **size)}\n\nd={arguments.dimension}, {arguments.threads} threads; {machine()}")
        return
    courses = run(arguments.shape, **size)
    print(table(courses, shape=arguments.shape))
    slowdowns = {
        name: statistics.median(course.seconds[1:]) for name, course in courses.items() if name.startswith("bare")
    }
    fastest = min(slowdowns, key=slowdowns.__getitem__)
    print(f"\nAn epoch of ours takes {courses[OURS].timed().median / slowdowns[fastest]:.2f} times the {fastest}.")
    print(f"d={arguments.dimension}, {arguments.threads} threads; {machine()}")


if __name__ == "__main__":
    main()
