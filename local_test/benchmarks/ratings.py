"""The ratings of ML-100K predicted by `explicit` and by means and biases, and the speed of an epoch.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.ratings [--epochs] [--spotlight DIR]

`u.data` is cut at random, 80/20, once for each seed. The defaults come from the code; nothing is chosen here. A user
or item of the test part that is unknown to training has no bias and no vector.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib
import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import movielens
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.evaluation.mean_ratings import MeanRatings
from factorbox.evaluation.rating import RatingMetrics, rating_metrics
from factorbox.models import ALGORITHMS
from factorbox.models.base import Epoch, Factors, Watch

TEST_SHARE = 0.2


_TIMED_EPOCHS = 5
_SPOTLIGHT_BATCHES = (256, 4096)
"""Spotlight's default, and that of `explicit`."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """Rated pairs by their external ids."""

    users: NDArray[np.str_]
    items: NDArray[np.str_]
    values: NDArray[np.float32]

    def split(self, share: float, *, seed: int) -> tuple[Ratings, Ratings]:
        """Cut off a random share of the pairs: (the rest, the share)."""
        order = np.random.default_rng(seed).permutation(len(self.values))
        cut = round(len(order) * share)
        held_out, rest = np.sort(order[:cut]), np.sort(order[cut:])
        return self._at(rest), self._at(held_out)

    def _at(self, rows: NDArray[np.int64]) -> Ratings:
        return Ratings(self.users[rows], self.items[rows], self.values[rows])

    def interactions(self) -> Interactions:
        """Index the pairs."""
        user_ids, item_ids = Ids.from_texts(self.users.tolist()), Ids.from_texts(self.items.tolist())
        return Interactions.from_pairs(
            user_ids,
            item_ids,
            user_indices=user_ids.indices_of(self.users.tolist()),
            item_indices=item_ids.indices_of(self.items.tolist()),
            weights=self.values,
        )


def ml100k() -> Ratings:
    """Return the 100,000 ratings of `u.data`."""
    path = _existing("ml-100k/u.data")
    with path.open(encoding="utf-8", newline="") as lines:
        return _ratings(row[:3] for row in csv.reader(lines, delimiter="\t"))


