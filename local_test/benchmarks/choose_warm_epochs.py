"""Choose after how many epochs a measured model has learned what was held out, on validation parts.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.choose_warm_epochs als

A tenth of each user's pairs is taken out of the part that is trained on, a model is trained on the rest and goes on
from there with all, as a job does once it has measured a model. Printed is nDCG@10 on the validation part, after so
many epochs more, over that of a training with all from the beginning; means of some seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from benchmarks.choose_defaults import TRAINING_PARTS, RankedSet
from factorbox.data.splits import hold_out
from factorbox.models import ALGORITHMS
from factorbox.models.base import Epoch, Watch
from factorbox.models.pair_algorithm import PairAlgorithm

_PUT_BACK = 0.1
_SEED = 5


def shares(
    name: str, data: RankedSet, *, epochs: Sequence[int], seeds: Sequence[int], threads: int
) -> dict[str, float]:
    """Return the mean nDCG of a training with all, and what the others have of it, by what they are."""
    algorithm = ALGORITHMS[name]
    everybody = data.fitted.n_users
    less = hold_out(
        data.fitted, method="stratified", fraction=_PUT_BACK, most_users=everybody, random_state=_SEED
    ).training
    config = algorithm.resolved(algorithm.config(), interactions=data.fitted)
    found: dict[str, list[float]] = {}

    for seed in seeds:
        how = dict(config=config, random_state=seed, threads=threads)
        found.setdefault("anew", []).append(data.measure(algorithm.fit(data.fitted, **how)))
        start = algorithm.fit(less, **how)
        found.setdefault("less", []).append(data.measure(start))

        def look(epoch: Epoch, trained: int = start.epochs) -> None:
            if (more := epoch.number - trained) in epochs:
                found.setdefault(str(more), []).append(data.measure(epoch.snapshot()))

        longer = algorithm.continuation(config, epochs=max(epochs))
        algorithm.fit(data.fitted, **{**how, "config": longer}, start=start, watch=Watch(on_epoch=look))
    means = {what: float(np.mean(values)) for what, values in found.items()}
    return {what: mean if what == "anew" else mean / means["anew"] for what, mean in means.items()}


def main() -> None:
    """Parse the command line, train and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choose_warm_epochs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    of_pairs = [name for name, found in ALGORITHMS.items() if name == "als" or isinstance(found, PairAlgorithm)]
    parser.add_argument("algorithm", choices=of_pairs)
    parser.add_argument("--data", nargs="+", choices=list(TRAINING_PARTS), default=["ml-100k"])
    parser.add_argument("--epochs", nargs="+", type=int, default=[3, 5, 8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for name in arguments.data:
        got = shares(
            arguments.algorithm,
            RankedSet.load(name),
            epochs=arguments.epochs,
            seeds=arguments.seeds,
            threads=arguments.threads,
        )
        texts = [f"{what}: {value:.4f}" for what, value in got.items()]
        print(f"{arguments.algorithm} on {name}: {', '.join(texts)}")


if __name__ == "__main__":
    main()
