"""Every algorithm with its defaults and tuned on the published ML-100K benchmark split, beside the published results.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.ml100k

All test pairs are relevant, items of training are left out, means are over the users of the test part, k = 10,
MAP divides by the number of relevant items and nDCG is binary: the protocol of the published table, which has neither
MRR nor hit rate. The defaults come from the code, the hyperparameters of a tuned row from tuned.json: `python -m
benchmarks.tune_tables` chose them on a fifth of the training part. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from benchmarks import ml1m, movielens
from factorbox.evaluation.popularity import most_popular
from factorbox.evaluation.ranking import RankingMetrics, ranking_metrics
from factorbox.models import ALGORITHMS

PUBLISHED = (
    ("Spark ALS (explicit)", 0.0033, 0.0332, 0.0385, 0.0134),
    ("NCF", 0.0952, 0.3686, 0.3269, 0.1632),
    ("SAR", 0.1140, 0.3938, 0.3406, 0.1854),
    ("LightGCN", 0.1209, 0.4164, 0.3592, 0.1960),
    ("BPR (Cornac, k=200)", 0.1340, 0.4450, 0.3887, 0.2166),
    ("BiVAE", 0.1436, 0.4687, 0.4082, 0.2209),
)
"""Model, MAP, nDCG@10, precision@10, recall@10 of Microsoft Recommenders, examples/06_benchmarks."""


def main() -> None:
    """Train, measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ml100k",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("algorithms", nargs="*", metavar="ALGORITHM", help="default: all that do without ratings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one row for each")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.algorithms) - set(ALGORITHMS))
    if unknown:
        parser.error(f"no algorithm {unknown[0]!r}: choose from {', '.join(ALGORITHMS)}")

    fitted = movielens.interactions_of(movielens.ml100k_train())
    relevant = movielens.relevant_of(movielens.ml100k_test(), fitted=fitted)
    print(f"{'model':32}MAP     nDCG@10 P@10    R@10    MRR@10  hits@10 seconds of training")
    for name, *values in PUBLISHED:
        print(f"{name:32}{_figures(*values)}{16 * ' '}published")
    users = np.flatnonzero(relevant.counts)
    rows = most_popular(fitted, user_indices=users, k=movielens.K)
    _print_row("most popular", ranking_metrics(rows, user_indices=users, relevant=relevant, k=movielens.K), "")
    tuned = ml1m.tuned("ml-100k")
    for name in arguments.algorithms or _of_pairs():
        algorithm = ALGORITHMS[name]
        configs = {f"factorbox {name}": algorithm.config()}
        if name in tuned:
            configs[f"factorbox {name}, tuned"] = replace(algorithm.config(), **tuned[name])
        for label, config in configs.items():
            for seed in arguments.seeds:
                started = time.perf_counter()
                factors = algorithm.fit(fitted, config=config, random_state=seed, threads=arguments.threads)
                seconds = time.perf_counter() - started
                metrics = movielens.quality(factors, fitted=fitted, relevant=relevant)
                _print_row(label, metrics, f"{seconds:.2f}")


def _of_pairs() -> list[str]:
    """Name the algorithms that do without ratings."""
    return [name for name, chosen in ALGORITHMS.items() if not chosen.feedback(chosen.config()).needs_weights]


def _print_row(model: str, metrics: RankingMetrics, note: str) -> None:
    shown = metrics.map, metrics.ndcg, metrics.precision, metrics.recall, metrics.mrr, metrics.hit_rate
    print(f"{model:32}{_figures(*shown)}{note}", flush=True)


def _figures(*values: float) -> str:
    return "".join(f"{value:<8.4f}" for value in values)


if __name__ == "__main__":
    main()
