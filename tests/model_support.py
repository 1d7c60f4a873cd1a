"""What the tests that every algorithm must pass have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from factorbox.data.interactions import Interactions
from factorbox.models import ALGORITHMS
from factorbox.models.base import Algorithm, Factors
from factorbox.models.network import network_scores
from support import clustered_interactions, clustered_ratings

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS.keys())


def quick(algorithm: Algorithm, **changes: Any) -> Any:
    # A network takes more steps to learn anything than two of its usual batches an epoch.
    steps = {"batch_size": 128} if algorithm.name == "mlp" else {}
    return replace(algorithm.config(), **{"embedding_dim": 8, "epochs": 4, **steps, **changes})


def scores(factors: Factors) -> Any:
    """Return what each user's items are ranked by.  # (users, items)."""
    if factors.layers:
        return factors.global_mean + network_scores(factors.user_factors, factors.item_factors, factors.layers)
    products = factors.user_factors @ factors.item_factors.T
    return factors.global_mean + products + factors.user_biases[:, None] + factors.item_biases


def takes_ratings(algorithm: Algorithm) -> bool:
    return algorithm.feedback(algorithm.config()).kind == "ratings"


def clusters_for(
    algorithm: Algorithm, rng: np.random.Generator, *, n_users: int, n_items: int, clusters: int = 4
) -> Interactions:
    """Make data that tell an algorithm of clusters in its own way: by what users have, or by how they rate it."""
    make = clustered_ratings if takes_ratings(algorithm) else clustered_interactions
    return make(rng, n_users=n_users, n_items=n_items, clusters=clusters)


def arrays_of(factors: Factors) -> dict[str, Any]:
    """Return every array of a model by a name."""
    return {
        "user_factors": factors.user_factors,
        "item_factors": factors.item_factors,
        "user_biases": factors.user_biases,
        "item_biases": factors.item_biases,
        **{f"layers {name}": values for name, values in factors.layers.items()},
        **{f"state {name}": values for name, values in factors.state.items()},
    }


def assert_same_model(one: Factors, other: Factors) -> None:
    """Compare every byte."""
    found = {name: values.tobytes() for name, values in arrays_of(other).items()}
    assert {name: values.tobytes() for name, values in arrays_of(one).items()} == found
    assert one.train_loss == other.train_loss and one.epochs == other.epochs
    assert one.fold_in == other.fold_in and one.global_mean == other.global_mean
    assert one.converged == other.converged and one.metrics == other.metrics
