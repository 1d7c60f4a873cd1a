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
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.served import HISTORY, running, serve_command, write_model

_HEADERS = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
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
        write_model(Path(base), users=arguments.users, items=arguments.items, d=arguments.dim)
        with running(serve_command(), base=Path(base)) as serving:
            port = serving.port
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
        return [f"i{i}" for i in rng.choice(items, HISTORY, replace=False)]

    asked = [f"u{user}" for user in rng.integers(users, size=count)]
    denied = [f"i{i}" for i in range(0, items, 5)]
    kinds: dict[str, list[dict[str, Any]]] = {
        "top 10 by user": [{"user_id": user} for user in asked],
        f"top 10, history of {HISTORY}": [{"history": history()} for _ in asked],
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


if __name__ == "__main__":
    main()
