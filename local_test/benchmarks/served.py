"""What the benchmarks of serving share: a made-up model, a server over it, and what a server's processes use."""

from __future__ import annotations

import http.client
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.models.als import ALSConfig
from factorbox.models.base import Factors

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 120
_TICKS = os.sysconf("SC_CLK_TCK")

HISTORY = 50
"""Drawn interactions of a user; somewhat fewer are distinct."""


def write_model(base: Path, *, users: int, items: int, d: int, random_state: int = 0) -> None:
    """Write an `als` model of made-up factors below a base folder: histories have the skew of real ones.

    Users are u0, u1, …, items i0, i1, ….
    """
    rng = np.random.default_rng(random_state)
    interactions = Interactions.from_pairs(
        Ids.from_texts([f"u{user}" for user in range(users)]),
        Ids.from_texts([f"i{item}" for item in range(items)]),
        user_indices=np.repeat(np.arange(users), HISTORY),
        item_indices=(rng.pareto(1.0, size=users * HISTORY) * items / 100).astype(np.int64) % items,
    )
    factors = Factors(
        user_factors=rng.standard_normal((users, d), dtype=np.float32) / np.float32(d**0.5),
        item_factors=rng.standard_normal((items, d), dtype=np.float32) / np.float32(d**0.5),
        user_biases=np.zeros(users, dtype=np.float32),
        item_biases=np.zeros(items, dtype=np.float32),
        epochs=1,
        train_loss=0.0,
    )
    artifact.save(
        base / "model",
        interactions=interactions,
        factors=factors,
        algorithm="als",
        hyperparameters=vars(
            ALSConfig(embedding_dim=d, epochs=1, alpha=1.0, unobserved_weight=0.1, regularization=0.01)
        ),
        metrics={},
    )
    # Pages of a file that are not on the disk yet would count as written by whoever maps them.
    os.sync()


@dataclass(frozen=True)
class Serving:
    """A server that runs.

    Attributes
    ----------
    port
        On 127.0.0.1.
    process
        Its first process, the parent of the workers.
    start_seconds
        From the start of the process to the first 200 of `/ping`.
    """

    port: int
    process: int
    start_seconds: float

    def processes(self) -> list[int]:
        """Return the first process and the workers."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text(encoding="ascii").split()
        return [self.process, *map(int, children)]

    def processor_seconds(self) -> float:
        """Return what all of them have used so far."""
        total = 0
        for process in self.processes():
            fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS


def used_seconds() -> float:
    """Return the processor time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def serve_command() -> list[str]:
    """Return the command that serves a model, as the image runs it."""
    return [sys.executable, str(_ROOT / "container/serve")]


@contextmanager
def running(
    command: Sequence[str], *, base: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Serving]:
    """Start a server, give it once it answers, and end it.

    Parameters
    ----------
    command
        What to run; it finds its port in `SAGEMAKER_BIND_TO_PORT`.
    base
        The folder that stands for `/opt/ml`.
    environment
        More variables.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    variables = {"SAGEMAKER_BIND_TO_PORT": str(port), **(environment or {})}
    if base is not None:
        variables["SAGEMAKER_BASE_DIR"] = str(base)
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        yield Serving(port, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            time.sleep(0.01)
        finally:
            connection.close()
    raise SystemExit(f"the server did not start; run {' '.join(process.args)} to see why")  # type: ignore[arg-type]
