"""Row systems and histories to solve, and the same by dense algebra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.base import RowSystem
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
    weights = histories.weights[part].astype(np.float64)
    c = weights * system.alpha if system.alpha is not None else np.ones(len(weights))
    penalty = system.regularization * (len(x) + system.frequency_offset) ** system.regularization_exponent
    A = system.gram + x.T @ np.diag(c) @ x + penalty * np.eye(x.shape[1])
    return A, x.T * (c * system.targets[histories.indices[part]])


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
