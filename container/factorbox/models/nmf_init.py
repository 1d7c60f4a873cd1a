"""Where non-negative factorization starts: random factors, the singular vectors' positive parts, or a fitted model."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.models.base import Factors
from factorbox.models.nmf_sweeps import Side
from factorbox.models.truncated_svd import truncated_svd
from factorbox.models.warm_start import check_start
from factorbox.threads import Threads

FIRST_VIOLATION = "first_violation"
"""Name in `Factors.state` of the violation of the first epoch of a training that began from nothing."""


def starting_sides(
    interactions: Interactions,
    *,
    dimension: int,
    init: str,
    mean: float,
    rng: np.random.Generator,
    threads: int,
    start: Factors | None,
) -> tuple[Side, Side]:
    """Return users and items with the factors that they begin with.

    Parameters
    ----------
    init
        `nndsvd` or `random`.
    mean
        Of the cells that count.
    start
        What they begin with instead, but for rows of zeros there, as those without an entry have: these begin at
        random, since what is zero on both sides would stay so.
    """
    by_user, by_item = interactions.by_user(), interactions.by_item()
    sizes = interactions.n_users, interactions.n_items
    if start is not None:
        W, H = random_start(*sizes, dimension=dimension, mean=mean, rng=rng)
        check_start(start, algorithm="nmf", user_factors=W.shape, item_factors=H.shape, state={FIRST_VIOLATION: (1,)})
        for factors, fitted in ((W, start.user_factors), (H, start.item_factors)):
            moved = fitted.any(axis=1)
            factors[moved] = fitted[moved]
    elif init == "nndsvd":
        with Threads(threads) as pool:
            W, H = nndsvd_start(by_user, by_item, dimension=dimension, mean=mean, rng=rng, threads=pool)
    else:
        W, H = random_start(*sizes, dimension=dimension, mean=mean, rng=rng)
    return Side(rows=by_user, factors=_aligned(W)), Side(rows=by_item, factors=_aligned(H))


def _aligned(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Copy to memory of torch, which begins at multiples of 64 bytes: MKL promises the same bits for those only."""
    return torch.from_numpy(factors).clone().numpy()


def random_start(
    n_rows: int, n_columns: int, *, dimension: int, mean: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return half-normal factors on the scale √(mean / d), where `mean` is that of the cells.  # (rows, d) twice."""
    scale = math.sqrt(mean / dimension)
    return (
        scale * np.abs(rng.standard_normal((n_rows, dimension))),
        scale * np.abs(rng.standard_normal((n_columns, dimension))),
    )


def nndsvd_start(
    by_row: Rows, by_column: Rows, *, dimension: int, mean: float, rng: np.random.Generator, threads: Threads
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return factors by non-negative double singular value decomposition.  # (rows, d) and (columns, d).

    For each singular triplet (σ, u, v) the larger of the two positive parts of u vᵀ is taken, as √σ times its
    factors (Boutsidis and Gallopoulos 2008). Components beyond the rank of the matrix start at random.
    """
    n_rows, n_columns = len(by_row.counts), len(by_column.counts)
    svd = truncated_svd(by_row, by_column, rank=min(dimension, n_rows, n_columns), rng=rng, threads=threads)
    W, H = random_start(n_rows, n_columns, dimension=dimension, mean=mean, rng=rng)
    for k, σ in enumerate(svd.singular_values):
        u, v = svd.left[:, k], svd.right[:, k]
        if k == 0:
            # Those of the largest singular value have one sign (Perron, Frobenius).
            u, v = np.abs(u), np.abs(v)
        parts = [(np.maximum(sign * u, 0.0), np.maximum(sign * v, 0.0)) for sign in (1.0, -1.0)]
        lengths = [(_length(positive_u), _length(positive_v)) for positive_u, positive_v in parts]
        (positive_u, positive_v), (of_u, of_v) = max(
            zip(parts, lengths, strict=True), key=lambda pair: pair[1][0] * pair[1][1]
        )
        product = of_u * of_v
        W[:, k] = positive_u * (math.sqrt(σ * product) / of_u) if product > 0 else 0.0
        H[:, k] = positive_v * (math.sqrt(σ * product) / of_v) if product > 0 else 0.0
    return W, H


def _length(vector: NDArray[np.float64]) -> float:
    return math.sqrt(float(np.square(vector).sum()))
