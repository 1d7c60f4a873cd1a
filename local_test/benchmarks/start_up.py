"""Seconds from the start of `serve` to the first 200 of `/ping`, what they go to, and the memory of the workers.

    cd local_test && python -m benchmarks.start_up

A large and a small model of made-up factors are served by different numbers of workers, in turn, and the median start
counts. Memory is read from `smaps_rollup` after every worker has answered single records and a payload of many: private
memory (`Private_Dirty`) is what a process has written for itself, and the sum of PSS is what all take together. The
parts of the start are measured in a process of their own, one after the other, as the server goes through them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.clients import ask_singly, elsewhere, request_of, send_payloads
from benchmarks.served import Serving, running, serve_command, write_model
from benchmarks.side_by_side import machine

_SMALL = (10_000, 5_000)
_RECORDS_OF_A_PAYLOAD = 5_000


def main() -> None:
    """Serve, measure, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start_up",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, default=1_000_000, help="of the large model (default: %(default)s)")
    parser.add_argument("--items", type=int, default=200_000, help="of the large model (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=64, help="of the factors (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8], help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    arguments = parser.parse_args()
    print(machine(), end="\n\n")
    print(
        "| users × items | files MB | workers | start to /ping s | PSS of all MB | private: first process MB |"
        " each worker MB |"
    )
    print("| --- " * 7 + "|", flush=True)
    with ExitStack() as stack:
        parts: dict[str, dict[str, float]] = {}
        for users, items in ((arguments.users, arguments.items), _SMALL):
            base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_model(base, users=users, items=items, d=arguments.dim)
            name = f"{users:,} × {items:,}"
            for workers in arguments.workers:
                _print_row(name, base, users=users, workers=workers, rounds=arguments.rounds)
            measured = [_parts(base) for _ in range(arguments.rounds)]
            parts[name] = {part: statistics.median(each[part] for each in measured) for part in measured[0]}
    print("\n| part of the start | " + " | ".join(f"{name} s" for name in parts) + " |")
    print("| --- " * (1 + len(parts)) + "|")
    for part in next(iter(parts.values())):
        print(f"| {part} | " + " | ".join(f"{seconds[part]:.2f}" for seconds in parts.values()) + " |")


def _print_row(name: str, base: Path, *, users: int, workers: int, rounds: int) -> None:
    starts = []
    for turn in range(rounds):
        with running(serve_command(), base=base, environment={"MODEL_SERVER_WORKERS": str(workers)}) as serving:
            starts.append(serving.start_seconds)
            if turn == rounds - 1:
                _use(serving, users=users, workers=workers)
                memory = [_rollup(process) for process in serving.processes()]
    # Clean pages are those of files: of the model, where one process alone has looked at them.
    private = [found["Private_Dirty"] for found in memory]
    files = sum(file.stat().st_size for file in (base / "model").iterdir())
    print(
        f"| {name} | {files / 1e6:,.0f} | {workers} | {statistics.median(starts):.2f} |"
        f" {sum(found['Pss'] for found in memory) / 1e3:,.0f} | {private[0] / 1e3:,.0f} | {_spread(private[1:])} |",
        flush=True,
    )


def _use(serving: Serving, *, users: int, workers: int) -> None:
    """Let every worker answer: far more connections than workers, for one of them to reach each."""
    records = [b'{"user_id": "u%d"}' % (user * 7919 % users) for user in range(_RECORDS_OF_A_PAYLOAD)]
    singles = [request_of(record, accept="text/csv") for record in records]
    elsewhere(ask_singly, serving.port, singles, 8 * workers, 1.0, 0.0)
    payload = request_of(b"\n".join(records), accept="text/csv")
    elsewhere(send_payloads, serving.port, [payload] * (4 * workers), 4 * workers)


def _rollup(process: int) -> dict[str, float]:
    """Return the memory of a process in kB, by kind."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _spread(kilobytes: Sequence[float]) -> str:
    low, high = min(kilobytes) / 1e3, max(kilobytes) / 1e3
    return f"{low:,.0f} to {high:,.0f}"


def _parts(base: Path) -> dict[str, float]:
    """Return the seconds of each part of a start, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.start_parts", str(base / "model")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    parts: dict[str, float] = json.loads(output)
    return parts


if __name__ == "__main__":
    main()
