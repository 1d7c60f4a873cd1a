"""Every algorithm with its defaults and tuned on ML-1M, a fifth of all rows held out, beside the published results.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.ml1m [ALGORITHM ...]

Each row is the mean of several cuts, one for each seed, which is that of training too. Every rating is an interaction,
all items but those of training are ranked, means are over the users of the test part, and k = 10. Precision divides by
k, recall by the number of test items, and MAP by min(k, test items): the protocol of the published table. The ranking
by popularity, and EASE in a few lines here, have published rows of their own, so one sees whether it is the same.
The hyperparameters of a tuned row stand in tuned.json: `python -m benchmarks.tune_tables` chose them for each cut on a
fifth of its own training part.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import movielens
from factorbox.data.interactions import Interactions
from factorbox.evaluation.popularity import most_popular
from factorbox.evaluation.ranking import RankingMetrics, Relevant, ranking_metrics
from factorbox.models import ALGORITHMS

PUBLISHED = (
    ("TopPopular", 0.1832, 0.0685, 0.1168),
    ("MF BPR", 0.3073, 0.1384, 0.2217),
    ("PureSVD", 0.3575, 0.1624, 0.2722),
    ("iALS", 0.3628, 0.1702, 0.2743),
    ("SLIM ElasticNet", 0.3813, 0.1770, 0.3003),
    ("EASE", 0.3857, 0.1820, 0.3035),
)
"""Model, P@10, R@10, MAP@10 of Ferrari Dacrema et al. 2021, "A Troubling Analysis of Reproducibility and Progress in
Recommender Systems Research", additional material, table 79; their hyperparameters are tuned."""

_SLOW = ("mlp",)
"""What takes many minutes a cut, and is trained only where it is named."""

_EASE_PENALTY = 500.0
"""λ of the method's paper for MovieLens data."""

_EASE = "ease"
_TUNED = Path(__file__).with_name("tuned.json")
_POPULAR = "most popular"


def tuned_name(seed: int) -> str:
    """Return what the cut of a seed is called in tuned.json."""
    return f"ml-1m cut {seed}"


def training_part(pairs: movielens.Pairs, *, seed: int) -> movielens.Pairs:
    """Return the training part of a cut."""
    return pairs.split(movielens.TEST_SHARE_1M, seed=seed)[0]


def tuned(part: str) -> dict[str, dict[str, Any]]:
    """Return the chosen hyperparameters of each algorithm for one training part."""
    kept: dict[str, dict[str, dict[str, Any]]] = json.loads(_TUNED.read_text(encoding="utf-8"))
    return kept.get(part, {})


@dataclass(frozen=True, eq=False)
class Cut:
    """One cut into the part that models are trained on and the part that they are measured by."""

    seed: int
    fitted: Interactions
    relevant: Relevant

    @classmethod
    def of(cls, pairs: movielens.Pairs, *, seed: int) -> Cut:
        """Hold a fifth of the pairs out."""
        fit, held_out = pairs.split(movielens.TEST_SHARE_1M, seed=seed)
        fitted = movielens.interactions_of(fit)
        return cls(seed, fitted, movielens.relevant_of(held_out, fitted=fitted))


def popular(cut: Cut) -> RankingMetrics:
    """Measure the ranking by popularity."""
    users = np.flatnonzero(cut.relevant.counts)
    rows = most_popular(cut.fitted, user_indices=users, k=movielens.K)
    return ranking_metrics(rows, user_indices=users, relevant=cut.relevant, k=movielens.K)


