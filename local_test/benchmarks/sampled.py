"""Time to quality with a sampled loss: how long until the best recall@20 that a peer reaches.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.sampled [--data NAME] [--spotlight DIR] [--tune]

A fifth of the pairs of ML-1M's training part, or of a made-up shape, is held out. Every algorithm is trained on the
rest and measured on what was held out after each epoch, or after some; the clock stands still meanwhile. The settings
below were chosen by `--tune` on the same held-out pairs for both sides. The best of a peer is the highest recall of its
epochs, and its time that until it was first reached; 99% of that recall depends less on the last small gain.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.sampled_trainings import (
    DIMENSION,
    Curve,
    Data,
    K,
    Setting,
    train_implicit,
    train_ours,
    train_spotlight,
)
from benchmarks.side_by_side import machine

_NEARLY = 0.99

OURS = ("bpr", "adaptive_hinge")
_IMPLICIT = "implicit bpr"
_SPOTLIGHT: Mapping[str, Setting] = MappingProxyType(
    {
        "Spotlight bpr, batches of 256": {"loss": "bpr", "batch_size": 256},
        "Spotlight bpr, batches of 1024": {"loss": "bpr", "batch_size": 1024},
        "Spotlight bpr, batches of 8192": {"loss": "bpr", "batch_size": 8192},
        "Spotlight adaptive_hinge, batches of 8192": {"loss": "adaptive_hinge", "batch_size": 8192},
    }
)
"""What makes each of these, beside its settings."""
_SMALL, _MIDDLE, _LARGE, _ADAPTIVE = _SPOTLIGHT

_GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = MappingProxyType(
    {
        "bpr": {"learning_rate": (0.1, 0.2), "regularization": (0.005, 0.01, 0.02, 0.03)},
        "adaptive_hinge": {"learning_rate": (0.06, 0.12), "regularization": (0.02, 0.04, 0.065)},
        _IMPLICIT: {"learning_rate": (0.0025, 0.005, 0.01, 0.02), "regularization": (0.0003, 0.001, 0.003, 0.01, 0.03)},
        _SMALL: {"learning_rate": (0.001, 0.003), "l2": (1e-6,)},
        _MIDDLE: {"learning_rate": (0.001, 0.003), "l2": (0.0, 1e-6)},
        _LARGE: {"learning_rate": (0.01, 0.03), "l2": (0.0, 3e-7, 1e-6, 1e-5)},
        _ADAPTIVE: {"learning_rate": (0.003, 0.01), "l2": (1e-6,)},
    }
)
"""For each side the values to combine."""

_SETTINGS: Mapping[str, Mapping[str, tuple[Setting, int]]] = MappingProxyType(
    {
        "bpr": {
            "ml-1m": ({"learning_rate": 0.2, "regularization": 0.01}, 30),
            "5m": ({"learning_rate": 0.2, "regularization": 0.03}, 8),
        },
        "adaptive_hinge": {
            "ml-1m": ({"learning_rate": 0.12, "regularization": 0.065}, 20),
            "5m": ({"learning_rate": 0.06, "regularization": 0.02}, 6),
        },
        _IMPLICIT: {
            "ml-1m": ({"learning_rate": 0.0025, "regularization": 0.0003}, 160),
            "5m": ({"learning_rate": 0.01, "regularization": 0.003}, 28),
        },
        _SMALL: {"ml-1m": ({"learning_rate": 0.001, "l2": 1e-6}, 6)},
        _MIDDLE: {"ml-1m": ({"learning_rate": 0.003, "l2": 1e-6}, 16)},
        _LARGE: {
            "ml-1m": ({"learning_rate": 0.01, "l2": 1e-6}, 30),
            "5m": ({"learning_rate": 0.01, "l2": 1e-6}, 5),
        },
        _ADAPTIVE: {"ml-1m": ({"learning_rate": 0.003, "l2": 1e-6}, 16)},
    }
)
"""The best by data set of what was tried on the held-out pairs, and how many epochs are trained."""

_POINTS = 20
"""Epochs of a training that are measured, about."""


@dataclass(frozen=True)
class Contender:
    """One side of the comparison: how it is trained, its best settings by data set, and the grid that they come from.

    Attributes
    ----------
    settings
        By data set: the setting, and how many epochs.
    """

    name: str
    train: Callable[..., Curve]
    grid: Mapping[str, Sequence[Any]]
    settings: Mapping[str, tuple[Setting, int]]
    is_ours: bool = False


def contenders(spotlight: Path | None) -> list[Contender]:
    """Return both sides; peers that are not at hand are left out with a word about it."""
    ours = [
        Contender(
            f"factorbox {name}",
            train_ours,
            {"algorithm": (name,), **_GRIDS[name]},
            {data: ({"algorithm": name, **setting}, epochs) for data, (setting, epochs) in _SETTINGS[name].items()},
            is_ours=True,
        )
        for name in OURS
    ]
    peers = []
    if importlib.util.find_spec("implicit") is None:
        print("implicit is left out: pip install -r tests/requirements.txt", file=sys.stderr)
    else:
        peers.append(Contender(_IMPLICIT, train_implicit, _GRIDS[_IMPLICIT], _SETTINGS[_IMPLICIT]))
    if spotlight is None:
        print("Spotlight is left out: name the folder of its source by --spotlight DIR", file=sys.stderr)
    else:
        train = partial(train_spotlight, spotlight)
        peers += [
            Contender(
                name,
                train,
                {**{key: (value,) for key, value in fixed.items()}, **_GRIDS[name]},
                {data: ({**fixed, **setting}, epochs) for data, (setting, epochs) in _SETTINGS[name].items()},
            )
            for name, fixed in _SPOTLIGHT.items()
        ]
    return [*peers, *ours]


def tune(data: Data, sides: Sequence[Contender], *, epochs: int | None, every: int, threads: int) -> None:
    """Go through the grid of each side and print the best recall and its epoch."""
    for side in sides:
        for values in itertools.product(*side.grid.values()):
            setting = dict(zip(side.grid, values, strict=True))
            curve = side.train(
                data, setting, epochs=epochs or side.settings[data.name][1], every=every, threads=threads
            )
            at = curve.recalls.index(curve.best)
            text = " ".join(f"{name}={value}" for name, value in setting.items())
            print(
                f"{side.name}: recall@{K} {curve.best:.4f} after {curve.seconds[at]:.2f} s,"
                f" last {curve.recalls[-1]:.4f}; {text}",
                flush=True,
            )


def compare(data: Data, sides: Sequence[Contender], *, every: int | None, runs: int, threads: int) -> None:
    """Train each side in turn with its best setting and print the table."""
    curves: dict[str, list[Curve]] = {side.name: [] for side in sides}
    # Nobody pays for compilation or first use.
    for side in sides:
        side.train(data, side.settings[data.name][0], epochs=1, every=1, threads=threads)
    for _ in range(runs):
        for side in sides:
            setting, epochs = side.settings[data.name]
            step = every or max(1, epochs // _POINTS)
            curves[side.name].append(side.train(data, setting, epochs=epochs, every=step, threads=threads))
    print(f"\n{data.name}: {data.fitted.n_pairs:,} pairs, d={DIMENSION}, {threads} threads, medians of {runs}")
    print(f"on {machine()}\n")
    print(f"| | M pairs/s | recall@{K}: best | after |")
    print("| --- | ---: | ---: | ---: |")
    for side in sides:
        own = curves[side.name]
        speed = statistics.median(curve.pairs_per_second for curve in own) / 1e6
        best = statistics.median(curve.best for curve in own)
        print(f"| {side.name} | {speed:.2f} | {best:.4f} | {_text(_median_time(own, own, share=1.0))} |")
    ours = [side for side in sides if side.is_ours]
    print("\n| until the best recall of | seconds | " + " | ".join(side.name for side in ours) + " |")
    print("| --- | ---: |" + " ---: |" * len(ours))
    for peer in (side for side in sides if not side.is_ours):
        for share, label in ((1.0, peer.name), (_NEARLY, f"{peer.name}, {_NEARLY:.0%} of it")):
            theirs = _median_time(curves[peer.name], curves[peer.name], share=share)
            times = [_median_time(curves[side.name], curves[peer.name], share=share) for side in ours]
            print(f"| {label} | {_text(theirs)} | " + " | ".join(_beside(time, theirs) for time in times) + " |")
    print()
    for side in sides:
        setting, epochs = side.settings[data.name]
        curve = curves[side.name][-1]
        points = ", ".join(f"{r:.4f} at {s:.2f} s" for s, r in zip(curve.seconds, curve.recalls, strict=True))
        print(f"{side.name}, {epochs} epochs, {dict(setting)}: {points}")


def _median_time(own: Sequence[Curve], targets: Sequence[Curve], *, share: float) -> float | None:
    """Seconds until the best of the target of the same run was reached."""
    times = [curve.time_to(share * target.best) for curve, target in zip(own, targets, strict=True)]
    reached = [seconds for seconds in times if seconds is not None]
    return statistics.median(reached) if len(reached) == len(times) else None


def _beside(ours: float | None, theirs: float | None) -> str:
    return _text(ours) + ("" if ours is None or theirs is None else f" = {ours / theirs:.2g} ×")


def _text(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"


def main() -> None:
    """Parse the command line, tune or compare."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sampled", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=sorted(_SETTINGS["bpr"]), default=["ml-1m", "5m"])
    parser.add_argument("--spotlight", type=Path, metavar="DIR", help="source of Spotlight, to compare with it too")
    parser.add_argument("--only", nargs="+", default=None, metavar="NAME", help="only the sides with these names")
    parser.add_argument("--tune", action="store_true", help="go through the grids instead")
    parser.add_argument("--epochs", type=int, default=None, help="of each training of --tune")
    parser.add_argument("--every", type=int, default=None, help="measure every so many epochs")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    sides = contenders(arguments.spotlight)
    if arguments.only:
        sides = [side for side in sides if side.name in arguments.only]
    for name in arguments.data:
        data = Data.load(name)
        there = [side for side in sides if name in side.settings]
        if arguments.tune:
            tune(data, there, epochs=arguments.epochs, every=arguments.every or 5, threads=arguments.threads)
        else:
            compare(data, there, every=arguments.every, runs=arguments.runs, threads=arguments.threads)


if __name__ == "__main__":
    main()
