"""Files of interactions, and training jobs on them in this process."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from factorbox import artifact
from factorbox.contract.metric_lines import regex
from factorbox.training.train import main
from support import clustered_interactions, clustered_ratings

Files = Mapping[str, bytes | str]


def clicks(*, n_users: int = 120, timed: bool = False, seed: int = 3) -> Files:
    """Return a file of interactions, ten a user; the times of a user's are in the order of the items."""
    data = clustered_interactions(np.random.default_rng(seed), n_users=n_users)
    users = np.repeat(np.arange(data.n_users), data.by_user().counts)
    rows = []
    for place, (user, item) in enumerate(zip(users.tolist(), data.item_indices.tolist(), strict=True)):
        moment = datetime.fromtimestamp(1_600_000_000 + 86_400 * (place % 10) + user, UTC).isoformat()
        rows.append(f"{data.user_ids[user]},{data.item_ids[item]}" + (f",{moment}" if timed else ""))
    return {"a.csv": "\n".join(["user_id,item_id" + (",timestamp" if timed else ""), *rows])}


def ratings() -> Files:
    data = clustered_ratings(np.random.default_rng(3))
    users = np.repeat(np.arange(data.n_users), data.by_user().counts)
    rows = [
        f"{data.user_ids[u]},{data.item_ids[i]},{rating:g}"
        for u, i, rating in zip(users.tolist(), data.item_indices.tolist(), data.weights.tolist(), strict=True)
    ]
    return {"a.csv": "\n".join(["user_id,item_id,rating", *rows])}


def run(base: Path) -> tuple[int, str]:
    """Run the command `train` and return its exit code and what it said; tests restore what it sets in a process."""
    said = io.StringIO()
    with mock.patch.dict(os.environ, SAGEMAKER_BASE_DIR=str(base)), redirect_stdout(said), redirect_stderr(said):
        code = main()
    return code, said.getvalue()


def trained(base: Path) -> str:
    """Train and return the log."""
    code, log = run(base)
    assert code == 0, log
    return log


def refused(base: Path) -> str:
    """Train in vain and return the reason."""
    code, log = run(base)
    assert code == 1 and "Traceback" not in log, log
    return (base / "output/failure").read_text()


def manifest_of(base: Path) -> Mapping[str, Any]:
    return artifact.load(base / "model").manifest


def value_of(name: str, log: str) -> float:
    """Find a metric as CloudWatch does: the last line that its regular expression matches."""
    found = [match.group(1) for logged in log.splitlines() if (match := re.search(regex(name), logged))]
    return float(found[-1])


QUICK = {"embedding_dim": "8", "epochs": "6"}
