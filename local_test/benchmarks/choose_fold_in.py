"""Choose how the sampled losses and softmax fold new users in, on validation parts; no test part is ever opened.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.choose_fold_in bpr

For each data set a model is trained on the training part less a validation part, and another one without 15% of the
users. The columns are nDCG@10 over something known:

* known: training users folded in from their own history, over their trained vectors;
* new: the users left out, folded in from their whole history, over the vectors that they get when trained with all;
* 1, 3, 10, 30: the same users folded in from so many of their items, over the most popular items, where all their
  other items count as relevant.

Listed first is the setting with the highest mean, over all columns, of its number divided by the best number of the
column: a setting has to be good for long and short histories alike. `--with` trains with other hyperparameters than
the defaults. Of settings that are close, the one in use keeps most of the first two columns there too.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import movielens
from benchmarks.choose_defaults import TRAINING_PARTS, given_values
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.evaluation.ranking import Relevant
from factorbox.models import ALGORITHMS
from factorbox.models.base import Factors
from factorbox.models.sampled import SampledFactorization
from factorbox.models.sampled_fold_in import FoldInScales, fold_in_constants
from factorbox.models.softmax import Softmax
from factorbox.recommend.fold_in import fold_in
from factorbox.recommend.lists import Lists, taken

Ridged = SampledFactorization | Softmax
"""What folds users in by a ridge regression."""

GRID: Mapping[str, Sequence[float]] = MappingProxyType(
    {"margin": (2.0, 3.0, 4.0, 6.0), "unobserved_share": (0.25, 0.5, 1.0, 2.0), "penalty": (0.05, 0.1, 0.2, 0.4)}
)
SHORT = (1, 3, 10, 30)
"""Lengths of the short histories."""

_NEW_SHARE = 0.15
_SEED = 2


@dataclass(frozen=True, eq=False)
class Case:
    """Users to fold into a model, what they will like, and the nDCG to divide theirs by."""

    name: str
    factors: Factors
    trained_on: Interactions
    histories: Interactions
    relevant: Relevant
    yardstick: float

    def ratio(self, algorithm: Ridged, *, config: Any, scales: FoldInScales) -> float:
        """Fold the users in and measure them."""
        factors = self.factors
        constants = fold_in_constants(factors, interactions=self.trained_on, scales=scales)
        system = algorithm.row_system(config, replace(factors.item_side, fold_in=constants))
        user_factors, user_biases = fold_in(system, self.histories.by_user())
        folded = replace(factors, user_factors=user_factors, user_biases=user_biases)
        return movielens.quality(folded, fitted=self.histories, relevant=self.relevant).ndcg / self.yardstick


def cases_of(name: str, algorithm: Ridged, *, config: Any, most_users: int, seed: int, threads: int) -> list[Case]:
    """Train on one data set and lay out what is measured there."""
    fit, validation = movielens.validation_cut(TRAINING_PARTS[name]())
    fitted = movielens.interactions_of(fit)
    held_out = movielens.relevant_of(validation, fitted=fitted)
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(fitted.n_users)
    n_new = round(_NEW_SHARE * fitted.n_users)
    others = _of_users(fitted, order[n_new:])
    known, new = rng.permutation(fitted.n_users)[:most_users], order[:n_new][:most_users]
    everyone, without_new = (
        algorithm.fit(data, config=config, random_state=seed, threads=threads) for data in (fitted, others)
    )
    cases = []
    for column, users, factors, data in (("known", known, everyone, fitted), ("new", new, without_new, others)):
        histories, relevant = _of_users(fitted, users), _relevant_to(np.sort(users), held_out)
        trained = _for_users(everyone, np.sort(users))
        yardstick = movielens.quality(trained, fitted=histories, relevant=relevant).ndcg
        cases.append(Case(f"{name} {column}", factors, data, histories, relevant, yardstick))
    popularity = _popularity(others)
    for length in SHORT:
        users = np.sort(new[np.diff(fitted.indptr)[new] > length])
        histories, relevant = _shortened(
            _of_users(fitted, users), _relevant_to(users, held_out), length=length, rng=rng
        )
        same = _for_users(popularity, np.zeros(len(users), dtype=np.int64))
        yardstick = movielens.quality(same, fitted=histories, relevant=relevant).ndcg
        cases.append(Case(f"{name} {length}", without_new, others, histories, relevant, yardstick))
    return cases


def _of_users(interactions: Interactions, users: NDArray[np.int64]) -> Interactions:
    """Keep some users, in index order; items keep their indices."""
    users = np.sort(users)
    rows = taken(interactions.by_user(), users)
    return Interactions(
        user_ids=Ids.from_texts([interactions.user_ids[int(user)] for user in users]),
        item_ids=interactions.item_ids,
        indptr=rows.indptr,
        item_indices=rows.indices,
        weights=rows.weights,
    )


def _for_users(factors: Factors, users: NDArray[np.int64]) -> Factors:
    return replace(factors, user_factors=factors.user_factors[users], user_biases=factors.user_biases[users])


def _relevant_to(users: NDArray[np.int64], relevant: Relevant) -> Relevant:
    lists = Lists(relevant.indptr, relevant.item_indices).taken(users)
    return Relevant(lists.indptr, lists.indices)


def _popularity(interactions: Interactions) -> Factors:
    """Score each item by the number of its users, for one user."""
    counts = np.bincount(interactions.item_indices, minlength=interactions.n_items).astype(np.float32)
    return Factors(
        user_factors=np.zeros((1, 1), dtype=np.float32),
        item_factors=np.zeros((len(counts), 1), dtype=np.float32),
        user_biases=np.zeros(1, dtype=np.float32),
        item_biases=counts,
        epochs=1,
        train_loss=0.0,
    )


def _shortened(
    histories: Interactions, relevant: Relevant, *, length: int, rng: np.random.Generator
) -> tuple[Interactions, Relevant]:
    """Keep `length` items of each history and count the others as relevant."""
    users = np.repeat(np.arange(histories.n_users), np.diff(histories.indptr))
    by_chance = np.lexsort((rng.random(histories.n_pairs), users))
    kept = np.zeros(histories.n_pairs, dtype=np.bool_)
    kept[by_chance[(histories.indptr[:-1, None] + np.arange(length)).ravel()]] = True
    shortened = replace(
        histories,
        indptr=length * np.arange(histories.n_users + 1),
        item_indices=histories.item_indices[kept],
        weights=histories.weights[kept],
    )
    held_out_users = np.repeat(np.arange(histories.n_users), relevant.counts)
    every = Relevant.from_pairs(
        np.concatenate([users[~kept], held_out_users]),
        np.concatenate([histories.item_indices[~kept], relevant.item_indices]).astype(np.int64),
        n_users=histories.n_users,
    )
    return shortened, every


def choose(algorithm: Ridged, settings: Sequence[FoldInScales], *, config: Any, cases: Sequence[Case]) -> None:
    """Measure every setting on every case, print the table and the best settings."""
    print(
        f"{algorithm.name}: nDCG@{movielens.K} on validation parts, over trained vectors or over the most popular items"
    )
    print(" ".join(f"{case.name:>13}" for case in cases) + "  setting")
    print(" ".join(f"{case.yardstick:13.4f}" for case in cases) + "  what it is divided by")
    table = np.zeros((len(settings), len(cases)))
    for row, scales in enumerate(settings):
        table[row] = [case.ratio(algorithm, config=config, scales=scales) for case in cases]
        print(" ".join(f"{ratio:13.3f}" for ratio in table[row]) + f"  {_text(scales)}", flush=True)
    ratios = (table / table.max(axis=0)).mean(axis=1)
    print("best first, by the mean of each number / the best of its column:")
    for row in np.argsort(-ratios, kind="stable")[:10]:
        print(f"{ratios[row]:.4f}  {_text(settings[row])}")


def _text(scales: FoldInScales) -> str:
    return " ".join(f"{name}={value:g}" for name, value in asdict(scales).items())


def main() -> None:
    """Parse the command line and search."""
    sampled = {name: found for name, found in ALGORITHMS.items() if isinstance(found, Ridged)}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choose_fold_in",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("algorithm", choices=sorted(sampled))
    parser.add_argument("--data", nargs="+", choices=list(TRAINING_PARTS), default=list(TRAINING_PARTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--users", type=int, default=1000, help="fold in at most so many in each column")
    parser.add_argument("--with", nargs="+", default=[], metavar="NAME=VALUE", dest="given", help="hyperparameters")
    parser.add_argument("--defaults", action="store_true", help="measure the setting of the algorithm alone")
    arguments = parser.parse_args()

    algorithm = sampled[arguments.algorithm]
    given = given_values(arguments.given, algorithm=arguments.algorithm)
    config = algorithm.config(**{name: values[0] for name, values in given.items()})
    cases = [
        case
        for name in arguments.data
        for case in cases_of(
            name,
            algorithm,
            config=config,
            most_users=arguments.users,
            seed=arguments.seed,
            threads=arguments.threads,
        )
    ]
    settings = [FoldInScales(**dict(zip(GRID, values, strict=True))) for values in itertools.product(*GRID.values())]
    choose(algorithm, [algorithm.fold_in_scales] if arguments.defaults else settings, config=config, cases=cases)


if __name__ == "__main__":
    main()
