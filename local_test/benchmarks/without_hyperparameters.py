"""How near a job without hyperparameters comes to tuned `als`, on real and made-up data.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.without_hyperparameters

A fifth of each user's pairs is the test part, which nothing else looks at. The job without hyperparameters gets the
rest and runs as a training job does, with its own hold-out, trials and refit. The tuned row is the best of a search by
Optuna (TPE) on a tenth of the rest: unobserved weight, regularization, its exponent (0.5 or 1) and epochs; it is
trained anew on all of the rest. Both have the default dimension. The search begins with what the rules choose.
"""

from __future__ import annotations

import argparse
import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import movielens
from benchmarks.generated import SHAPES, interactions_of, pairs_of
from benchmarks.side_by_side import machine
from factorbox.data.interactions import Interactions
from factorbox.data.splits import Split, hold_out
from factorbox.evaluation.held_out import HeldOutRankings
from factorbox.evaluation.metrics import K
from factorbox.evaluation.popularity import most_popular
from factorbox.evaluation.ranking import ranking_metrics
from factorbox.models.als import ALS, ALSConfig
from factorbox.models.base import Epoch, Factors, Watch
from factorbox.training.fitting import Fitting
from factorbox.training.job import read_job
from factorbox.training.measured_training import MeasuredTraining
from factorbox.training.trials import CHOICE

_TEST_SHARE, _VALIDATION_SHARE = 0.2, 0.1
_MOST_USERS = 5_000
_MOST_EPOCHS = 24
_FORMER = ALSConfig(unobserved_weight=0.3, regularization=0.38, regularization_exponent=0.5)
"""Defaults of earlier releases, which were chosen on ML-100K and ML-1M."""

DATA_SETS = ("ml-100k", "ml-latest-small", "ml-1m", "check-ins", "few-users", "play-counts")


@dataclass(frozen=True, eq=False)
class Part:
    """What models are trained on, and the pairs that they should find."""

    split: Split
    rankings: HeldOutRankings

    @classmethod
    def of(cls, interactions: Interactions, *, share: float, most_users: int, seed: int, threads: int) -> Part:
        """Hold a share of the pairs of each of some users out."""
        split = hold_out(interactions, method="stratified", fraction=share, most_users=most_users, random_state=seed)
        trained = split.training.by_user()
        return cls(split, HeldOutRankings(trained, split.held_out, users=split.users, k=K, threads=threads))

    def ndcg(self, factors: Factors) -> float:
        """Measure a model."""
        return self.rankings.metrics(factors).ndcg

    def most_popular(self) -> float:
        """Measure the most popular items."""
        rows = most_popular(self.split.training, user_indices=self.rankings.users, k=K)
        users = np.arange(len(rows))
        return ranking_metrics(rows, user_indices=users, relevant=self.rankings.relevant, k=K).ndcg


def load(name: str) -> Interactions:
    """Read or make a data set; of ML-100K the training part of its published split."""
    if name in SHAPES:
        return interactions_of(pairs_of(SHAPES[name]), shape=SHAPES[name])
    if name == "ml-latest-small":
        file = movielens.data_folder() / name / "ratings.csv"
        with file.open(encoding="utf-8", newline="") as lines:
            users, items = zip(*((row["userId"], row["movieId"]) for row in csv.DictReader(lines)), strict=True)
        return movielens.interactions_of(movielens.Pairs(np.array(users), np.array(items)))
    return movielens.interactions_of(movielens.ml1m() if name == "ml-1m" else movielens.ml100k_train())


def without_hyperparameters(training: Interactions, *, seed: int, threads: int) -> tuple[Factors, ALSConfig, str]:
    """Train as a job does that is given nothing; return the model, its configuration and what its trials say."""
    job = read_job({"algorithm": "als", "random_state": str(seed)})
    resolved = job.algorithm.resolved(job.config, interactions=training)
    fitting = Fitting(replace(job, config=resolved, asked=job.config), threads, "cpu", should_stop=lambda: False)
    whole = MeasuredTraining(fitting)
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("factorbox.training.trials")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        measured = whole.measured(training)
    finally:
        logger.removeHandler(handler)
    config: ALSConfig = measured.job.config
    return whole.finished(measured, training).factors, config, said[-1]


