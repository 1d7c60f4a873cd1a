"""Hyperparameters of `als`, and how those that are not given follow from the data.

The unobserved weight. Where each pair is as likely as p_ui, the best score of a pair by the objective of
`factorbox.models.als` is p_ui / (p_ui + α0): nearly 1 for all likely pairs where α0 is small, so that nothing tells
them apart, and in proportion to p_ui where α0 is large, so that active users and popular items are all that counts.
Good weights lie between. Were users and items independent, p_ui = |S_u| |S_i| / N with N pairs in all, and its mean
over the observed pairs is m = Σ_u |S_u|² Σ_i |S_i|² / N³. Tastes raise it, the more the smaller it is: α0 grows with
the root of m.

The penalty. Near zero factors a direction grows only where its singular value in D_u^(−1/2) C D_i^(−1/2) exceeds λ; C
has the confidences of the observed pairs, D_u and D_i hold (|S_u| + α0 |I|)^ν and (|S_i| + α0 |U|)^ν. Of data by chance
alone, with the frequencies of these, the sums of the variances along a row and along a column, averaged over the pairs,
are about

    R = mean(c²) Σ_u f_u |S_u| / d_u · Σ_i f_i / d_i
    K = mean(c²) Σ_i f_i |S_i| / d_i · Σ_u f_u / d_u,    f = |S| / N

with d_u and d_i the entries of D_u and D_i. The largest singular value of chance is then √R + √K (Bai, Yin 1988), and
the weakest direction that leaves a trace in data with such chance has the singular value (R K)^¼ (Benaych-Georges,
Nadakuditi 2012). λ is a fixed part of σ = 2 (R K)^¼, which is √R + √K where R = K, and less where there are far more
users than items, or the reverse: the few have long rows, in which chance averages out. So λ follows α0, ν and the
confidences.
`local_test/benchmarks/without_hyperparameters.py` compares both rules with searches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.base import embedding_dim_option, epochs_option
from factorbox.models.confidence import TRANSFORMS
from factorbox.options import check_ranges, option

NOISE_PART = 0.395
"""λ / σ: about the middle of what was best on real and made-up data of several shapes."""

_LARGEST_PART = 0.25
"""λ is at most this part of the singular value of popularity, which must be learned in any case: a few huge weights
would raise σ above it."""

PENALTY_FACTORS = (1.35, 1.8)
"""What short fits multiply the rule's λ by: where fewer directions than a model has dimensions rise
above chance, as with few tastes and short histories, the others should not be learned at all."""

_WEIGHT_PER_ROOT = 0.5
_SMALLEST_WEIGHT, _LARGEST_WEIGHT = 0.01, 0.5

_BLOCK = 65_536


@dataclass(frozen=True, kw_only=True)
class ALSConfig:
    """Hyperparameters of `als`."""

    embedding_dim: int = embedding_dim_option(64)
    epochs: int = epochs_option(20)
    regularization: float | None = option(
        None,
        "L2 penalty λ, scaled by frequency: the larger, the shorter the vectors. Where it is not given, it is so large"
        " that patterns no stronger than chance are not learned from data of these frequencies.",
        minimum=0,
        aliases=("l2", "reg"),
    )
    unobserved_weight: float | None = option(
        None,
        "Weight α0 of every missing entry: how much it counts that a user has not got an item. Where it is not given,"
        " it follows from the data: the sparser they are, the smaller.",
        minimum=0,
    )
    alpha: float | None = option(
        None,
        "Confidence per unit of (transformed) weight; where it is not given, 1 / the mean weight, so that the mean"
        " confidence is 1.",
        above=0,
    )
    confidence: str = option(
        "linear",
        "How a weight w becomes a confidence: linear (w), log (log(1 + w)) or bm25 (levels off, and less for what many"
        " have).",
        choices=TRANSFORMS,
    )
    regularization_exponent: float = option(
        1.0, "How the penalty of a row grows with its frequency: ν, 0 for not at all.", minimum=0, maximum=2
    )

    def __post_init__(self) -> None:
        check_ranges(self)


class Objective(NamedTuple):
    """The numbers of the objective, none of them open: α0, alpha, λ and ν."""

    unobserved_weight: float
    alpha: float
    regularization: float
    exponent: float


def objective_of(config: ALSConfig) -> Objective:
    """Return the numbers of the objective.

    Raises
    ------
    AlgorithmError
        Where the configuration is not the resolved one.
    """
    α0, alpha, λ = config.unobserved_weight, config.alpha, config.regularization
    if α0 is None or alpha is None or λ is None:
        missing = next(name for name in ("alpha", "unobserved_weight", "regularization") if vars(config)[name] is None)
        raise AlgorithmError(f"als folds users in by the resolved configuration, and this one has no {missing}")
    return Objective(α0, alpha, λ, config.regularization_exponent)


def resolved(config: ALSConfig, *, weighed: Interactions) -> ALSConfig:
    """Fill in alpha, the unobserved weight and the regularization from the data; see the module.

    Parameters
    ----------
    weighed
        The interactions with transformed weights.
    """
    users = _Counts.of(weighed.by_user().counts)
    items = _Counts.of(np.bincount(weighed.item_indices, minlength=weighed.n_items))
    α0, alpha, λ = config.unobserved_weight, config.alpha, config.regularization
    if alpha is None:
        # On ratings a tenth more nDCG than 1 (measured).
        alpha = 1.0 / float(weighed.weights.mean(dtype=np.float64))
    if α0 is None:
        α0 = _unobserved_weight(users, items)
    if λ is None:
        σ = _noise_level(users, items, unobserved_weight=α0, exponent=config.regularization_exponent)
        popularity = _popularity(users, items, unobserved_weight=α0, exponent=config.regularization_exponent)
        spread = math.sqrt(_mean_square(weighed.weights)) / float(weighed.weights.mean(dtype=np.float64))
        mean_confidence = alpha * float(weighed.weights.mean(dtype=np.float64))
        λ = _rounded(mean_confidence * min(NOISE_PART * spread * σ, _LARGEST_PART * popularity), digits=3)
    return replace(config, unobserved_weight=α0, alpha=alpha, regularization=λ)


def with_penalty(config: ALSConfig, *, factor: float) -> ALSConfig:
    """Return a resolved configuration with λ times a factor."""
    return replace(config, regularization=_rounded(factor * objective_of(config).regularization, digits=3))


class _Counts(NamedTuple):
    """The pairs of each row that has some, and how many rows there are with those that have none."""

    pairs: NDArray[np.float64]
    rows: int

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> _Counts:
        return cls(counts[counts > 0].astype(np.float64), len(counts))


def _unobserved_weight(users: _Counts, items: _Counts) -> float:
    """Return α0 by the rule of the module, to two digits."""
    n_pairs = users.pairs.sum()
    likelihood = np.square(users.pairs).sum() * np.square(items.pairs).sum() / n_pairs**3
    weight = _WEIGHT_PER_ROOT * math.sqrt(likelihood)
    return _rounded(min(max(weight, _SMALLEST_WEIGHT), _LARGEST_WEIGHT), digits=2)


def _noise_level(users: _Counts, items: _Counts, *, unobserved_weight: float, exponent: float) -> float:
    """Return σ of the module for confidences of 1."""
    f_u, f_i = users.pairs / users.pairs.sum(), items.pairs / items.pairs.sum()
    d_u = (users.pairs + unobserved_weight * items.rows) ** exponent
    d_i = (items.pairs + unobserved_weight * users.rows) ** exponent
    along_rows = (f_u * users.pairs / d_u).sum() * (f_i / d_i).sum()
    along_columns = (f_i * items.pairs / d_i).sum() * (f_u / d_u).sum()
    return 2.0 * math.sqrt(math.sqrt(along_rows * along_columns))


def _popularity(users: _Counts, items: _Counts, *, unobserved_weight: float, exponent: float) -> float:
    """Return about what the largest singular value is for confidences of 1: that of |S_u| |S_i| / N."""
    d_u = (users.pairs + unobserved_weight * items.rows) ** exponent
    d_i = (items.pairs + unobserved_weight * users.rows) ** exponent
    of_users, of_items = np.square(users.pairs) / d_u, np.square(items.pairs) / d_i
    return math.sqrt(float(of_users.sum() * of_items.sum())) / float(users.pairs.sum())


def _mean_square(values: NDArray[np.float32]) -> float:
    """Return the mean of the squares in float64, with little memory."""
    blocks = range(0, len(values), _BLOCK)
    squares = (float(np.square(values[start : start + _BLOCK], dtype=np.float64).sum()) for start in blocks)
    return math.fsum(squares) / len(values)


def _rounded(value: float, *, digits: int) -> float:
    """Round so that a log shows all of it, and the last bits of a sum do not matter."""
    return float(f"{value:.{digits}g}")
