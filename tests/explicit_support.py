"""Ratings to fit by `explicit`, and what a fitted model predicts of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from factorbox.data.interactions import Interactions
from factorbox.models.base import Factors
from factorbox.models.explicit_config import ExplicitConfig
from factorbox.models.rating_slopes import LOSSES
from support import interactions_from_rows

every_loss = pytest.mark.parametrize("loss", LOSSES)

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def rated(values: Matrix, observed: Mask) -> Interactions:
    """Return the observed cells of a matrix as ratings."""
    rows = [np.flatnonzero(row).tolist() for row in observed]
    weights = [values[user, row].tolist() for user, row in enumerate(rows)]
    return interactions_from_rows(rows, n_items=values.shape[1], weights=weights)


def low_rank(rng: np.random.Generator, users: int = 120, items: int = 90) -> tuple[Matrix, Mask]:
    """Ratings 4 + b_u + b_i + w_u·h_i without noise, and which of them are observed."""
    W, H = rng.standard_normal((users, 2)), rng.standard_normal((items, 2))
    values = 4 + rng.standard_normal((users, 1)) + rng.standard_normal(items) + W @ H.T
    return values, rng.random((users, items)) < 0.6


def ratings_for(loss: str, rng: np.random.Generator, users: int = 50, items: int = 40) -> Interactions:
    """Return ratings that a loss can fit."""
    x = 0.5 * rng.standard_normal((users, 1)) + 0.5 * rng.standard_normal(items)
    make: dict[str, Callable[[], Matrix]] = {
        "squared": lambda: 3 + x + 0.3 * rng.standard_normal(x.shape),
        "logistic": lambda: (rng.random(x.shape) < 1 / (1 + np.exp(-2 * x))).astype(np.float64),
        "poisson": lambda: rng.poisson(np.exp(1 + x)).astype(np.float64),
    }
    return rated(make[loss](), rng.random(x.shape) < 0.5)


def small(**options: Any) -> ExplicitConfig:
    return ExplicitConfig(**{"embedding_dim": 4, "epochs": 3, "batch_size": 256, **options})


def predicted(factors: Factors) -> Matrix:
    w, h = factors.user_factors.astype(np.float64), factors.item_factors.astype(np.float64)
    biases = np.add.outer(factors.user_biases.astype(np.float64), factors.item_biases.astype(np.float64))
    return factors.global_mean + biases + w @ h.T


def rmse(values: Matrix, other: Matrix, where: Mask) -> float:
    return float(np.sqrt(np.mean(np.square(values - other)[where])))


def cells(interactions: Interactions) -> tuple[Any, Any]:
    return np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr)), interactions.item_indices


def assert_same_bytes(a: Factors, b: Factors) -> None:
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert (a.train_loss, a.global_mean, a.fold_in) == (b.train_loss, b.global_mean, b.fold_in)
