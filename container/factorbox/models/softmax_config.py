"""Configuration of `softmax`; its defaults were chosen by `local_test/benchmarks/choose_defaults.py`."""

from __future__ import annotations

from dataclasses import dataclass

from factorbox.models.base import embedding_dim_option, epochs_option
from factorbox.options import check_ranges, option

ALL_ITEMS_UP_TO = 16_384
"""Catalogues up to this size take part in every step as a whole, unless the configuration says otherwise."""

SAMPLED = 2048
"""Items drawn for a step where the catalogue is larger."""


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
    learning_rate: float = option(0.07, "Step size of row-wise Adagrad.", above=0, aliases=("lr",))
    batch_size: int = option(128, "Users in one step, with all their items.", minimum=1, maximum=1 << 16)
    num_negative_samples: int | None = option(
        None,
        "Items drawn for each step, to be set against with the items of its users and weighted by how rarely they come"
        f" up; as many as there are, or more, take all. Where it is not given, all up to {ALL_ITEMS_UP_TO:,} items,"
        f" {SAMPLED:,} of more.",
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
