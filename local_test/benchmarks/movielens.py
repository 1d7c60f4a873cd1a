"""The MovieLens sets as interactions, cut into parts, and the quality of a model on the held-out part."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.evaluation.ranking import RankingMetrics, Relevant, ranking_metrics, top_items_matrix
from factorbox.models.base import Factors
from factorbox.recommend.lists import Lists, taken
from factorbox.recommend.network_ranking import candidates_of
from factorbox.recommend.top_n import Ranked, top_n

K = 10
"""Length of the rankings that are measured."""

VALIDATION_SHARE = 0.2
TEST_SHARE_1M = 0.2
_TEST_SEED_1M = 0
_VALIDATION_SEED = 1


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distinct (user, item) pairs by their external ids."""

    users: NDArray[np.str_]
    items: NDArray[np.str_]

    def split(self, share: float, *, seed: int) -> tuple[Pairs, Pairs]:
        """Cut off a random share of the pairs: (the rest, the share)."""
        order = np.random.default_rng(seed).permutation(len(self.users))
        cut = round(len(order) * share)
        held_out, rest = np.sort(order[:cut]), np.sort(order[cut:])
        return Pairs(self.users[rest], self.items[rest]), Pairs(self.users[held_out], self.items[held_out])


def data_folder() -> Path:
    """Return the folder with the data sets, named by the environment variable FACTORBOX_DATA."""
    folder = os.environ.get("FACTORBOX_DATA")
    if not folder:
        raise SystemExit("set FACTORBOX_DATA to the folder that holds ml-100k and ml-1m: see README.md here")
    return Path(folder)


def ml100k_train() -> Pairs:
    """Return the training part of the published ML-100K benchmark split."""
    return _pairs(data_folder() / "ml-100k" / "msrec_split_train.csv", user="userID", item="itemID")


def ml100k_test() -> Pairs:
    """Return its test part, which only the comparison with published results may open."""
    return _pairs(data_folder() / "ml-100k" / "msrec_split_test.csv", user="userID", item="itemID")


def ml1m() -> Pairs:
    """Return the 1,000,209 pairs of ML-1M."""
    return _pairs(data_folder() / "ml-1m" / "ratings.csv.gz", user="user_id", item="item_id")


def ml1m_train() -> Pairs:
    """Return 80% of ML-1M; the seed is fixed, so the other 20% are the same test part every time."""
    return ml1m().split(TEST_SHARE_1M, seed=_TEST_SEED_1M)[0]


def validation_cut(train: Pairs) -> tuple[Pairs, Pairs]:
    """Cut a validation part from a training part: (fit, validation)."""
    return train.split(VALIDATION_SHARE, seed=_VALIDATION_SEED)


def interactions_of(pairs: Pairs) -> Interactions:
    """Index pairs, every weight 1, as training does with files that have no weight column."""
    user_ids, item_ids = Ids.from_texts(pairs.users.tolist()), Ids.from_texts(pairs.items.tolist())
    return Interactions.from_pairs(
        user_ids,
        item_ids,
        user_indices=user_ids.indices_of(pairs.users.tolist()),
        item_indices=item_ids.indices_of(pairs.items.tolist()),
    )


def relevant_of(held_out: Pairs, *, fitted: Interactions) -> Relevant:
    """Index the held-out pairs as `fitted` is indexed.

    A user unknown to training cannot be ranked for and is left out. An item unknown to training stays among the
    relevant ones, under an index of its own: nobody can hit it, and it counts in the denominators.
    """
    users = fitted.user_ids.indices_of(held_out.users.tolist())
    items = fitted.item_ids.indices_of(held_out.items.tolist())
    unknown = items < 0
    items[unknown] = fitted.n_items + np.unique(held_out.items[unknown], return_inverse=True)[1]
    known = users >= 0
    return Relevant.from_pairs(users[known], items[known], n_users=fitted.n_users)


def quality(factors: Factors, *, fitted: Interactions, relevant: Relevant) -> RankingMetrics:
    """Rank all items but those of training for each user with held-out items, and measure."""
    users = np.flatnonzero(relevant.counts)
    seen = taken(fitted.by_user(), users)
    ranking = top_n(
        candidates_of(factors.item_factors, item_biases=factors.item_biases, layers=factors.layers),
        Ranked(factors.user_factors[users], factors.user_biases[users], np.full(len(users), K, dtype=np.int64)),
        excluded=Lists(seen.indptr, seen.indices),
    )
    rows = top_items_matrix(ranking.indptr, ranking.item_indices, k=K)
    return ranking_metrics(rows, user_indices=users, relevant=relevant, k=K)


def _pairs(path: Path, *, user: str, item: str) -> Pairs:
    if not path.is_file():
        raise SystemExit(f"{path} is missing: FACTORBOX_DATA names the wrong folder, or see README.md here")
    with _opened(path) as lines:
        pairs = [(row[user], row[item]) for row in csv.DictReader(lines)]
    users, items = (np.array(column) for column in zip(*pairs, strict=True))
    return Pairs(users, items)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            yield lines
    else:
        with path.open(encoding="utf-8", newline="") as lines:
            yield lines
