"""Fold-in for the sampled losses: a ridge regression on the items as they are.

A sampled loss has no closed form, so least squares stand in for it. A new user's row v = [w, b] minimises, with
x_i = [h_i, 1] and the user's history S,

    Σ_{k∈S} (t⁺ − b_k − x_k·v)² + α0 Σ_i (t⁻ − b_i − x_i·v)² + λ (|S| + offset) |v|²

so the score x̂_i = x_i·v + b_i is drawn to t⁺ for the history and, more weakly, to t⁻ for all items. That is
`factorbox.models.row_system.RowSystem` with ν = 1 and

    G = α0 Σ_i x_i x_iᵀ,   g = α0 Σ_i (t⁻ − b_i) x_i,   t_k = t⁺ − b_k.

The constants follow from the fitted model, so that they suit catalogues of any size and any hyperparameters. With n
the mean length of a history, and Δ the mean score of the pairs seen less that of all pairs,

    t⁺ = −t⁻ = margin · Δ / 2,   α0 = unobserved_share · n / |I|,   offset = n / 4,
    λ = penalty · mean |h_i|² over the pairs.

What all items weigh together is thus the same share of a mean history whatever their number. The penalty grows with
the history as in training, where each pair pays it; the offset keeps a history of one item from being trusted whole.
`margin`, `unobserved_share` and `penalty` were chosen for each loss by `local_test/benchmarks/choose_fold_in.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.models.base import Factors
from factorbox.models.catalogue import sums_over_items
from factorbox.models.row_system import RowSystem

_OFFSET = 0.25
_LEAST_GAP = 0.1
"""Stands for Δ where a model has not learned to tell seen from unseen, which would leave no targets."""
_LEAST_REGULARIZATION = 1e-6
"""Keeps the system positive definite where the penalty of training drove every vector to 0."""

_SAMPLED_NUMBERS = 1 << 20
"""Numbers in the vectors of the pairs that means are taken over: 16,384 pairs of dimension 64."""


@dataclass(frozen=True, kw_only=True)
class FoldInScales:
    """What is chosen for a loss.

    Attributes
    ----------
    margin
        Distance of the two targets, as a multiple of the distance that the trained users' scores keep on average.
    unobserved_share
        Weight of all items together, as a share of a mean history's.
    penalty
        λ as a share of the mean squared length of a seen item's vector.
    """

    margin: float = 3.0
    unobserved_share: float = 1.0
    penalty: float = 0.2


@dataclass(frozen=True, kw_only=True)
class FoldInConstants:
    """The constants of the ridge regression; the defaults serve a model that was saved without any.

    Attributes
    ----------
    seen_target, unobserved_target
        t⁺ and t⁻.
    unobserved_weight
        α0.
    regularization, frequency_offset
        λ and offset.
    """

    seen_target: float = 3.0
    unobserved_target: float = -3.0
    unobserved_weight: float = 0.03
    regularization: float = 0.4
    frequency_offset: float = 20.0


def fold_in_constants(factors: Factors, *, interactions: Interactions, scales: FoldInScales) -> dict[str, float]:
    """Return the fields of `FoldInConstants` for a fitted model, by name.

    Of many pairs the means are taken over some, evenly spaced. No matrix product takes part, so the result does
    not depend on the number of threads.
    """
    n_pairs, d = interactions.n_pairs, factors.item_factors.shape[1]
    chosen = np.linspace(0, n_pairs - 1, num=min(n_pairs, _SAMPLED_NUMBERS // d)).astype(np.int64)
    u = np.searchsorted(interactions.indptr, chosen, side="right") - 1
    i = interactions.item_indices[chosen]
    h = factors.item_factors[i].astype(np.float64)  # (chosen, d)
    seen = (factors.user_factors[u] * h).sum(axis=1).mean() + factors.item_biases[i].mean(dtype=np.float64)
    mean_user = factors.user_factors.mean(axis=0, dtype=np.float64)  # (d,)
    mean_item = factors.item_factors.mean(axis=0, dtype=np.float64)
    everywhere = (mean_user * mean_item).sum() + factors.item_biases.mean(dtype=np.float64)
    target = scales.margin * max(float(seen - everywhere), _LEAST_GAP) / 2
    mean_history = n_pairs / interactions.n_users
    return asdict(
        FoldInConstants(
            seen_target=target,
            unobserved_target=-target,
            unobserved_weight=scales.unobserved_share * mean_history / interactions.n_items,
            regularization=max(scales.penalty * float(np.square(h).sum(axis=1).mean()), _LEAST_REGULARIZATION),
            frequency_offset=_OFFSET * mean_history,
        )
    )


def constants_memory(*, pairs: int, embedding_dim: int) -> int:
    """Estimate the bytes that `fold_in_constants` needs: two vectors of each pair, and their products."""
    return (4 + 8 + 8) * min(embedding_dim * pairs, _SAMPLED_NUMBERS)


def row_system(
    *, item_factors: NDArray[np.float32], item_biases: NDArray[np.float32], constants: Mapping[str, float]
) -> RowSystem:
    """Return the system that folds users in; see `factorbox.models.base.Algorithm.row_system`.

    `constants` are fields of `FoldInConstants` by name; those that are missing take the defaults there.
    """
    c = FoldInConstants(**constants)
    biases = item_biases.astype(np.float64)
    gram, constant = sums_over_items(item_factors, targets=c.unobserved_target - biases, has_bias=True)
    return RowSystem(
        item_factors=item_factors,
        has_bias=True,
        gram=c.unobserved_weight * gram,
        constant=c.unobserved_weight * constant,
        targets=(c.seen_target - biases).astype(np.float32),
        offsets=item_biases,
        alpha=None,
        regularization=c.regularization,
        frequency_offset=c.frequency_offset,
        regularization_exponent=1.0,
    )
