"""The leading singular triplets of a sparse matrix, by random projection and subspace iteration.

Halko, Martinsson, Tropp 2011, "Finding structure with randomness", algorithms 4.4 and 5.1: Q spans the range of
(XXᵀ)^q X Ω for a random Ω, and the small matrix QᵀX gives the triplets. The iteration is orthonormalised on the
shorter side of X only, so that the longer one is never factored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.als_sweeps import gram_matrix
from factorbox.models.nmf_kernels import multiply_rows
from factorbox.models.nmf_sweeps import row_blocks
from factorbox.threads import Threads

_ITERATIONS = 12
"""With the oversampling here, enough that the seed does not show in the error of a factorization (measured)."""
_LEAST = 1e-7
"""Singular values below this share of the largest are lost in rounding, and left out."""


@dataclass(frozen=True, eq=False)
class TruncatedSVD:
    """X ≈ U diag(singular_values) Vᵀ.

    Attributes
    ----------
    left, right
        U and V, float64, (rows, k) and (columns, k), with orthonormal columns.
    singular_values
        float64, (k,): descending, > 0.
    """

    left: NDArray[np.float64]
    singular_values: NDArray[np.float64]
    right: NDArray[np.float64]


def projected(rank: int) -> int:
    """Return how many directions are iterated to find so many triplets."""
    return rank + 10 + rank // 2


def truncated_svd(
    by_row: Rows, by_column: Rows, *, rank: int, rng: np.random.Generator, threads: Threads
) -> TruncatedSVD:
    """Return the `rank` leading triplets of a sparse matrix, or as many as it has.

    Memory is in proportion to the entries and to (rows + columns) times the rank.

    Parameters
    ----------
    by_row, by_column
        The matrix, and the same entries in rows by column.
    """
    if len(by_row.counts) > len(by_column.counts):
        other = truncated_svd(by_column, by_row, rank=rank, rng=rng, threads=threads)
        return TruncatedSVD(left=other.right, singular_values=other.singular_values, right=other.left)
    n_rows, n_columns = len(by_row.counts), len(by_column.counts)
    size = min(projected(rank), n_rows)
    # From torch, whose memory begins at multiples of 64 bytes: MKL promises the same bits for those only.
    short = torch.zeros(n_rows, size, dtype=torch.float64).numpy()
    long = torch.zeros(n_columns, size, dtype=torch.float64).numpy()
    rng.standard_normal(out=long)
    for _ in range(_ITERATIONS + 1):
        _multiply(by_row, long, out=short, threads=threads)
        Q = _orthonormal(short, threads=threads)  # (rows, size)
        _multiply(by_column, Q, out=long, threads=threads)  # Xᵀ Q, (columns, size)
    # X ≈ Q (XᵀQ)ᵀ, and the small Gram matrix of XᵀQ has the squares of its singular values.
    squares, basis = _eigen(gram_matrix(long, torch.float64, threads=threads), threads=threads)
    values = np.sqrt(np.maximum(squares, 0.0))
    k = int((values[:rank] > _LEAST * values[0]).sum())
    values, basis = values[:k], np.ascontiguousarray(basis[:, :k])
    return TruncatedSVD(
        left=_product(Q, basis, threads=threads),
        singular_values=values,
        right=_product(long, basis / values, threads=threads),
    )


def _multiply(rows: Rows, matrix: NDArray[np.float64], *, out: NDArray[np.float64], threads: Threads) -> None:
    """Write the product of a sparse matrix and a dense one to `out`."""

    def multiply(block: tuple[int, int]) -> None:
        multiply_rows(*block, rows.indptr, rows.indices, rows.weights, matrix, out)

    threads.map(multiply, row_blocks(rows.indptr, row_work=1))


def _product(matrix: NDArray[np.float64], small: NDArray[np.float64], *, threads: Threads) -> NDArray[np.float64]:
    def multiply(left: NDArray[np.float64]) -> torch.Tensor:
        return torch.mm(torch.from_numpy(left), torch.from_numpy(small))

    # One block, since its products run on one thread.
    (product,) = threads.map(multiply, [matrix])
    result: NDArray[np.float64] = product.numpy()
    return result


def _orthonormal(matrix: NDArray[np.float64], *, threads: Threads) -> NDArray[np.float64]:
    """Return an orthonormal basis of the columns; on one thread, or its bits would depend on how many there are."""

    def decompose(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        Q: torch.Tensor = torch.linalg.qr(torch.from_numpy(matrix)).Q
        basis: NDArray[np.float64] = Q.contiguous().numpy()
        return basis

    return threads.map(decompose, [matrix])[0]


def _eigen(gram: torch.Tensor, *, threads: Threads) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return eigenvalues, descending, and the vectors in columns."""

    def decompose(matrix: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values, vectors = torch.linalg.eigh(matrix)
        return values.flip(0).numpy(), vectors.flip(1).contiguous().numpy()

    return threads.map(decompose, [gram])[0]
