"""Row-wise Adagrad on tables of parameters, with the same bits for any number of threads.

Adagrad (Duchi, Hazan, Singer 2011, "Adaptive Subgradient Methods") with one step size a row:

    s ← s + mean(g²),   θ ← θ − lr · g / √s

where g is the gradient of a batch for the row θ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

Tables = Mapping[str, "Table"]
"""Tables by the names that their values have in `factorbox.models.base.Factors`."""


class Table:
    """Rows of parameters (rows, d) that take row-wise Adagrad steps."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values
        self.squares = torch.zeros(len(values), device=values.device)
        """s.  # (rows,)"""

    def resume(
        self, values: NDArray[np.floating], *, squares: NDArray[np.float32], rows: NDArray[np.bool_] | None = None
    ) -> None:
        """Go on from given values, (rows, d), and s, (rows,), in the rows that are marked, (rows,), or in all."""
        marked = np.ones(len(squares), dtype=np.bool_) if rows is None else rows
        at = torch.from_numpy(marked).to(self.values.device)
        given = torch.tensor(values.reshape(tuple(self.values.shape))).to(self.values)
        self.values.copy_(torch.where(at[:, None], given, self.values))
        self.squares.copy_(torch.where(at, torch.tensor(squares).to(self.squares), self.squares))

    def at(self, rows: torch.Tensor) -> torch.Tensor:
        """Copy rows out.  # (rows, d)."""
        return self.values.index_select(0, rows)

    def step(self, touched: Touched, gradients: torch.Tensor, *, learning_rate: float, penalties: torch.Tensor) -> None:
        """Descend along the sum of the samples' gradients, (samples, d), in the rows they touch.

        Parameters
        ----------
        touched
            The row of each sample.
        gradients
            Of the loss of each sample, (samples, d).
        learning_rate
            lr.
        penalties
            The L2 penalty of each touched row for all its samples together, (distinct rows, 1).
        """
        rows = touched.rows
        before = self.at(rows)  # (distinct rows, d)
        g = torch.zeros_like(before).index_add_(0, touched.position, gradients)
        g += penalties * before
        squares = self.squares.index_select(0, rows) + (g * g).mean(dim=1)
        self.squares.index_copy_(0, rows, squares)
        # A row whose gradient has always been zero has s = 0: it stays where it is.
        rate = learning_rate / squares.sqrt().clamp_min(torch.finfo(squares.dtype).tiny)
        self.values.index_copy_(0, rows, before - rate[:, None] * g)


def sums_of(tables: Tables) -> dict[str, NDArray[np.float32]]:
    """Return s of each table by `sums_name`, for `factorbox.models.base.Factors.state`."""
    return {sums_name(name): table.squares.cpu().numpy() for name, table in tables.items()}


def sums_name(table: str) -> str:
    """Return the name of a table's s."""
    return f"squares_of_{table}"


class Touched:
    """The distinct rows among the row indices of a batch."""

    def __init__(self, indices: torch.Tensor) -> None:
        self.rows, self.position, counts = torch.unique(indices, return_inverse=True, return_counts=True)
        self.times = counts.to(torch.float32)[:, None]  # (distinct rows, 1)


@contextmanager
def reproducible(threads: int, device: torch.device) -> Iterator[None]:
    """Set torch's number of threads, and on a GPU its deterministic sums, for the time of a fit."""
    threads_before = torch.get_num_threads()
    strict_before = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    # Never on the processor, where it changes nothing and imports a compiler that wants a writable disk.
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.use_deterministic_algorithms(strict_before)
        torch.set_num_threads(threads_before)
