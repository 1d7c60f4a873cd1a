"""Everybody's top 10 without what they have seen, beside the bare product of the factors and beside `implicit`.

    cd local_test && python -m benchmarks.top_n [--shape 20m] [--alone]

The bare product multiplies blocks of as many users as ours by all items and keeps nothing: the same threads, one BLAS
thread each, contiguous factors, the output buffer used again; by numpy's BLAS and by torch's, of which the faster
counts. `implicit` recommends from the same factors (`filter_already_liked_items`) with as many threads. The factors are
those of ALS after a few epochs on made-up interactions, and beside them random ones, all of about the same length, of
which none can be skipped. With `--alone`, the time of a single request instead, beside the product of the items' matrix
with one vector. They take turns: ours, the products, the peer, and again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.generated import SHAPES, interactions_of, pairs_of
from benchmarks.side_by_side import Timed, in_turn, machine, ratio
from factorbox.data.interactions import Interactions
from factorbox.models.als import ALS, ALSConfig
from factorbox.recommend.candidates import Candidates
from factorbox.recommend.lists import Lists
from factorbox.recommend.top_n import Ranked, Ranking, top_n
from factorbox.threads import Threads

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Parallel are the blocks: each product has one thread. BLAS libraries look here when they are loaded."""

_N = 10
_ALONE = 100
_BLOCK_ROWS = 256


@dataclass(frozen=True, eq=False)
class Fitted:
    """Factors of users and items, and what the users have seen."""

    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    seen: Lists


def fitted(interactions: Interactions, *, embedding_dim: int, epochs: int, threads: int) -> Fitted:
    """Factorize by ALS."""
    factors = ALS().fit(
        interactions,
        config=ALSConfig(embedding_dim=embedding_dim, epochs=epochs),
        random_state=0,
        threads=threads,
    )
    return Fitted(factors.user_factors, factors.item_factors, Lists.of(interactions.by_user()))


def random_like(fitted: Fitted) -> Fitted:
    """Return normal factors of the same shapes."""
    rng = np.random.default_rng(0)
    users, items = (
        rng.standard_normal(factors.shape, dtype=np.float32) for factors in (fitted.user_factors, fitted.item_factors)
    )
    return Fitted(users, items, fitted.seen)


def wanted_of(factors: NDArray[np.float32]) -> Ranked:
    """Ask for the top N of each row."""
    n = len(factors)
    return Ranked(factors, np.zeros(n, dtype=np.float32), np.full(n, _N, dtype=np.int64))


def candidates_of(item_factors: NDArray[np.float32]) -> Candidates:
    """Make items of factors alone."""
    return Candidates(item_factors, np.zeros(len(item_factors), dtype=np.float32))


def bare_product(fitted: Fitted, *, run: Threads, by: str) -> Callable[[], object]:
    """Return what multiplies blocks of users by all items, each thread into a buffer of its own."""
    users, items = fitted.user_factors, fitted.item_factors
    free = [np.empty((_BLOCK_ROWS, len(items)), dtype=np.float32) for _ in range(run.count)]

    def multiply(start: int) -> None:
        rows = users[start : start + _BLOCK_ROWS]
        buffer = free.pop()
        if by == "numpy":
            np.matmul(rows, items.T, out=buffer[: len(rows)])
        else:
            torch.mm(torch.from_numpy(rows), torch.from_numpy(items).T, out=torch.from_numpy(buffer[: len(rows)]))
        free.append(buffer)

    return lambda: run.map(multiply, range(0, len(users), _BLOCK_ROWS))


