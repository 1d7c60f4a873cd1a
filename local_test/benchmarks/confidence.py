"""What a count should mean to als: its confidence transforms on made-up play counts, and on ratings as weights.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.confidence [--data NAME ...]

A random fifth of the pairs is the test part, another one for each seed. For each transform alpha and regularization are
chosen on validation data, a fifth of what the first seed trains on; then each seed trains on all but its test part.
Only the ratios of alpha, unobserved_weight and regularization matter to a ranking, but for a small part of the penalty:
so unobserved_weight stays as it is while the other two are searched. An item counts as found whatever its count.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

import numpy as np
import optuna

from benchmarks import generated, movielens, ratings
from factorbox.data.interactions import Interactions
from factorbox.evaluation.popularity import most_popular
from factorbox.evaluation.ranking import Relevant, ranking_metrics
from factorbox.models.als import ALS, ALSConfig
from factorbox.models.base import Factors
from factorbox.models.confidence import TRANSFORMS, Confidence

_HELD_OUT = 0.2
_MOST_USERS = 5_000
_SEARCHED = ALSConfig(embedding_dim=64, epochs=10, unobserved_weight=0.1, regularization_exponent=0.5)
_ALPHAS = (0.1, 30.0)
"""Bounds of alpha, as a multiple of its default, 1 / the mean transformed weight."""
_REGULARIZATIONS = (0.01, 2.0)


@dataclass(frozen=True, eq=False)
class Part:
    """What a model is trained on and the held-out items that it should find."""

    fitted: Interactions
    relevant: Relevant

    @classmethod
    def of(cls, interactions: Interactions, *, seed: int) -> Self:
        """Hold a random fifth of the pairs out, and measure by those of some thousand users."""
        rng = np.random.default_rng(seed)
        held_out = rng.random(interactions.n_pairs) < _HELD_OUT
        owners = np.repeat(np.arange(interactions.n_users), interactions.by_user().counts)[held_out]
        users = np.unique(owners)
        drawn = rng.choice(users, min(_MOST_USERS, len(users)), replace=False)
        measured = np.isin(owners, drawn)
        relevant = Relevant.from_pairs(
            owners[measured], interactions.item_indices[held_out][measured], n_users=interactions.n_users
        )
        return cls(interactions.only(~held_out), relevant)

    def ndcg(self, config: ALSConfig, *, seed: int, threads: int) -> float:
        """Train and measure."""
        factors: Factors = ALS().fit(self.fitted, config=config, random_state=seed, threads=threads)
        return movielens.quality(factors, fitted=self.fitted, relevant=self.relevant).ndcg

    def popular(self) -> float:
        """Measure the ranking by popularity."""
        users = np.flatnonzero(self.relevant.counts)
        rows = most_popular(self.fitted, user_indices=users, k=movielens.K)
        return ranking_metrics(rows, user_indices=users, relevant=self.relevant, k=movielens.K).ndcg


def _made_up(name: str) -> Callable[[], Interactions]:
    def drawn() -> Interactions:
        shape = replace(generated.SHAPES[name], plays=True)
        return generated.interactions_of(generated.pairs_of(shape), shape=shape)

    return drawn


DATA: Mapping[str, Callable[[], Interactions]] = MappingProxyType(
    {
        "play-counts": _made_up("play-counts"),
        "check-ins, counted": _made_up("check-ins"),
        "few-users, counted": _made_up("few-users"),
        "ML-1M, ratings as weights": lambda: ratings.ml1m().interactions(),
    }
)


def default_alpha(part: Part, transform: str) -> float:
    """Return 1 / the mean transformed weight."""
    weighed = Confidence.of(transform, interactions=part.fitted).weighed(part.fitted)
    return 1 / float(weighed.weights.mean(dtype=np.float64))


def chosen(part: Part, transform: str, *, trials: int, threads: int) -> ALSConfig:
    """Return the settings of a transform that are best on validation data."""
    searched = replace(_SEARCHED, confidence=transform)
    mean_is_1 = default_alpha(part, transform)

    def config_of(trial: optuna.trial.BaseTrial) -> ALSConfig:
        alpha = mean_is_1 * trial.suggest_float("alpha", *_ALPHAS, log=True)
        return replace(
            searched, alpha=alpha, regularization=trial.suggest_float("regularization", *_REGULARIZATIONS, log=True)
        )

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial({"alpha": 1.0, "regularization": 0.1})
    study.optimize(lambda trial: part.ndcg(config_of(trial), seed=0, threads=threads), n_trials=trials)
    return config_of(optuna.trial.FixedTrial(study.best_params))


def main() -> None:
    """Search, train, measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.confidence",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--trials", type=int, default=20, help="settings tried for each transform")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the test parts and of training")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    print(f"nDCG@{movielens.K}, means of {len(arguments.seeds)} seeds (lowest to highest)\n")
    print("| data | most popular | transform | nDCG@10 | beside linear | alpha / default | regularization |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in arguments.data:
        interactions = DATA[name]()
        tests = {seed: Part.of(interactions, seed=seed) for seed in arguments.seeds}
        validation = Part.of(tests[arguments.seeds[0]].fitted, seed=1_000)
        popular = statistics.fmean(test.popular() for test in tests.values())
        linear = float("nan")
        for transform in TRANSFORMS:
            config = chosen(validation, transform, trials=arguments.trials, threads=arguments.threads)
            values = [test.ndcg(config, seed=seed, threads=arguments.threads) for seed, test in tests.items()]
            mean = statistics.fmean(values)
            linear = mean if transform == "linear" else linear
            assert config.alpha is not None
            print(
                f"| {name} | {popular:.4f} | {transform} | {mean:.4f} ({min(values):.4f} to {max(values):.4f})"
                f" | {mean / linear - 1:+.1%} | {config.alpha / default_alpha(validation, transform):.2g}"
                f" | {config.regularization:.2g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