def tuned(training: Interactions, *, trials: int, seed: int, threads: int) -> ALSConfig:
    """Search on a validation part of the training data."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    part = Part.of(training, share=_VALIDATION_SHARE, most_users=_MOST_USERS, seed=seed + 1, threads=threads)
    by_rule = ALS().resolved(ALSConfig(), interactions=part.split.training)
    best: list[tuple[float, ALSConfig]] = []

    def value(trial: optuna.trial.Trial) -> float:
        exponent = 1.0 if trial.suggest_categorical("regularization_exponent", [1.0, 0.5]) == 1.0 else 0.5
        weight = trial.suggest_float("unobserved_weight", 0.01, 1, log=True)
        asked = ALSConfig(unobserved_weight=weight, regularization_exponent=exponent, epochs=_MOST_EPOCHS)
        config = ALS().resolved(asked, interactions=part.split.training)
        assert config.regularization is not None
        # In multiples of what the rule gives for this weight and exponent: good ones lie closer together.
        factor = trial.suggest_float("factor", 0.3, 3, log=True)
        config = replace(config, regularization=factor * config.regularization)
        curve: list[float] = []

        def on_epoch(epoch: Epoch) -> None:
            curve.append(part.ndcg(epoch.snapshot()) if epoch.number % 4 == 0 else 0.0)

        ALS().fit(
            part.split.training, config=config, random_state=seed, threads=threads, watch=Watch(on_epoch=on_epoch)
        )
        best.append((max(curve), replace(config, epochs=int(np.argmax(curve)) + 1)))
        return max(curve)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    start = {"regularization_exponent": 1.0, "unobserved_weight": by_rule.unobserved_weight, "factor": 1.0}
    study.enqueue_trial(start)
    study.optimize(value, n_trials=trials)
    return max(best, key=lambda one: one[0])[1]


@dataclass(frozen=True)
class Compared:
    """What one cut of a data set gives.

    Attributes
    ----------
    ndcgs
        nDCG of the most popular items, of earlier defaults, of the job without hyperparameters and of the tuned model.
    settings
        What the job chose, by which trials, and what the search found, in words.
    """

    ndcgs: tuple[float, float, float, float]
    settings: tuple[str, str, str]


def row_of(name: str, *, trials: int, seeds: Sequence[int], threads: int) -> str:
    """Return the row of a data set: means over the seeds, and the settings of the first."""
    cuts = [compared(name, trials=trials, seed=seed, threads=threads) for seed in seeds]
    popular, former, given_nothing, best = np.mean([cut.ndcgs for cut in cuts], axis=0)
    return (
        f"| {name} | {popular:.4f} | {former:.4f} | **{given_nothing:.4f}** | {best:.4f}"
        f" | {100 * given_nothing / best:.1f}% | {' | '.join(cuts[0].settings)} |"
    )


def compared(name: str, *, trials: int, seed: int, threads: int) -> Compared:
    """Compare on one cut of a data set."""
    test = Part.of(load(name), share=_TEST_SHARE, most_users=2**31, seed=seed, threads=threads)
    training = test.split.training
    factors, config, said = without_hyperparameters(training, seed=seed, threads=threads)
    given_nothing = test.ndcg(factors)
    choice = CHOICE.search(said)
    found = tuned(training, trials=trials, seed=seed, threads=threads)

    def trained(asked: ALSConfig) -> float:
        return test.ndcg(ALS().fit(training, config=asked, random_state=seed, threads=threads))

    tried = f"×{choice[1]}, {100 * float(choice[2]):.0f}%" if choice else "none"
    return Compared(
        (test.most_popular(), trained(_FORMER), given_nothing, trained(found)),
        (_settings(config), tried, _settings(found)),
    )


def _settings(config: ALSConfig) -> str:
    return (
        f"α0={config.unobserved_weight:.2g}, λ={config.regularization:.2g}, ν={config.regularization_exponent:g},"
        f" {config.epochs} epochs"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.without_hyperparameters",
        description="Compare a job without hyperparameters with tuned als, on real and made-up data.",
    )
    parser.add_argument("data_sets", nargs="*", choices=(*DATA_SETS, *SHAPES, []), metavar="DATA_SET")
    parser.add_argument("--trials", type=int, default=40, help="fits of the search that tunes")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0],
        help="decide what is held out and where fits start; means over them",
    )
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    print(machine())
    print(
        f"\n| data | most popular | former defaults | no hyperparameters | tuned (nDCG@{K}) | share of tuned"
        " | chosen | trials: λ of the rule, row updates of the fit's | best of the search |"
    )
    print("| --- " * 9 + "|")
    for name in given.data_sets or DATA_SETS:
        print(row_of(name, trials=given.trials, seeds=given.seeds, threads=given.threads), flush=True)


if __name__ == "__main__":
    main()
