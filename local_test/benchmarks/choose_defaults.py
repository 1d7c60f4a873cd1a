"""Choose the default hyperparameters of an algorithm on validation parts; no test part is ever opened.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.choose_defaults bpr

Every setting is trained on each data set's training part less a validation part and measured on the validation part:
by nDCG@10, or by RMSE where an algorithm fits ratings. Best is the setting with the highest mean, over the data sets,
of its nDCG divided by the best nDCG that any setting reached there, or of the best RMSE divided by its own: a default
has to be good on small and large data alike.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from benchmarks import movielens, ratings
from factorbox.contract.hyperparameters import Hyperparameters
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.evaluation.popularity import most_popular
from factorbox.evaluation.ranking import Relevant, ranking_metrics
from factorbox.models import ALGORITHMS
from factorbox.models.base import Factors
from factorbox.options import options_of

Setting = Mapping[str, Any]

TRAINING_PARTS: Mapping[str, Callable[[], movielens.Pairs]] = MappingProxyType(
    {"ml-100k": movielens.ml100k_train, "ml-1m": movielens.ml1m_train}
)
RATINGS: Mapping[str, Callable[[], ratings.Ratings]] = MappingProxyType(
    {"ml-100k": ratings.ml100k, "ml-1m": ratings.ml1m}
)

GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = MappingProxyType(
    {
        "als": {
            "unobserved_weight": (0.1, 0.3, 1.0),
            "regularization_exponent": (0.0, 0.5, 1.0),
            # Of the order that ν = 1 needs; `_scaled` turns it into the like penalty for another ν.
            "regularization": (0.006, 0.012, 0.027, 0.05),
        },
        "softmax": {"learning_rate": (0.05, 0.07, 0.1), "temperature": (0.2, 0.22, 0.25), "epochs": (16, 24)},
        "bpr": {"learning_rate": (0.05, 0.1, 0.2), "regularization": (0.01, 0.02, 0.03), "epochs": (60, 80)},
        "hinge": {"learning_rate": (0.05, 0.1), "regularization": (0.03, 0.04, 0.06), "epochs": (60, 80)},
        "adaptive_hinge": {"learning_rate": (0.03, 0.05, 0.1), "regularization": (0.065, 0.08, 0.1)},
        "pointwise": {"learning_rate": (0.05, 0.1), "regularization": (0.02, 0.04, 0.08), "epochs": (60, 80)},
        "explicit": {"learning_rate": ("0.03", "0.05", "0.1"), "regularization": (0.05, 0.06, 0.07)},
    }
)
"""For each algorithm the values to combine; what is not named keeps its default."""


class DataSet(Protocol):
    """One data set: what to fit and how to measure."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def fitted(self) -> Interactions:
        """The training part less the validation part."""
        ...

    def reference(self) -> float:
        """Measure the model that knows no taste."""
        ...

    def measure(self, factors: Factors) -> float:
        """Measure a model on the validation part."""
        ...


@dataclass(frozen=True, eq=False)
class RankedSet:
    """A data set whose held-out items are to be ranked high."""

    name: str
    fitted: Interactions
    relevant: Relevant

    @classmethod
    def load(cls, name: str) -> Self:
        """Read the training part of a data set and cut its validation part off."""
        fit, validation = movielens.validation_cut(TRAINING_PARTS[name]())
        fitted = movielens.interactions_of(fit)
        return cls(name, fitted, movielens.relevant_of(validation, fitted=fitted))

    def reference(self) -> float:
        """Return the nDCG of the most popular items."""
        users = np.flatnonzero(self.relevant.counts)
        rows = most_popular(self.fitted, user_indices=users, k=movielens.K)
        return ranking_metrics(rows, user_indices=users, relevant=self.relevant, k=movielens.K).ndcg

    def measure(self, factors: Factors) -> float:
        """Return the nDCG of a model."""
        return movielens.quality(factors, fitted=self.fitted, relevant=self.relevant).ndcg


@dataclass(frozen=True, eq=False)
class RatedSet:
    """A data set whose held-out ratings are to be predicted."""

    name: str
    fitted: Interactions
    validation: ratings.HeldOut

    @classmethod
    def load(cls, name: str) -> Self:
        """Read the training part of a data set, that of seed 0, and cut its validation part off."""
        train, _ = RATINGS[name]().split(ratings.TEST_SHARE, seed=0)
        fit, validation = train.split(movielens.VALIDATION_SHARE, seed=1)
        fitted = fit.interactions()
        return cls(name, fitted, ratings.HeldOut.of(validation, fitted=fitted))

    def reference(self) -> float:
        """Return the RMSE of means and biases."""
        return self.validation.metrics(ratings.means_and_biases(self.fitted)).rmse

    def measure(self, factors: Factors) -> float:
        """Return the RMSE of a model."""
        return self.validation.metrics(factors).rmse


