"""Half-sweeps of ALS in torch: batched Cholesky. The readable reference, and the way to a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from factorbox.errors import AlgorithmError
from factorbox.models.als_sweeps import Side

_BATCH_BYTES = 256 * 2**20


class TorchSweeps:
    """`Sweeps` by dense normal equations, in float64 on the processor and float32 on a GPU.

    The float32 of the GPU path is unmeasured: no GPU was at hand.
    """

    def __init__(self, *, unobserved_weight: float, alpha: float, threads: int, device: str) -> None:
        self._unobserved_weight = unobserved_weight
        self._alpha = alpha
        self._device = torch.device(device)
        self._dtype = torch.float64 if device == "cpu" else torch.float32
        self._threads = threads
        self._threads_before = torch.get_num_threads()

    def __enter__(self) -> Self:
        torch.set_num_threads(self._threads)
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self._threads_before)

    def update(self, side: Side, *, fixed: Side, exact: bool, should_stop: Callable[[], bool]) -> float:
        """See `factorbox.models.als_sweeps.Sweeps.update`; every solve here is exact."""
        H = torch.from_numpy(fixed.factors).to(self._device, self._dtype)  # (columns, d)
        G = self._unobserved_weight * (H.T @ H)  # (d, d)
        d = H.shape[1]
        losses = np.zeros(len(side.penalties))
        for batch in _batches(side.rows.counts, d=d, item_bytes=H.element_size()):
            if should_stop():
                break
            columns, weights = self._padded(side, batch)  # (rows, longest)
            c = self._alpha * weights
            ρ = torch.from_numpy(side.penalties[batch]).to(self._device, self._dtype)  # (rows,)
            S = H[columns]  # (rows, longest, d)
            cS = c[..., None] * S
            b = cS.sum(1)  # (rows, d)
            A = G + S.mT @ cS  # (rows, d, d)
            A.diagonal(dim1=1, dim2=2).add_(ρ[:, None])
            L, failed = torch.linalg.cholesky_ex(A)
            if bool(failed.any()):
                raise AlgorithmError(
                    "a row's system in als is not positive definite: raise regularization or unobserved_weight above 0"
                )
            W = torch.cholesky_solve(b[..., None], L)[..., 0]  # (rows, d)
            side.factors[batch] = W.float().cpu().numpy()
            # wᵀAw − 2 bᵀw + Σc, less the penalty; Aw = b.
            objective = c.sum(1) - (b * W).sum(1) - ρ * W.square().sum(1)
            losses[batch] = objective.double().cpu().numpy()
        return float(losses.sum())

    def _padded(self, side: Side, batch: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return columns and weights of some rows, padded with weight 0 to the longest.  # (rows, longest)."""
        starts, counts = side.rows.indptr[batch], side.rows.counts[batch]
        within = np.arange(max(int(counts.max()), 1))
        real = within < counts[:, None]
        at = np.where(real, starts[:, None] + within, 0)
        columns = torch.from_numpy(side.rows.indices[at].astype(np.int64))
        weights = torch.from_numpy(np.where(real, side.rows.weights[at], 0))
        return columns.to(self._device), weights.to(self._device, self._dtype)


def _batches(counts: NDArray[np.int64], *, d: int, item_bytes: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of rows of similar length, each within the memory budget."""
    order = np.argsort(counts, kind="stable")[::-1]
    start = 0
    while start < len(order):
        row_bytes = item_bytes * d * (2 * max(int(counts[order[start]]), 1) + 3 * d)
        size = max(1, _BATCH_BYTES // row_bytes)
        yield order[start : start + size]
        start += size
