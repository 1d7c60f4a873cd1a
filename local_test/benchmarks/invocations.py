"""Records a second of whole payloads over HTTP, beside the same users' top-N in one process.

    cd local_test && python -m benchmarks.invocations

`serve` runs on models of made-up factors; a process of its own sends payloads of JSON Lines by as many connections as
there are workers and reads the CSV answers. In turn with it one process ranks the same users by `top_n`, from looked-up
indices to arrays, with as many threads. `implicit.recommend` stands beside them on the same factors and histories,
without HTTP and without text (`pip install -r tests/requirements.txt`).
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.clients import Asked, elsewhere, request_of, send_payloads
from benchmarks.served import running, serve_command, write_model
from benchmarks.side_by_side import machine
from factorbox.contract.processors import usable_processors
from factorbox.recommend.lists import Lists
from factorbox.recommend.network_ranking import candidates_of
from factorbox.recommend.top_n import Ranked, top_n
from factorbox.recommender import Recommender
from factorbox.threads import Threads

_TOP_N = 10
_USERS_AT_ONCE = 16_384
# A part is enough: its speed does not depend on the number of users.
_USERS_OF_IMPLICIT = 20_000


def main() -> None:
    """Serve, ask, rank, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.invocations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 50_000], help="(default: %(default)s)")
    parser.add_argument("--users", type=int, default=100_000, help="of each model (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=64, help="of their factors (default: %(default)s)")
    parser.add_argument("--megabytes", type=float, default=6.0, help="of a payload (default: %(default)s)")
    parser.add_argument("--payloads", type=int, default=2, help="in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--no-implicit", action="store_true", help="leave implicit out")
    arguments = parser.parse_args()
    # Read where a library is imported, which is in the processes that are started below.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    threads = usable_processors()
    print(machine(), end="\n\n", flush=True)
    print(
        f"| items | users of a payload | over HTTP, {threads} connections: records/s |"
        f" in-process top-{_TOP_N}: users/s |"
        " HTTP of in-process | processor µs a record: server | client | in-process | implicit: users/s |"
    )
    print("| --- " * 9 + "|", flush=True)
    for items in arguments.items:
        with tempfile.TemporaryDirectory() as base:
            write_model(Path(base), users=arguments.users, items=items, d=arguments.dim)
            users = np.random.default_rng(1).integers(arguments.users, size=_records(arguments.megabytes))
            _print_row(Path(base), items=items, users=users, threads=threads, arguments=arguments)


@dataclass(frozen=True)
class _Round:
    """What one round found, of each side: users a second, and processor seconds."""

    asked: Asked
    http: float
    server_seconds: float
    ranked: float
    ranking_seconds: float


def _print_row(
    base: Path, *, items: int, users: NDArray[np.int64], threads: int, arguments: argparse.Namespace
) -> None:
    lines = b"".join(b'{"user_id": "u%d", "top_n": "%d"}\n' % (user, _TOP_N) for user in users.tolist())
    payloads = [request_of(lines, accept="text/csv")] * arguments.payloads
    sent = len(users) * arguments.payloads
    recommender = Recommender.load(base / "model")
    indices = recommender.user_ids.indices_of([f"u{user}" for user in users.tolist()])
    rounds = []
    with running(serve_command(), base=base) as serving, Threads(threads) as pool:
        ranking = _ranking(recommender, indices, pool)
        for turn in range(arguments.rounds + 1):
            used = serving.processor_seconds()
            asked = elsewhere(send_payloads, serving.port, payloads, threads)
            server_seconds = serving.processor_seconds() - used
            used, started = time.process_time(), time.perf_counter()
            ranking()
            took, cpu = time.perf_counter() - started, time.process_time() - used
            # The first round makes what is only made once.
            if turn:
                rounds.append(
                    _Round(asked, sent / asked.wall_seconds, server_seconds / sent, len(users) / took, cpu / len(users))
                )
    peer = None if arguments.no_implicit else elsewhere(implicit_rate, base, indices, threads, arguments.rounds)

    def median(value: Callable[[_Round], float]) -> float:
        return statistics.median(map(value, rounds))

    print(
        f"| {items:,} | {len(users):,} | {median(lambda r: r.http):,.0f} | {median(lambda r: r.ranked):,.0f} |"
        f" {median(lambda r: r.http / r.ranked):.0%} | {1e6 * median(lambda r: r.server_seconds):.1f} |"
        f" {1e6 * median(lambda r: r.asked.client_seconds / sent):.1f} |"
        f" {1e6 * median(lambda r: r.ranking_seconds):.1f} | {'not installed' if peer is None else f'{peer:,.0f}'} |",
        flush=True,
    )


def _records(megabytes: float) -> int:
    """Return about how many lines a payload of this size has."""
    return int(megabytes * 1e6) // len(b'{"user_id": "u12345", "top_n": "10"}\n')


def _ranking(recommender: Recommender, indices: NDArray[np.int64], pool: Threads) -> Callable[[], None]:
    """Return a function that ranks for all users by all threads, seen items left out."""
    model = recommender.artifact
    candidates = candidates_of(
        model.item_factors, item_biases=model.item_biases, layers=model.layers, available=model.available
    )

    def rank() -> None:
        for start in range(0, len(indices), _USERS_AT_ONCE):
            users = indices[start : start + _USERS_AT_ONCE]
            wanted = Ranked(model.user_factors[users], model.user_biases[users], np.full(len(users), _TOP_N))
            top_n(candidates, wanted, excluded=Lists.gathered(model.history, users), run=pool.map)

    return rank


def implicit_rate(base: Path, indices: NDArray[np.int64], threads: int, rounds: int) -> float | None:
    """Return the users a second of implicit's `recommend`, None where it is not installed."""
    try:
        als: Any = importlib.import_module("implicit.cpu.als")
        sparse: Any = importlib.import_module("scipy.sparse")
    except ModuleNotFoundError:
        return None
    recommender = Recommender.load(base / "model")
    model = als.AlternatingLeastSquares(factors=recommender.item_factors.shape[1], num_threads=threads)
    # Copies: what is mapped is not writable, and implicit wants it so.
    model.user_factors = np.array(recommender.user_factors)
    model.item_factors = np.array(recommender.item_factors)
    history = recommender.history
    shape = (len(history.counts), len(recommender.item_ids))
    seen = sparse.csr_matrix((np.array(history.weights), np.array(history.indices), np.array(history.indptr)), shape)
    users = indices[:_USERS_OF_IMPLICIT]
    rates = []
    for _ in range(rounds):
        started = time.perf_counter()
        model.recommend(users, seen[users], N=_TOP_N, filter_already_liked_items=True)
        rates.append(len(users) / (time.perf_counter() - started))
    return statistics.median(rates)


if __name__ == "__main__":
    main()