def peer(fitted: Fitted, *, threads: int) -> Callable[[], object] | None:
    """Return what recommends by `implicit` from the same factors; None where it is not installed."""
    if importlib.util.find_spec("implicit") is None:
        return None
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model: Any = AlternatingLeastSquares(factors=fitted.item_factors.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = fitted.user_factors, fitted.item_factors
    seen, shape = fitted.seen, (len(fitted.user_factors), len(fitted.item_factors))
    history = csr_matrix((np.ones(len(seen.indices), np.float32), seen.indices, seen.indptr.astype(np.int32)), shape)
    users = np.arange(len(fitted.user_factors))
    return lambda: model.recommend(users, history, N=_N, filter_already_liked_items=True)


def measured(fitted: Fitted, *, threads: int, runs: int, with_peer: bool) -> dict[str, Timed]:
    """Time everybody's top N by each."""
    candidates, wanted = candidates_of(fitted.item_factors), wanted_of(fitted.user_factors)
    with Threads(threads) as pool:

        def ours() -> Ranking:
            return top_n(candidates, wanted, excluded=fitted.seen, run=pool.map)

        named: dict[str, Callable[[], object]] = {
            "ours": ours,
            "numpy": bare_product(fitted, run=pool, by="numpy"),
            "torch": bare_product(fitted, run=pool, by="torch"),
        }
        recommend = peer(fitted, threads=threads) if with_peer else None
        if recommend is not None:
            named["implicit"] = recommend
        return in_turn(named, runs=runs)


def measured_alone(fitted: Fitted, *, runs: int) -> dict[str, Timed]:
    """Time single requests, a hundred users one after another in each run."""
    candidates, wanted = candidates_of(fitted.item_factors), wanted_of(fitted.user_factors[:_ALONE])
    requests = [(wanted.part(slice(row, row + 1)), fitted.seen.taken(np.arange(row, row + 1))) for row in range(_ALONE)]
    scores = np.empty(len(fitted.item_factors), dtype=np.float32)

    def ours() -> None:
        for request, seen in requests:
            top_n(candidates, request, excluded=seen)

    def product() -> None:
        for user in fitted.user_factors[:_ALONE]:
            np.matmul(fitted.item_factors, user, out=scores)

    return in_turn({"ours": ours, "product": product}, runs=runs)


def print_everybody(arguments: argparse.Namespace) -> None:
    """Train, time and print the table of whole catalogues."""
    shape = SHAPES[arguments.shape]
    interactions = interactions_of(pairs_of(shape), shape=shape)
    print(
        f"| {shape.users:,} users × {shape.items:,} items | numpy's product | torch's product | ours"
        " | faster product / ours | `implicit.recommend` | `implicit` / ours |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for embedding_dim in arguments.dims:
        trained = fitted(interactions, embedding_dim=embedding_dim, epochs=arguments.epochs, threads=arguments.threads)
        for kind in arguments.kinds:
            model = trained if kind == "trained" else random_like(trained)
            times = measured(
                model, threads=arguments.threads, runs=arguments.runs, with_peer=kind == "trained" and arguments.peer
            )
            bare = min((times["numpy"], times["torch"]), key=lambda timed: timed.median)
            recommend, beside = times.get("implicit"), " | "
            if recommend is not None:
                beside = f"{recommend.median:.2f} s | {ratio(recommend, times['ours']):.1f}×"
            print(
                f"| d = {embedding_dim}, {kind} | {times['numpy'].median:.3f} s | {times['torch'].median:.3f} s"
                f" | {times['ours'].median:.3f} s | **{100 * ratio(bare, times['ours']):.0f}%** | {beside} |",
                flush=True,
            )
            for name, timed in times.items():
                print(f"d = {embedding_dim}, {kind}, {name}: {timed}", file=sys.stderr)


def print_alone(arguments: argparse.Namespace) -> None:
    """Time and print the table of single requests; catalogues larger than the shape's are copies of its items."""
    shape = SHAPES[arguments.shape]
    interactions = interactions_of(pairs_of(shape), shape=shape)
    print("| one request | matrix by vector | ours, trained | ours / matrix | ours, random | ours / matrix |")
    print("| --- | --- | --- | --- | --- | --- |")
    for embedding_dim in arguments.dims:
        trained = fitted(interactions, embedding_dim=embedding_dim, epochs=arguments.epochs, threads=arguments.threads)
        for n_items in (10_000, 50_000, 200_000):
            items = np.resize(trained.item_factors, (n_items, embedding_dim))
            model = Fitted(trained.user_factors, items, trained.seen)
            cells = []
            for kind in (model, random_like(model)):
                times = measured_alone(kind, runs=arguments.runs)
                each = {name: 1000 * timed.median / _ALONE for name, timed in times.items()}
                cells.append(f"{each['ours']:.3f} ms | {ratio(times['ours'], times['product']):.2f}")
            print(
                f"| {n_items:,} items, d = {embedding_dim} | {each['product']:.3f} ms | {' | '.join(cells)} |",
                flush=True,
            )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.top_n",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shape", choices=SHAPES, default="5m")
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", choices=("trained", "random"), default=["trained", "random"])
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="leave `implicit` out")
    parser.add_argument("--alone", action="store_true", help="single requests instead of everybody's")
    arguments = parser.parse_args()
    if not _ONE_THREAD.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **_ONE_THREAD})
    (print_alone if arguments.alone else print_everybody)(arguments)
    print(f"\n{machine()}; {arguments.threads} threads; medians of {arguments.runs} runs in turn")


if __name__ == "__main__":
    main()
