"""What the algorithms have in common that learn from pairs alone: the sampled losses and `softmax`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from factorbox.data.feedback import PAIRS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.models.base import Device, Factors, ItemSide, Link
from factorbox.models.row_system import RowSystem
from factorbox.models.sampled_fold_in import FoldInScales, fold_in_constants, row_system


class PairAlgorithm:
    """Part of an algorithm (`factorbox.models.base.Algorithm`) for which each distinct pair counts the same.

    Their losses have no row problem of least squares, so users are folded in by `factorbox.models.sampled_fold_in`.
    """

    explains = True
    fold_in_scales: FoldInScales

    def feedback(self, config: Any) -> Feedback:
        """Return that weights are ignored."""
        return PAIRS

    def link(self, config: Any) -> Link:
        """Return that scores are what the model ranks by."""
        return "identity"

    def finished(
        self,
        snapshot: Factors,
        *,
        interactions: Interactions,
        config: Any,
        threads: int = 1,
        device: Device = "cpu",
    ) -> Factors:
        """Add the constants by which users are folded in."""
        constants = fold_in_constants(snapshot, interactions=interactions, scales=self.fold_in_scales)
        return replace(snapshot, fold_in=constants)

    def continuation(self, config: Any, *, epochs: int) -> Any:
        """Return the same but for the number of epochs."""
        return replace(config, epochs=epochs)

    def row_system(self, config: Any, items: ItemSide) -> RowSystem:
        """Return the ridge regression of `factorbox.models.sampled_fold_in`, which does not depend on `config`."""
        return row_system(item_factors=items.item_factors, item_biases=items.item_biases, constants=items.fold_in)
