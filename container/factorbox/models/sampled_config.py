"""Configurations of the sampled losses.

Their defaults were chosen by `local_test/benchmarks/choose_defaults.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from factorbox.models.base import embedding_dim_option, epochs_option
from factorbox.options import check_ranges, option

INITIAL_SCALE = 0.1
"""Length of an average initial vector: small, so that biases, which start at 0, are learned first."""


def _regularization(default: float) -> Any:
    return option(
        default,
        "L2 penalty λ on the vectors and biases of each sample.",
        minimum=0,
        aliases=("l2", "reg"),
    )


def _learning_rate(default: float) -> Any:
    return option(default, "Step size of row-wise Adagrad.", above=0, aliases=("lr",))


@dataclass(frozen=True, kw_only=True)
class SampledConfig:
    """Options that the sampled losses share."""

    embedding_dim: int = embedding_dim_option(64)
    epochs: int = epochs_option(80)
    regularization: float = _regularization(0.02)
    learning_rate: float = _learning_rate(0.1)
    batch_size: int = option(
        4096,
        "Pairs in one step where torch trains: on a GPU and with accelerator=none. The kernels of the processor ignore"
        " it: they take a step for each pair.",
        minimum=1,
        maximum=1 << 24,
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def candidates(self) -> int:
        """Negatives drawn for each pair, of which the highest scored counts."""
        return 1


@dataclass(frozen=True, kw_only=True)
class BPRConfig(SampledConfig):
    """Options of `bpr`."""


@dataclass(frozen=True, kw_only=True)
class HingeConfig(SampledConfig):
    """Options of `hinge`."""

    regularization: float = _regularization(0.04)


@dataclass(frozen=True, kw_only=True)
class AdaptiveHingeConfig(SampledConfig):
    """Options of `adaptive_hinge`."""

    epochs: int = epochs_option(40)
    regularization: float = _regularization(0.08)
    learning_rate: float = _learning_rate(0.05)
    num_negative_samples: int = option(
        5,
        "Unseen items drawn for each pair; the highest scored one is set against it.",
        minimum=1,
        maximum=1000,
    )

    @property
    def candidates(self) -> int:
        """Negatives drawn for each pair, of which the highest scored counts."""
        return self.num_negative_samples


@dataclass(frozen=True, kw_only=True)
class PointwiseConfig(SampledConfig):
    """Options of `pointwise`."""

    regularization: float = _regularization(0.04)