def ease(cut: Cut, *, penalty: float = _EASE_PENALTY) -> RankingMetrics:
    """Measure the item-to-item regression of Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data".

    P = (XᵀX + λI)⁻¹, B = −P / diag(P) with a diagonal of zeros, and the scores of user u are the row x_u B.
    """
    fitted = cut.fitted
    seen = torch.zeros(fitted.n_users, fitted.n_items, dtype=torch.float64)
    owners = np.repeat(np.arange(fitted.n_users), np.diff(fitted.indptr))
    seen[torch.from_numpy(owners), torch.from_numpy(fitted.item_indices.astype(np.int64))] = 1.0
    inverse = torch.linalg.inv(seen.T @ seen + penalty * torch.eye(fitted.n_items, dtype=torch.float64))
    weights = -inverse / inverse.diagonal()
    weights.fill_diagonal_(0.0)
    scores = (seen @ weights).masked_fill_(seen.bool(), -torch.inf)
    users = np.flatnonzero(cut.relevant.counts)
    rows = scores[torch.from_numpy(users)].topk(movielens.K, dim=1).indices.numpy()
    return ranking_metrics(rows, user_indices=users, relevant=cut.relevant, k=movielens.K)


def tuned_ease(cut: Cut) -> RankingMetrics:
    """Measure EASE with the penalty chosen for the cut."""
    return ease(cut, **tuned(tuned_name(cut.seed))[_EASE])


def trained(name: str, *, threads: int, with_tuned: bool = False) -> Callable[[Cut], RankingMetrics]:
    """Return what trains an algorithm, with its defaults or what was chosen for the cut, and measures it."""
    algorithm = ALGORITHMS[name]

    def measure(cut: Cut) -> RankingMetrics:
        chosen = tuned(tuned_name(cut.seed))[name] if with_tuned else {}
        config = replace(algorithm.config(), **chosen)
        factors = algorithm.fit(cut.fitted, config=config, random_state=cut.seed, threads=threads)
        return movielens.quality(factors, fitted=cut.fitted, relevant=cut.relevant)

    return measure


def chosen(named: Sequence[str]) -> list[str]:
    """Return what is trained: what is named, else every algorithm that does without ratings and is not slow."""
    without_ratings = [name for name, one in ALGORITHMS.items() if not one.feedback(one.config()).needs_weights]
    return list(named) or [*(name for name in without_ratings if name not in _SLOW), _EASE]


def main() -> None:
    """Train, measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ml1m", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    slow = ", ".join(_SLOW)
    parser.add_argument(
        "algorithms", nargs="*", metavar="ALGORITHM", help=f"default: ease and all that do without ratings but {slow}"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the cuts and of training")
    arguments = parser.parse_args()
    known = [*ALGORITHMS, _EASE]
    if unknown := sorted(set(arguments.algorithms) - set(known)):
        parser.error(f"no algorithm {unknown[0]!r}: choose from {', '.join(known)}")

    torch.set_num_threads(arguments.threads)
    pairs = movielens.ml1m()
    cuts = [Cut.of(pairs, seed=seed) for seed in arguments.seeds]
    print(f"ML-1M, {1 - movielens.TEST_SHARE_1M:.0%} of the rows to train, means of {len(cuts)} cuts")
    print(f"{'model':32}P@10    R@10    MAP@10  seconds")
    for name, *values in PUBLISHED:
        print(f"{name:32}" + "  ".join(f"{value:.4f}" for value in values) + "  published")
    models: dict[str, Callable[[Cut], RankingMetrics]] = {_POPULAR: popular}
    for name in chosen(arguments.algorithms):
        is_tuned = all(name in tuned(tuned_name(seed)) for seed in arguments.seeds)
        if name == _EASE:
            models[f"ease, λ={_EASE_PENALTY:g}, a few lines"] = ease
            if is_tuned:
                models["ease, tuned"] = tuned_ease
        else:
            models[f"factorbox {name}"] = trained(name, threads=arguments.threads)
            if is_tuned:
                models[f"factorbox {name}, tuned"] = trained(name, threads=arguments.threads, with_tuned=True)
    for label, measure in models.items():
        metrics, seconds = [], []
        for cut in cuts:
            started = time.perf_counter()
            metrics.append(measure(cut))
            seconds.append(time.perf_counter() - started)
        means = (statistics.fmean(getattr(m, part) for m in metrics) for part in ("precision", "recall", "map_min"))
        row = "  ".join(f"{value:.4f}" for value in means)
        print(f"{label:32}{row}  {statistics.median(seconds):.1f}", flush=True)


if __name__ == "__main__":
    main()