@dataclass(frozen=True)
class Criterion:
    """What a setting is judged by."""

    name: str
    reference: str
    load: Callable[[str], DataSet]
    diverged: float
    lower_is_better: bool

    def ratios(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how close each setting comes to the best of each data set, on average.  # (settings,)."""
        shares = table.min(axis=0) / table if self.lower_is_better else table / table.max(axis=0)
        return np.asarray(shares.mean(axis=1))


RANKING = Criterion(f"nDCG@{movielens.K}", "most popular", RankedSet.load, diverged=0.0, lower_is_better=False)
PREDICTION = Criterion("RMSE", "means and biases", RatedSet.load, diverged=np.inf, lower_is_better=True)


def criterion_of(algorithm: str) -> Criterion:
    """Return what the settings of an algorithm are judged by."""
    chosen = ALGORITHMS[algorithm]
    return PREDICTION if chosen.feedback(chosen.config()).needs_weights else RANKING


def settings_of(grid: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """Return the combinations of a grid."""
    return [_scaled(dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]


def _scaled(setting: dict[str, Any]) -> Setting:
    """Multiply λ, given for ν = 1, so that a row of frequency 200 keeps its penalty under the setting's ν."""
    if "regularization_exponent" in setting:
        penalty = setting["regularization"] * 200 ** (1 - setting["regularization_exponent"])
        setting["regularization"] = float(f"{penalty:.2g}")
    return setting


def measured(
    algorithm: str, setting: Setting, *, data: DataSet, criterion: Criterion, threads: int, seed: int
) -> float:
    """Train with one setting and measure."""
    chosen = ALGORITHMS[algorithm]
    config = replace(chosen.config(), **setting)
    try:
        factors = chosen.fit(data.fitted, config=config, random_state=seed, threads=threads)
    except AlgorithmError:
        return criterion.diverged
    return data.measure(factors)


def choose(algorithm: str, settings: Sequence[Setting], *, sets: Sequence[DataSet], threads: int, seed: int) -> None:
    """Measure every setting on every data set, print the table and the best setting."""
    criterion = criterion_of(algorithm)
    header = " ".join(f"{data.name:>8}" for data in sets)
    print(f"{algorithm}: {criterion.name} on validation parts\n{header}  seconds  setting")
    print(" ".join(f"{data.reference():8.4f}" for data in sets) + f"           {criterion.reference}")
    table = np.zeros((len(settings), len(sets)))
    for row, setting in enumerate(settings):
        started = time.perf_counter()
        for column, data in enumerate(sets):
            table[row, column] = measured(
                algorithm, setting, data=data, criterion=criterion, threads=threads, seed=seed
            )
        seconds = time.perf_counter() - started
        print(" ".join(f"{value:8.4f}" for value in table[row]) + f" {seconds:8.1f}  {_text(setting)}", flush=True)
    ratios = criterion.ratios(table)
    print(f"best first, by the mean share of the best {criterion.name} of the data set:")
    for row in np.argsort(-ratios, kind="stable")[:10]:
        print(f"{ratios[row]:.4f}  {_text(settings[row])}")


def _text(setting: Setting) -> str:
    return " ".join(f"{name}={value}" for name, value in setting.items()) or "defaults"


def given_values(texts: Sequence[str], *, algorithm: str) -> dict[str, list[Any]]:
    """Read NAME=VALUE,VALUE arguments as hyperparameters are read."""
    config = ALGORITHMS[algorithm].config
    grid = {}
    for text in texts:
        name, _, values = text.partition("=")
        if name not in options_of(config):
            raise SystemExit(f"{name!r} is no option of {algorithm}: choose from {', '.join(options_of(config))}")
        grid[name] = [getattr(Hyperparameters({name: value}).take(config), name) for value in values.split(",")]
    return grid


def main() -> None:
    """Parse the command line and search."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choose_defaults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("algorithm", choices=sorted(ALGORITHMS))
    parser.add_argument("--data", nargs="+", choices=list(TRAINING_PARTS), default=list(TRAINING_PARTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument(
        "--grid",
        nargs="+",
        default=None,
        metavar="NAME=VALUE[,VALUE]",
        help="combine these values alone, instead of the built-in grid; other options keep their defaults",
    )
    parser.add_argument("--defaults", action="store_true", help="measure the defaults alone")
    arguments = parser.parse_args()

    sets = [criterion_of(arguments.algorithm).load(name) for name in arguments.data]
    if arguments.defaults:
        settings: list[Setting] = [{}]
    elif arguments.grid:
        given = given_values(arguments.grid, algorithm=arguments.algorithm)
        settings = [dict(zip(given, values, strict=True)) for values in itertools.product(*given.values())]
    elif arguments.algorithm not in GRIDS:
        parser.error(f"there is no built-in grid for {arguments.algorithm}: give --grid or --defaults")
    else:
        settings = settings_of(GRIDS[arguments.algorithm])
    choose(arguments.algorithm, settings, sets=sets, threads=arguments.threads, seed=arguments.seed)


if __name__ == "__main__":
    main()
