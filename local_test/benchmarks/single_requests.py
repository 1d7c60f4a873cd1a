"""Requests of one record a second, and their latency, beside a constant Flask app and the bare matrix-vector product.

    cd local_test && python -m benchmarks.single_requests

`serve` runs on models of made-up factors. One, eight and 64 clients on kept-alive connections send records, each as
soon as it has its answer, all of them out of one thread of another process. The constant app stands on the same
gunicorn settings, reads the request and answers with the bytes of a true answer; the same clients ask it. The servers
take turns, and the median round counts. The bare product is `item_factors @ w` into a kept buffer, by as many threads
as there are workers at work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.clients import Asked, ask_singly, elsewhere, request_of
from benchmarks.served import Serving, running, serve_command, write_model
from benchmarks.side_by_side import machine
from factorbox.contract.processors import usable_processors

_DISTINCT = 2_000
_WARM_UP_SECONDS = 0.5
_CONSTANT = "constant"


def main() -> None:
    """Serve, ask, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.single_requests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--items", type=int, nargs="+", default=[10_000, 50_000, 200_000], help="(default: %(default)s)"
    )
    parser.add_argument("--users", type=int, default=20_000, help="of each model (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=64, help="of their factors (default: %(default)s)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64], help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    arguments = parser.parse_args()
    # Read where numpy is imported, which is in the processes that are started below.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    workers = usable_processors()
    rng = np.random.default_rng(0)
    records = [b'{"user_id": "u%d", "top_n": "10"}' % user for user in rng.integers(arguments.users, size=_DISTINCT)]
    requests = [request_of(record, accept="text/csv") for record in records]
    with ExitStack() as stack:
        servers: dict[str | int, Serving] = {}
        for items in arguments.items:
            base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_model(base, users=arguments.users, items=items, d=arguments.dim)
            servers[items] = stack.enter_context(running(serve_command(), base=base))
        constant = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "answer"
        constant.write_bytes(b"\n".join(b"u12345,i%d,0.%d" % (n, 987654321 - n) for n in range(10_000, 10_010)))
        command = [sys.executable, "-m", "benchmarks.constant_app", str(constant)]
        servers[_CONSTANT] = stack.enter_context(running(command))
        found: dict[tuple[str | int, int], list[tuple[Asked, float]]] = {}
        for _ in range(arguments.rounds):
            for clients in arguments.clients:
                for name, serving in servers.items():
                    used = serving.processor_seconds()
                    asked = elsewhere(ask_singly, serving.port, requests, clients, arguments.seconds, _WARM_UP_SECONDS)
                    server_seconds = serving.processor_seconds() - used
                    found.setdefault((name, clients), []).append((asked, server_seconds))
    products = {
        (items, threads): elsewhere(product_seconds, items, arguments.dim, threads)
        for items in arguments.items
        for threads in {1, workers}
    }
    _print(arguments.items, arguments.clients, found, products, workers=workers)


def product_seconds(items: int, d: int, threads: int) -> float:
    """Return the seconds of one product of all items with a user, while so many threads make one each."""
    rng = np.random.default_rng(0)
    h = rng.standard_normal((items, d), dtype=np.float32)
    users = rng.standard_normal((64, d), dtype=np.float32)
    repeats = max(50, 20_000_000 // (items * d) * 10)
    medians: list[float] = []

    def work() -> None:
        scores = np.empty(items, dtype=np.float32)
        times = []
        for k in range(repeats):
            started = time.perf_counter()
            np.dot(h, users[k % len(users)], out=scores)
            times.append(time.perf_counter() - started)
        medians.append(statistics.median(times))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return statistics.mean(medians)


def _print(
    all_items: Sequence[int],
    all_clients: Sequence[int],
    found: Mapping[tuple[str | int, int], list[tuple[Asked, float]]],
    products: Mapping[tuple[int, int], float],
    *,
    workers: int,
) -> None:
    print(machine())
    print()
    print(
        "| items | clients | requests/s | p50 ms | p99 ms | constant app: requests/s | p99 ms | bare product ms |"
        " time of constant | time of constant + product | client CPU |"
    )
    print("| --- " * 11 + "|")
    for items in all_items:
        for clients in all_clients:
            ours, constant = found[items, clients], found[_CONSTANT, clients]
            at_once = min(workers, clients)
            product = products[items, at_once]
            # Seconds of the server for each request.
            own, base = (
                statistics.median(at_once / _rate(asked) for asked, _ in rounds) for rounds in (ours, constant)
            )
            share = statistics.median(asked.client_seconds / asked.wall_seconds for asked, _ in ours)
            print(
                f"| {items:,} | {clients} | {at_once / own:,.0f} | {_percentile(ours, 50):.2f} |"
                f" {_percentile(ours, 99):.2f} | {at_once / base:,.0f} | {_percentile(constant, 99):.2f} |"
                f" {1000 * product:.3f} | {own / base:.2f} | {own / (base + product):.2f} | {share:.0%} |"
            )


def _rate(asked: Asked) -> float:
    return len(asked.latencies) / asked.wall_seconds


def _percentile(rounds: Sequence[tuple[Asked, float]], share: int) -> float:
    return 1000 * statistics.median(float(np.percentile(asked.latencies, share)) for asked, _ in rounds)


if __name__ == "__main__":
    main()
