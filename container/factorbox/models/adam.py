"""Adam on tables of parameters, of which a step moves some rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


class AdamTable:
    """Rows of parameters (rows, d) that take steps of Adam (Kingma, Ba 2015).

    With g the gradient of a batch for a row θ that the batch touches, in step t:

        m ← β1 m + (1 − β1) g,   v ← β2 v + (1 − β2) g²,
        θ ← θ − lr · m / (1 − β1ᵗ) / (√(v / (1 − β2ᵗ)) + ε)

    Rows that a batch does not touch stay as they are, and so do their m and v.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values
        self.m = torch.zeros_like(values)
        self.v = torch.zeros_like(values)

    def state(self, name: str) -> dict[str, NDArray[np.float32]]:
        """Return θ, m and v, by names that begin with that of the table, for `factorbox.models.base.Factors.state`."""
        return {f"{name}_{part}": values.cpu().numpy() for part, values in self._parts.items()}

    def resume(
        self, state: Mapping[str, NDArray[np.float32]], name: str, *, rows: NDArray[np.bool_] | None = None
    ) -> None:
        """Go on from a `state` in the rows that are marked, (rows,), or in all."""
        marked = np.ones(len(self.values), dtype=np.bool_) if rows is None else rows
        at = torch.from_numpy(marked).to(self.values.device)
        for part, values in self._parts.items():
            values.copy_(torch.where(at[:, None], torch.tensor(state[f"{name}_{part}"]).to(values), values))

    @property
    def _parts(self) -> dict[str, torch.Tensor]:
        return {"values": self.values, "m": self.m, "v": self.v}

    def at(self, rows: torch.Tensor) -> torch.Tensor:
        """Copy rows out.  # (rows, d)."""
        return self.values.index_select(0, rows)

    def step(self, gradients: torch.Tensor, *, number: int, learning_rate: float, rows: torch.Tensor) -> None:
        """Move distinct rows along their gradients, (rows, d), in step `number`, counted from 1."""
        m = self.m.index_select(0, rows).mul_(_BETA_1).add_(gradients, alpha=1 - _BETA_1)
        v = self.v.index_select(0, rows).mul_(_BETA_2).addcmul_(gradients, gradients, value=1 - _BETA_2)
        self.m.index_copy_(0, rows, m)
        self.v.index_copy_(0, rows, v)
        scale = v.div_(1 - _BETA_2**number).sqrt_().add_(_EPSILON)
        # A rate beyond float32 would be refused by torch; what it does is found where the loss is looked at.
        rate = min(learning_rate / (1 - _BETA_1**number), torch.finfo(m.dtype).max)
        self.values.index_add_(0, rows, m.div_(scale), alpha=-rate)
