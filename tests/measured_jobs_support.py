"""Files of interactions, and training jobs on them as processes of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from factorbox import artifact
from factorbox.contract.metric_lines import regex
from support import clustered_interactions, clustered_ratings, run_train

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


def trained(base: Path) -> str:
    """Train and return the log."""
    done = run_train(base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    return done.stdout


def refused(base: Path) -> str:
    """Train in vain and return the reason."""
    done = run_train(base)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return (base / "output/failure").read_text()


def manifest_of(base: Path) -> Mapping[str, Any]:
    return artifact.load(base / "model").manifest


def value_of(name: str, log: str) -> float:
    """Find a metric as CloudWatch does: the last line that its regular expression matches."""
    found = [match.group(1) for logged in log.splitlines() if (match := re.search(regex(name), logged))]
    return float(found[-1])


QUICK = {"embedding_dim": "8", "epochs": "6"}
