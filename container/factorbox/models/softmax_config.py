"""Configuration of `softmax`; its defaults were chosen by `local_test/benchmarks/choose_defaults.py`.

The learning rate. Row-wise Adagrad takes shorter steps the more gradient a row has had. Where users and items have few
pairs each, little of it comes in an epoch and the vectors would still be on their way when training ends; where they
have many, long steps overfit. So the rate falls with the root of the pairs that a row has on average, users' and items'
rows alike, between two bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from factorbox.data.interactions import Interactions
from factorbox.models.base import embedding_dim_option, epochs_option
from factorbox.options import check_ranges, option

ALL_ITEMS_UP_TO = 16_384
"""Catalogues up to this size take part in every step as a whole, unless the configuration says otherwise."""

SAMPLED = 2048
"""Items drawn for a step where the catalogue is larger."""

SMALLEST_RATE, LARGEST_RATE = 0.07, 0.15
MANY_PAIRS = 100.0
"""Pairs of a row, on average, from which on the learning rate is the smallest."""


@dataclass(frozen=True, kw_only=True)
class SoftmaxConfig:
    """Options of `softmax`."""

    embedding_dim: int = embedding_dim_option(64)
    epochs: int = epochs_option(20)
    cosine: bool = option(
        True,
        "Whether all vectors have the same length, so that a score is cosine / temperature + bias.",
    )
    temperature: float = option(0.22, "What cosines are divided by: lower ones tell items more sharply apart.", above=0)
    regularization: float = option(
        0.1,
        "L2 penalty λ on the vectors and biases of each pair where cosine is false.",
        minimum=0,
        aliases=("l2", "reg"),
    )
    learning_rate: float | None = option(
        None,
        "Step size of row-wise Adagrad; where it is not given, it follows from the data: from"
        f" {SMALLEST_RATE:g} where users and items have many pairs each to {LARGEST_RATE:g} where they have few.",
        above=0,
        aliases=("lr",),
    )
    batch_size: int = option(128, "Users in one step, with all their items.", minimum=1, maximum=1 << 16)
    num_negative_samples: int | None = option(
        None,
        "Random items that are negatives in a step, beside the items of its users; those that are rarely drawn weigh"
        " more. As many as there are, or more, take all. Where it is not given, all of up to"
        f" {ALL_ITEMS_UP_TO:,} items, {SAMPLED:,} of more.",
        minimum=1,
        maximum=1 << 24,
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    def drawn(self, *, items: int) -> int | None:
        """Return how many items are drawn for a step; None where all take part."""
        wanted = self.num_negative_samples
        if wanted is None:
            wanted = items if items <= ALL_ITEMS_UP_TO else SAMPLED
        return wanted if wanted < items else None


def resolved(config: SoftmaxConfig, *, interactions: Interactions) -> SoftmaxConfig:
    """Fill in the learning rate, and the number of items that are drawn: that of all items where all take part."""
    drawn = config.drawn(items=interactions.n_items)
    return replace(
        config,
        learning_rate=rate_of(config, interactions=interactions),
        num_negative_samples=interactions.n_items if drawn is None else drawn,
    )


def rate_of(config: SoftmaxConfig, *, interactions: Interactions) -> float:
    """Return the learning rate: that of the configuration, else that of the rule of the module."""
    if config.learning_rate is not None:
        return config.learning_rate
    users = np.count_nonzero(np.diff(interactions.indptr))
    items = np.count_nonzero(np.bincount(interactions.item_indices, minlength=interactions.n_items))
    pairs_of_a_row = 2 * interactions.n_pairs / (users + items)
    rate = SMALLEST_RATE * math.sqrt(max(MANY_PAIRS / pairs_of_a_row, 1.0))
    # Two digits, so that a log shows all of it.
    return float(f"{min(rate, LARGEST_RATE):.2g}")
