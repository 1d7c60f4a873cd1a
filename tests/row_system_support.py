"""Row systems and histories to solve, and the same by dense algebra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.row_system import RowSystem
from factorbox.recommend.lists import starts_of


def random_system(
    rng: np.random.Generator, *, n_items: int, d: int, has_bias: bool, alpha: float | None = 1.5
) -> RowSystem:
    """Make up a system in which every part counts: G, g, targets, offsets."""
    m = d + has_bias
    root = rng.standard_normal((m + 2, m))

    def floats(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    return RowSystem(
        item_factors=floats(n_items, d),
        has_bias=has_bias,
        gram=0.2 * root.T @ root,
        constant=rng.standard_normal(m),
        targets=floats(n_items) + np.float32(2),
        offsets=floats(n_items),
        alpha=alpha,
        regularization=0.4,
        frequency_offset=3.0,
        regularization_exponent=0.7,
    )


def rated_system(rng: np.random.Generator, *, n_items: int, d: int, has_bias: bool, **changes: Any) -> RowSystem:
    """Make up a system that fits ratings, without a constant part, as biased factorization has it."""
    system = random_system(rng, n_items=n_items, d=d, has_bias=has_bias, alpha=None)
    m = d + has_bias
    nothing: dict[str, Any] = {"gram": np.zeros((m, m)), "constant": np.zeros(m)}
    return replace(system, **{**nothing, "targets": -system.offsets, "ratings": True, **changes})


def random_histories(rng: np.random.Generator, lengths: Sequence[int], *, n_items: int) -> Rows:
    """Draw distinct items with weights from 0.5 to 5 for histories of these lengths."""
    items = [np.sort(rng.choice(n_items, length, replace=False)) for length in lengths]
    indptr = starts_of(np.array(lengths, dtype=np.int64))
    return Rows(
        indptr=indptr,
        indices=np.concatenate([np.zeros(0, np.int32), *items]).astype(np.int32),
        weights=rng.uniform(0.5, 5, indptr[-1]).astype(np.float32),
    )


def histories_of(*items: Sequence[int], weight: float = 1.0) -> Rows:
    """Return histories of these items, all with one weight."""
    flat = np.array([item for row in items for item in row], dtype=np.int32)
    indptr = starts_of(np.array([len(row) for row in items], dtype=np.int64))
    return Rows(indptr, flat, np.full(len(flat), weight, np.float32))


def features(system: RowSystem) -> NDArray[np.float64]:
    """Return x of every item.  # (items, m)."""
    h = system.item_factors.astype(np.float64)
    return np.column_stack([h, np.ones(len(h))]) if system.has_bias else h


def dense_system(system: RowSystem, histories: Rows, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return A and the columns A v = g + columns · 1, one a history item, as the docstring of RowSystem writes them."""
    part = slice(histories.indptr[row], histories.indptr[row + 1])
    x = features(system)[histories.indices[part]]
    weights, t = histories.weights[part].astype(np.float64), system.targets[histories.indices[part]].astype(np.float64)
    items = histories.indices[part]
    c = np.array([confidence(system, weights, k, item) for k, item in enumerate(items)])
    fitted = weights + t if system.ratings else c * t
    if system.every_cell:
        c = np.zeros(len(weights))
    A = system.gram + x.T @ np.diag(c) @ x + penalty(system, len(x)) * np.eye(x.shape[1])
    return A, x.T * fitted


def confidence(system: RowSystem, weights: NDArray[np.float64], k: int, item: int) -> float:
    """Return c of the k-th item of a history with these weights, as `factorbox.models.confidence` writes it."""
    w = weights[k]
    if system.alpha is None:
        return 1.0
    if system.confidence.transform == "log":
        return float(system.alpha * np.log(1 + w))
    if system.confidence.transform == "bm25":
        saturated = 2.2 * w / (w + 1.2 * (0.25 + 0.75 * weights.sum() / system.confidence.mean_length))
        return float(system.alpha * system.confidence.idf[item] * saturated)
    return float(system.alpha * w)


def penalty(system: RowSystem, length: int) -> float:
    return float(system.regularization * (length + system.frequency_offset) ** system.regularization_exponent)


def dense_row(system: RowSystem, histories: Rows, row: int) -> NDArray[np.float64]:
    """Return the row of a history by another way than the product's: dense algebra, or scipy.  # (m,)."""
    if system.loss != "squared":
        return _minimum(system, histories, row)
    A, columns = dense_system(system, histories, row)
    b = system.constant + columns.sum(axis=1)
    if system.non_negative:
        root = np.linalg.cholesky(A)
        return np.asarray(scipy.optimize.nnls(root.T, np.linalg.solve(root, b))[0])
    return np.asarray(np.linalg.solve(A, b))


def labels_of(system: RowSystem, ratings: NDArray[np.float32]) -> NDArray[np.float64]:
    if system.like_above is None:
        return np.clip(ratings.astype(np.float64), 0, 1)
    return np.array([1.0 if rating > np.float32(system.like_above) else 0.0 for rating in ratings])


def _minimum(system: RowSystem, histories: Rows, row: int) -> NDArray[np.float64]:
    """Minimise the objective of `RowSystem` for the logistic or the Poisson loss."""
    part = slice(histories.indptr[row], histories.indptr[row + 1])
    x, t = features(system)[histories.indices[part]], system.targets[histories.indices[part]].astype(np.float64)
    poisson = system.loss == "poisson"
    r = histories.weights[part].astype(np.float64) if poisson else labels_of(system, histories.weights[part])
    G = system.gram + penalty(system, len(x)) * np.eye(x.shape[1])

    def mean(fitted: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.exp(fitted) if poisson else scipy.special.expit(fitted))

    def objective(v: NDArray[np.float64]) -> float:
        fitted = x @ v - t
        with np.errstate(over="ignore"):
            partition = np.exp(fitted) if poisson else np.logaddexp(0, fitted)
        return float((partition - r * fitted).sum() + v @ G @ v / 2 - system.constant @ v)

    def gradient(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x.T @ (mean(x @ v - t) - r) + G @ v - system.constant)

    def hessian(v: NDArray[np.float64]) -> NDArray[np.float64]:
        expected = mean(x @ v - t)
        return np.asarray(x.T @ np.diag(expected if poisson else expected * (1 - expected)) @ x + G)

    start = np.zeros(x.shape[1])
    found = scipy.optimize.minimize(
        objective, start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-9, "maxiter": 2000}
    )
    return np.asarray(found.x)


def elsewhere_in_memory(system: RowSystem, offset: int) -> RowSystem:
    """Return an equal system whose arrays begin `offset` elements beyond where they would."""

    def moved(array: NDArray[np.generic]) -> NDArray[np.generic]:
        buffer = np.empty(array.size + offset, dtype=array.dtype)
        buffer[offset:] = array.ravel()
        return buffer[offset:].reshape(array.shape)

    arrays = {name: moved(value) for name, value in vars(system).items() if isinstance(value, np.ndarray)}
    return replace(system, **arrays)  # type: ignore[arg-type]


def in_groups(
    requests: int, size: int, answer: Callable[[NDArray[np.int64]], tuple[NDArray[np.float32], ...]]
) -> list[bytes]:
    """Ask for `size` requests at a time and return the bytes of each column of all the answers."""
    parts = [answer(np.arange(start, min(start + size, requests))) for start in range(0, requests, size)]
    return [np.concatenate(column).tobytes() for column in zip(*parts, strict=True)]
