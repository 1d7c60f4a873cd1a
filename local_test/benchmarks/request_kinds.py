"""Requests a second of each kind, and the latency of single ones, of a served model over HTTP.

    cd local_test && python -m benchmarks.request_kinds

`serve` runs as a process with a worker a processor, on a model of made-up factors. In batches: two connections send
payloads of many records at the same time. Alone: eight clients send one record after the other, each as soon as it has
its answer. Every kind is measured next to the plain request, in rounds that take turns, and the median round counts.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.models.als import ALSConfig
from factorbox.models.base import Factors

_SERVE = Path(__file__).resolve().parents[2] / "container/serve"
_HEADERS = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
_HISTORY = 50
_START_SECONDS = 60
_CONNECTIONS = 2


def main() -> None:
    """Serve, ask, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.request_kinds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, default=50_000, help="of the model (default: %(default)s)")
    parser.add_argument("--users", type=int, default=20_000, help="of the model (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=64, help="of its factors (default: %(default)s)")
    parser.add_argument("--records", type=int, default=4_000, help="in a round of batches (default: %(default)s)")
    parser.add_argument("--payload", type=int, default=500, help="records in one payload (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="that ask alone (default: %(default)s)")
    parser.add_argument("--singles", type=int, default=100, help="of each client in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as base:
        _write_model(Path(base), rng, users=arguments.users, items=arguments.items, d=arguments.dim)
        with _served(Path(base)) as port:
            kinds = _kinds(rng, users=arguments.users, items=arguments.items, count=arguments.records)
            batches: dict[str, list[float]] = {name: [] for name in kinds}
            singles: dict[str, list[list[float]]] = {name: [] for name in kinds}
            for turn in range(arguments.rounds + 1):
                for name, records in kinds.items():
                    rate = _batches(port, records, payload=arguments.payload)
                    times = _alone(port, records, clients=arguments.clients, each=arguments.singles)
                    # The first round makes what is only made once.
                    if turn:
                        batches[name].append(rate)
                        singles[name].append(times)
    print(
        f"{arguments.items:,} items, {arguments.users:,} users, dimension {arguments.dim}; {os.cpu_count()} processors;"
        f" medians of {arguments.rounds} rounds\n"
        f"{'':28}  in payloads of {arguments.payload}      alone, {arguments.clients} clients\n"
        f"{'kind':28} records/s  of plain   p50 ms   p99 ms   p50 of plain"
    )
    plain = next(iter(kinds))
    for name in kinds:
        rate = statistics.median(batches[name])
        p50, p99 = (_median_percentile(singles[name], share) for share in (50, 99))
        print(
            f"{name:28} {rate:9,.0f} {rate / statistics.median(batches[plain]):8.2f} {p50:9.2f} {p99:8.2f}"
            f" {p50 / _median_percentile(singles[plain], 50):10.2f}"
        )


def _median_percentile(rounds: Sequence[Sequence[float]], share: int) -> float:
    return 1000 * statistics.median(float(np.percentile(times, share)) for times in rounds)


def _kinds(rng: np.random.Generator, *, users: int, items: int, count: int) -> Mapping[str, list[bytes]]:
    """Return records of each kind; the plain ones come first."""

    def history() -> list[str]:
        return [f"i{i}" for i in rng.choice(items, _HISTORY, replace=False)]

    asked = [f"u{user}" for user in rng.integers(users, size=count)]
    denied = [f"i{i}" for i in range(0, items, 5)]
    kinds: dict[str, list[dict[str, Any]]] = {
        "top 10 by user": [{"user_id": user} for user in asked],
        f"top 10, history of {_HISTORY}": [{"history": history()} for _ in asked],
        "top 10, explain 3": [{"user_id": user, "explain": 3} for user in asked],
        "similar items, top 10": [{"item_id": f"i{i}"} for i in rng.integers(items, size=count)],
        "similar users, top 10": [{"user_id": user, "similar_users": True} for user in asked],
        "50 given pairs": [{"user_id": user, "item_ids": history()} for user in asked],
        "top 10 of 50 included": [{"user_id": user, "include_items": history()} for user in asked],
        f"top 10, {len(denied):,} excluded": [{"user_id": user, "exclude_items": denied} for user in asked[:100]],
    }
    return {name: [json.dumps(record).encode() for record in records] for name, records in kinds.items()}


def _batches(port: int, records: Sequence[bytes], *, payload: int) -> float:
    """Send all records by two connections, and return how many were answered a second."""
    bodies = [b"\n".join(records[start : start + payload]) for start in range(0, len(records), payload)]
    started = time.perf_counter()
    with ThreadPoolExecutor(_CONNECTIONS) as executor:
        list(executor.map(lambda part: _send(port, part), (bodies[k::_CONNECTIONS] for k in range(_CONNECTIONS))))
    return len(records) / (time.perf_counter() - started)


def _alone(port: int, records: Sequence[bytes], *, clients: int, each: int) -> list[float]:
    """Send records one by one from several clients, and return the seconds that each took."""
    parts = [[records[(client * each + k) % len(records)] for k in range(each)] for client in range(clients)]
    with ThreadPoolExecutor(clients) as executor:
        return [seconds for times in executor.map(lambda part: _send(port, part), parts) for seconds in times]


def _send(port: int, bodies: Sequence[bytes]) -> list[float]:
    """Send bodies one after the other on one connection; return the seconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for body in bodies:
        started = time.perf_counter()
        connection.request("POST", "/invocations", body, _HEADERS)
        answer = connection.getresponse()
        content = answer.read()
        times.append(time.perf_counter() - started)
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {content[:300].decode()}")
    connection.close()
    return times


def _write_model(base: Path, rng: np.random.Generator, *, users: int, items: int, d: int) -> None:
    """Write an `als` model of made-up factors, with histories of about 50 items and the skew of real ones."""
    interactions = Interactions.from_pairs(
        Ids.from_texts([f"u{user}" for user in range(users)]),
        Ids.from_texts([f"i{item}" for item in range(items)]),
        user_indices=np.repeat(np.arange(users), _HISTORY),
        item_indices=(rng.pareto(1.0, size=users * _HISTORY) * items / 100).astype(np.int64) % items,
    )
    factors = Factors(
        user_factors=rng.standard_normal((users, d), dtype=np.float32) / d**0.5,
        item_factors=rng.standard_normal((items, d), dtype=np.float32) / d**0.5,
        user_biases=np.zeros(users, dtype=np.float32),
        item_biases=np.zeros(items, dtype=np.float32),
        epochs=1,
        train_loss=0.0,
    )
    config = ALSConfig(embedding_dim=d, epochs=1, alpha=1.0)
    artifact.save(
        base / "model",
        interactions=interactions,
        factors=factors,
        algorithm="als",
        hyperparameters=vars(config),
        metrics={},
    )


@contextmanager
def _served(base: Path) -> Iterator[int]:
    """Serve the model of a base folder, and give the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    process = subprocess.Popen([sys.executable, str(_SERVE)], env=environment)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start; its messages are above")


if __name__ == "__main__":
    main()
