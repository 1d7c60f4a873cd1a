"""What several test modules need: small data sets, and a folder that looks like /opt/ml."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions

CONTAINER = Path(__file__).resolve().parent.parent / "container"


def interactions_from_rows(
    rows: Sequence[Sequence[int]], *, n_items: int, weights: Sequence[Sequence[float]] | None = None
) -> Interactions:
    """Build interactions from a list of item indices per user; ids are u0000… and i0000…."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    flat = np.array([item for row in rows for item in sorted(row)], dtype=np.int32)
    values = (
        np.ones(len(flat), np.float32)
        if weights is None
        else np.array([value for row in weights for value in row], dtype=np.float32)
    )
    return Interactions(
        user_ids=Ids.from_texts([f"u{u:04d}" for u in range(len(rows))]),
        item_ids=Ids.from_texts([f"i{i:04d}" for i in range(n_items)]),
        indptr=indptr,
        item_indices=flat,
        weights=values,
    )


def clustered_interactions(
    rng: np.random.Generator, *, n_users: int = 120, n_items: int = 60, clusters: int = 4, weighted: bool = False
) -> Interactions:
    """Users who mostly take items of their own cluster: something that a model can learn."""
    rows = []
    for user in range(n_users):
        own = [i for i in range(n_items) if i % clusters == user % clusters]
        other = [i for i in range(n_items) if i % clusters != user % clusters]
        taken = [*rng.choice(own, size=min(8, len(own)), replace=False), *rng.choice(other, size=2, replace=False)]
        rows.append(sorted(int(i) for i in taken))
    weights = [[float(w) for w in rng.integers(1, 6, size=len(row))] for row in rows] if weighted else None
    return interactions_from_rows(rows, n_items=n_items, weights=weights)


def clustered_ratings(
    rng: np.random.Generator, *, n_users: int = 120, n_items: int = 60, clusters: int = 4
) -> Interactions:
    """Users who rate what they have: 4 or 5 for items of their own cluster, 1 or 2 for all others."""
    rows, ratings = [], []
    for user in range(n_users):
        mine = [i for i in range(n_items) if i % clusters == user % clusters]
        others = [i for i in range(n_items) if i % clusters != user % clusters]
        own = rng.choice(mine, size=min(8, len(mine)), replace=False)
        rated = {
            **{int(i): float(rng.integers(4, 6)) for i in own},
            **{int(i): float(rng.integers(1, 3)) for i in rng.choice(others, size=4, replace=False)},
        }
        rows.append(sorted(rated))
        ratings.append([rated[i] for i in sorted(rated)])
    return interactions_from_rows(rows, n_items=n_items, weights=ratings)


def make_base(
    folder: Path,
    *,
    files: Mapping[str, bytes | str],
    hyperparameters: Mapping[str, Any] | str | None = None,
    items: Mapping[str, bytes | str] | None = None,
    **channels: Mapping[str, bytes | str],
) -> Path:
    """Lay out a base folder as SageMaker would: the channels by name, `training` being `files`; the configuration."""
    for channel, content_of in {"training": files, "items": items, **channels}.items():
        if content_of is None:
            continue
        (folder / "input/data" / channel).mkdir(parents=True)
        for name, content in content_of.items():
            path = folder / "input/data" / channel / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    config = folder / "input/config"
    config.mkdir(parents=True)
    if hyperparameters is not None:
        text = hyperparameters if isinstance(hyperparameters, str) else json.dumps(hyperparameters)
        (config / "hyperparameters.json").write_text(text)
    return folder


def run_train(base: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run container/train as a process of its own, as SageMaker would."""
    return subprocess.run(
        [sys.executable, str(CONTAINER / "train")],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def stopped_after(text: str, base: Path) -> str:
    """Send SIGTERM to a training once it has logged a line that begins so; return the rest of its log."""
    process = subprocess.Popen(
        [sys.executable, str(CONTAINER / "train")],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        for logged in process.stdout:
            if logged.startswith(text):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 0, rest
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return rest
