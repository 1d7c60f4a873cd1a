"""Choose hyperparameters for the tables of `ml100k` and `ml1m` on validation data, and keep them in tuned.json.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.tune_tables als softmax ease

For ML-100K, and for each cut of ML-1M by itself, a fifth of the training part is held out, every setting of `GRIDS` is
trained on the rest, and the one with the highest nDCG@10 on that fifth is kept. No test part is opened. What is not
named on the command line keeps what stands in the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from benchmarks import ml1m, movielens
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.evaluation.ranking import Relevant
from factorbox.models import ALGORITHMS

TUNED = Path(__file__).with_name("tuned.json")
EASE = "ease"
Setting = Mapping[str, Any]


def combined(*parts: Sequence[Setting]) -> list[Setting]:
    """Return every combination of one setting of each part."""
    return [{name: value for part in parts_ for name, value in part.items()} for parts_ in product(*parts)]


def values(name: str, *given: Any) -> list[Setting]:
    """Return a setting for each value of one hyperparameter."""
    return [{name: value} for value in given]


def _als(exponent: float, unobserved_weight: float, regularization: float) -> Setting:
    return {
        "regularization_exponent": exponent,
        "unobserved_weight": unobserved_weight,
        "regularization": regularization,
    }


_RATES = values("learning_rate", 0.05, 0.1)

GRIDS: Mapping[str, Sequence[Setting]] = MappingProxyType(
    {
        "als": combined(
            values("embedding_dim", 64, 256),
            [_als(1.0, 0.34, 0.0077), _als(1.0, 0.2, 0.012), _als(1.0, 0.17, 0.024), _als(0.5, 0.27, 0.38)],
        ),
        "softmax": combined(
            values("learning_rate", 0.05), values("embedding_dim", 64, 128, 256), values("temperature", 0.2, 0.25)
        ),
        "bpr": combined(_RATES, values("regularization", 0.01, 0.02, 0.04)),
        "hinge": combined(_RATES, values("regularization", 0.025, 0.05, 0.1)),
        "adaptive_hinge": combined(_RATES, values("regularization", 0.06, 0.08, 0.1)),
        "pointwise": combined(_RATES, values("regularization", 0.02, 0.04, 0.08)),
        "nmf": values("embedding_dim", 16, 32, 64),
        EASE: values("penalty", 300.0, 500.0, 800.0, 1200.0, 1800.0),
    }
)
"""For each algorithm the settings that are compared; what is not named keeps its default. `ease` is that of `ml1m`."""


def measure(name: str, setting: Setting, *, fitted: Interactions, relevant: Relevant, seed: int, threads: int) -> float:
    """Train with one setting and return nDCG@10 of the held-out part; 0 where the training diverged."""
    if name == EASE:
        return ml1m.ease(ml1m.Cut(seed, fitted, relevant), **setting).ndcg
    algorithm = ALGORITHMS[name]
    config = replace(algorithm.config(), **setting)
    try:
        factors = algorithm.fit(fitted, config=config, random_state=seed, threads=threads)
    except AlgorithmError:
        return 0.0
    return movielens.quality(factors, fitted=fitted, relevant=relevant).ndcg


def training_parts(sets: Sequence[str], *, seeds: Sequence[int]) -> Iterator[tuple[str, int, movielens.Pairs]]:
    """Yield the name that each training part has in the file, the seed of its cut, and its pairs."""
    if "ml-100k" in sets:
        yield "ml-100k", 0, movielens.ml100k_train()
    if "ml-1m" in sets:
        pairs = movielens.ml1m()
        for seed in seeds:
            yield ml1m.tuned_name(seed), seed, ml1m.training_part(pairs, seed=seed)


def main() -> None:
    """Search and write the file anew."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tune_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("algorithms", nargs="+", choices=list(GRIDS), metavar="ALGORITHM", help=", ".join(GRIDS))
    parser.add_argument("--data", nargs="+", choices=("ml-100k", "ml-1m"), default=["ml-100k", "ml-1m"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="cuts of ML-1M")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for part, seed, train in training_parts(arguments.data, seeds=arguments.seeds):
        fit, validation = movielens.validation_cut(train)
        fitted = movielens.interactions_of(fit)
        relevant = movielens.relevant_of(validation, fitted=fitted)
        for name in arguments.algorithms:
            reached = []
            for setting in GRIDS[name]:
                options: Any = dict(fitted=fitted, relevant=relevant, seed=seed, threads=arguments.threads)
                reached.append(measure(name, setting, **options))
                print(f"{part} {name} nDCG@{movielens.K}={reached[-1]:.4f} {json.dumps(setting)}", flush=True)
            best = max(range(len(reached)), key=reached.__getitem__)
            kept = json.loads(TUNED.read_text(encoding="utf-8")) if TUNED.exists() else {}
            kept.setdefault(part, {})[name] = dict(GRIDS[name][best])
            TUNED.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