def ml1m() -> Ratings:
    """Return the 1,000,209 ratings of ML-1M."""
    path = _existing("ml-1m/ratings.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        return _ratings([row["user_id"], row["item_id"], row["rating"]] for row in csv.DictReader(lines))


def _existing(name: str) -> Path:
    path = movielens.data_folder() / name
    if not path.is_file():
        raise SystemExit(f"{path} is missing: FACTORBOX_DATA names the wrong folder, or see README.md here")
    return path


def _ratings(rows: Iterator[list[str]]) -> Ratings:
    users, items, values = zip(*rows, strict=True)
    return Ratings(np.array(users), np.array(items), np.array(values, dtype=np.float32))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out ratings, indexed as the fitted ones are; −1 for what training does not know."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, held_out: Ratings, *, fitted: Interactions) -> HeldOut:
        """Index held-out ratings."""
        return cls(
            fitted.user_ids.indices_of(held_out.users.tolist()),
            fitted.item_ids.indices_of(held_out.items.tolist()),
            held_out.values,
        )

    def metrics(self, factors: Factors) -> RatingMetrics:
        """Measure μ + b_u + b_i + w_u·h_i."""
        # A last row of zeros is what −1 takes.
        users, items = (np.pad(side, ((0, 1), (0, 0))) for side in (factors.user_factors, factors.item_factors))
        biases = np.pad(factors.user_biases, (0, 1))[self.users] + np.pad(factors.item_biases, (0, 1))[self.items]
        predicted = factors.global_mean + biases + (users[self.users] * items[self.items]).sum(axis=1)
        return rating_metrics(predicted, self.values)


def means_and_biases(fitted: Interactions) -> Factors:
    """Return the baseline as a model without vectors."""
    means = MeanRatings.of(fitted.by_user(), n_items=fitted.n_items)
    return Factors(
        user_factors=np.zeros((fitted.n_users, 1), dtype=np.float32),
        item_factors=np.zeros((fitted.n_items, 1), dtype=np.float32),
        user_biases=means.user_biases.astype(np.float32),
        item_biases=means.item_biases.astype(np.float32),
        epochs=0,
        train_loss=0.0,
        global_mean=means.mean,
    )


def compare(seeds: list[int], *, threads: int, show_epochs: bool) -> None:
    """Print the errors of each seed's test part, and their means."""
    everything, explicit = ml100k(), ALGORITHMS["explicit"]
    table: dict[str, list[RatingMetrics]] = {"means and biases": [], "factorbox explicit": []}
    for seed in seeds:
        fit, held_out = everything.split(TEST_SHARE, seed=seed)
        fitted = fit.interactions()
        test = HeldOut.of(held_out, fitted=fitted)

        def look(epoch: Epoch, seed: int = seed, test: HeldOut = test) -> None:
            error = test.metrics(epoch.snapshot())
            train_rmse = epoch.train_loss**0.5
            print(f"{seed=}; epoch={epoch.number}; {train_rmse=:.4f}; test_rmse={error.rmse:.4f};", flush=True)

        watch = Watch(on_epoch=look) if show_epochs else Watch()
        factors = explicit.fit(fitted, config=explicit.config(), random_state=seed, threads=threads, watch=watch)
        table["means and biases"].append(test.metrics(means_and_biases(fitted)))
        table["factorbox explicit"].append(test.metrics(factors))
    print(f"ML-100K, {1 - TEST_SHARE:.0%} of the ratings to train, {len(seeds)} seeds")
    print(f"{'model':20}  " + "  ".join(f"RMSE {seed:<3}" for seed in seeds) + "  mean RMSE  mean MAE")
    for model, errors in table.items():
        each = "  ".join(f"{error.rmse:.4f}  " for error in errors)
        mean_rmse, mean_mae = (statistics.fmean(getattr(e, name) for e in errors) for name in ("rmse", "mae"))
        print(f"{model:20}  {each}  {mean_rmse:.4f}     {mean_mae:.4f}")


def time_epochs(spotlight: Path | None, *, threads: int) -> None:
    """Print the median seconds of an epoch over the training part of the first seed, at one embedding_dim."""
    fitted = ml100k().split(TEST_SHARE, seed=0)[0].interactions()
    explicit = ALGORITHMS["explicit"]
    config = replace(explicit.config(), epochs=_TIMED_EPOCHS + 1)
    d, seconds = config.embedding_dim, list[float]()
    watch = Watch(on_epoch=lambda epoch: seconds.append(epoch.seconds))
    explicit.fit(fitted, config=config, random_state=0, threads=threads, watch=watch)
    setting = f"embedding_dim={d}; threads={threads}; median of {_TIMED_EPOCHS}"
    print(f"seconds an epoch of {fitted.n_pairs:,} ratings; {setting}")
    # The first epoch of each warms up.
    print(f"{'factorbox explicit':20}  batch_size={config.batch_size:<6} {statistics.median(seconds[1:]):.3f}")
    if spotlight is None:
        print("spotlight explicit    left out: name the folder of its source by --spotlight DIR")
        return
    for batch_size in _SPOTLIGHT_BATCHES:
        median = statistics.median(_spotlight_epochs(spotlight, fitted, d=d, batch_size=batch_size, threads=threads))
        print(f"{'spotlight explicit':20}  batch_size={batch_size:<6} {median:.3f}")


def _spotlight_epochs(folder: Path, fitted: Interactions, *, d: int, batch_size: int, threads: int) -> list[float]:
    factorization = spotlight_module(folder, "spotlight.factorization.explicit")
    data = spotlight_module(folder, "spotlight.interactions").Interactions(
        np.repeat(np.arange(fitted.n_users), np.diff(fitted.indptr)).astype(np.int32),
        fitted.item_indices,
        ratings=fitted.weights,
        num_users=fitted.n_users,
        num_items=fitted.n_items,
    )
    model = factorization.ExplicitFactorizationModel(
        embedding_dim=d, n_iter=1, batch_size=batch_size, random_state=np.random.RandomState(0)
    )
    torch.set_num_threads(threads)
    seconds = []
    for _ in range(_TIMED_EPOCHS + 1):
        started = time.perf_counter()
        model.fit(data)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def spotlight_module(folder: Path, name: str) -> Any:
    """Import a module of Spotlight from the folder of its source."""
    if not (folder / "spotlight").is_dir():
        raise SystemExit(f"--spotlight {folder}: there is no folder `spotlight` in it; give the top of its source")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    with _sklearn_stand_in():
        return importlib.import_module(name)


@contextmanager
def _sklearn_stand_in() -> Iterator[None]:
    """Stand in for scikit-learn where it is not installed: Spotlight imports a hash that this model never calls."""
    if importlib.util.find_spec("sklearn") is not None:
        yield
        return
    package: Any = types.ModuleType("sklearn")
    package.utils = types.ModuleType("sklearn.utils")
    package.utils.murmurhash3_32 = None
    modules = {"sklearn": package, "sklearn.utils": package.utils}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def main() -> None:
    """Parse the command line, compare and time."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ratings", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the cuts and of training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", action="store_true", help="print the errors on both parts after each epoch")
    parser.add_argument("--spotlight", type=Path, metavar="DIR", help="source of Spotlight, to time it as well")
    arguments = parser.parse_args()
    compare(arguments.seeds, threads=arguments.threads, show_epochs=arguments.epochs)
    time_epochs(arguments.spotlight, threads=arguments.threads)


if __name__ == "__main__":
    main()
