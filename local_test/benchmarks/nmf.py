"""Non-negative factorization of ml-latest-small, beside scikit-learn's, and a new user folded in.

    cd local_test && FACTORBOX_DATA=FOLDER python -m benchmarks.nmf

Items with more than 20 ratings or a mean rating above 2 are kept; rank 55, start by NNDSVD, tolerance .01, no
regularization. scikit-learn runs in the same process where it is installed, on the matrix of the users and items that
there are and on the one whose rows and columns are the ids as numbers, which is what a matrix built from the ids
without an index looks like. Kernels are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import statistics
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import movielens
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.models.base import Factors
from factorbox.models.nmf import NMF, NMFConfig
from factorbox.recommend.non_negative import fold_in_non_negative

CONFIG = NMFConfig(embedding_dim=55, epochs=500, regularization=0.0, tol=0.01, init="nndsvd")

NEW_USER = {"1": 3, "4470": 5, "48": 5, "594": 5, "27619": 5, "152081": 5, "595": 5, "616": 5, "1029": 5}
"""Ratings of a lover of Disney's films."""

RELEVANT = frozenset(
    ("596", "4016", "1033", "134853", "2018", "588", "364", "26999", "75395", "2085", "1907", "2078", "1032", "177765")
)
"""What that user likes as well."""

_MORE_RATINGS_THAN = 20
_HIGHER_MEAN_THAN = 2.0


def read(path: Path) -> Interactions:
    """Read the ratings of the items that have many or good ones."""
    if not path.is_file():
        raise SystemExit(f"{path} is missing: FACTORBOX_DATA names the wrong folder, or see README.md here")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [(row["userId"], row["movieId"], float(row["rating"])) for row in csv.DictReader(lines)]
    counts = Counter(item for _, item, _ in rows)
    sums = dict.fromkeys(counts, 0.0)
    for _, item, rating in rows:
        sums[item] += rating
    kept = [
        row for row in rows if counts[row[1]] > _MORE_RATINGS_THAN or sums[row[1]] / counts[row[1]] > _HIGHER_MEAN_THAN
    ]
    users, items, ratings = (list(column) for column in zip(*kept, strict=True))
    user_ids, item_ids = Ids.from_texts(users), Ids.from_texts(items)
    return Interactions.from_pairs(
        user_ids,
        item_ids,
        user_indices=user_ids.indices_of(users),
        item_indices=item_ids.indices_of(items),
        weights=np.array(ratings),
    )


def fitted(interactions: Interactions, *, seed: int, threads: int) -> Factors:
    """Factorize by this package."""
    return NMF().fit(interactions, config=CONFIG, random_state=seed, threads=threads)


def sparse_matrix(interactions: Interactions, *, by_id: bool) -> Any:
    """Return the ratings as scipy has them; with `by_id`, ids are the numbers of rows and columns."""
    from scipy.sparse import csr_array

    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))
    items: NDArray[np.integer] = interactions.item_indices
    if by_id:
        users = _numbers(interactions.user_ids)[users]
        items = _numbers(interactions.item_ids)[items]
    return csr_array((interactions.weights.astype(np.float64), (users, items)))


def _numbers(ids: Ids) -> NDArray[np.int64]:
    return np.array([int(ids[index]) for index in range(len(ids))])


def peer(matrix: Any, seed: int) -> tuple[float, int]:
    """Factorize by scikit-learn; returns error and epochs."""
    from sklearn.decomposition import NMF as PeerNMF  # noqa: N811 - both have the one name

    model = PeerNMF(
        CONFIG.embedding_dim, init=CONFIG.init, tol=CONFIG.tol, max_iter=CONFIG.epochs, random_state=seed
    ).fit(matrix)
    return float(model.reconstruction_err_), int(model.n_iter_)


def report(name: str, run: Callable[[int], tuple[float, int]], *, seeds: list[int]) -> None:
    """Run once for each seed and print a line with the medians, and the range of the errors."""
    seconds, errors, epochs = [], [], []
    for seed in seeds:
        started = time.perf_counter()
        error, completed = run(seed)
        seconds.append(time.perf_counter() - started)
        errors.append(error)
        epochs.append(completed)
    print(
        f"{name:40} {statistics.median(errors):8.2f} {min(errors):8.2f} {max(errors):8.2f}"
        f" {statistics.median(epochs):7.0f} {statistics.median(seconds):8.2f}",
        flush=True,
    )


def new_user_ranking(factors: Factors, interactions: Interactions) -> list[str]:
    """Fold the new user in and return the best items that the history lacks; ids that the data lack are ignored."""
    known = {item: rating for item, rating in NEW_USER.items() if interactions.item_ids.indices_of([item])[0] >= 0}
    indices = interactions.item_ids.indices_of(list(known))
    order = np.argsort(indices)
    history = Rows(
        indptr=np.array([0, len(known)], dtype=np.int64),
        indices=indices[order].astype(np.int32),
        weights=np.array(list(known.values()), dtype=np.float32)[order],
    )
    system = NMF().row_system(CONFIG, factors.item_side)
    user_factors, _ = fold_in_non_negative(system, history)
    scores = factors.item_factors @ user_factors[0]
    scores[history.indices] = -np.inf
    return [interactions.item_ids[int(item)] for item in np.argsort(-scores, kind="stable")[: movielens.K]]


def main() -> None:
    """Measure and print the table and the new user's recommendations."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nmf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    threads, seeds = arguments.threads, arguments.seeds

    interactions = read(movielens.data_folder() / "ml-latest-small" / "ratings.csv")
    print(f"{interactions.n_users} users, {interactions.n_items} items, {interactions.n_pairs} ratings")
    first = fitted(interactions, seed=seeds[0], threads=threads)
    print(f"{'medians; range of the error':40} {'error':>8} {'lowest':>8} {'highest':>8} {'epochs':>7} {'seconds':>8}")

    def ours(seed: int) -> tuple[float, int]:
        factors = fitted(interactions, seed=seed, threads=threads)
        return factors.metrics["reconstruction_error"], factors.epochs

    report(f"factorbox nmf, {threads} thread{'s' if threads > 1 else ''}", ours, seeds=seeds)
    if importlib.util.find_spec("sklearn") is None:
        print("scikit-learn is not installed here: its rows are left out")
    else:
        import sklearn

        for by_id in (False, True):
            matrix = sparse_matrix(interactions, by_id=by_id)
            rows, columns = matrix.shape
            name = f"scikit-learn {sklearn.__version__}, {rows} × {columns:,}"
            report(name, partial(peer, matrix), seeds=seeds)

    ranking = new_user_ranking(first, interactions)
    hits = [item for item in ranking if item in RELEVANT]
    print(f"\nnew user: {' '.join(ranking)}")
    print(
        f"relevant: {' '.join(hits)}; precision at {movielens.K} {len(hits) / movielens.K:.2f},"
        f" recall {len(hits) / len(RELEVANT):.2f}"
    )


if __name__ == "__main__":
    main()
