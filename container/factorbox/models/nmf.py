"""Non-negative factorization of a sparse matrix by coordinate descent.

It minimises, over W ≥ 0 and H ≥ 0,

    ½ ‖X − W Hᵀ‖² + ½ λ (‖W‖² + ‖H‖²)

where cells without an entry are zeros that count like any other, or, with `observed_only`, do not count. One side
is improved at a time by a pass over its components, each set to its minimum (cyclic coordinate descent, HALS: Cichocki
and Phan 2009). X W and X H cost what the entries do, so no dense matrix is ever made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from factorbox.data.feedback import CELLS, Feedback
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError, UserError
from factorbox.models.base import (
    Device,
    Factors,
    ItemSide,
    Link,
    Watch,
    embedding_dim_option,
    epochs_option,
)
from factorbox.models.catalogue import sums_over_items
from factorbox.models.row_system import RowSystem
from factorbox.options import check_ranges, option

_NOISE_SHARE = 0.8
_NOISE_SHARE_OBSERVED = 0.15
"""λ as a share of the largest singular value of noise: best nDCG@10 on validation parts of ML-100K and ML-1M; where the
ratings alone count, best RMSE on that of ML-100K."""


@dataclass(frozen=True, kw_only=True)
class NMFConfig:
    """Hyperparameters of `nmf`."""

    embedding_dim: int = embedding_dim_option(64)
    epochs: int = epochs_option(200)
    regularization: float | None = option(
        None,
        "L2 penalty λ of both sides; where it is not given, as much as noise of the size of the data needs.",
        minimum=0,
        aliases=("l2", "reg"),
    )
    tol: float = option(
        0.01,
        "Training has converged once the violation of the conditions of a minimum is at most this share of the first"
        " epoch's.",
        minimum=0,
        maximum=1,
    )
    init: str = option(
        "nndsvd",
        "Start from the positive parts of singular vectors, or at random.",
        choices=("nndsvd", "random"),
    )
    observed_only: bool = option(
        False, "Fit the ratings alone; otherwise every pair without a rating counts as a zero."
    )

    def __post_init__(self) -> None:
        check_ranges(self)


class NMF:
    """The algorithm `nmf` (see `factorbox.models.base.Algorithm`)."""

    name = "nmf"
    config = NMFConfig
    explains = True
    # nDCG@10 against a training from the beginning, after 5 epochs with a tenth of each user put back: ML-100K +0.1%,
    # but ML-1M −0.9% (after 8 −0.5%), and a training from the beginning has no more than some 25 epochs.
    warm_epochs: int | None = None

    def feedback(self, config: NMFConfig) -> Feedback:
        """Return that weights are the entries of a non-negative matrix."""
        return CELLS

    def link(self, config: NMFConfig) -> Link:
        """Return that scores are what the model ranks by: entries of W Hᵀ."""
        return "identity"

    def resolved(self, config: NMFConfig, *, interactions: Interactions) -> NMFConfig:
        """Fill in λ.

        Raises
        ------
        UserError
            Where an entry is negative.
        """
        if interactions.weights.min(initial=0.0) < 0:
            raise UserError(
                f"nmf cannot fit the rating {interactions.weights.min():g}: ratings must be at least 0; drop those"
                " below with min_rating=0, or train with algorithm=explicit"
            )
        return replace(config, regularization=_regularization(config, interactions=interactions))

    def fit(
        self,
        interactions: Interactions,
        *,
        config: NMFConfig,
        random_state: int,
        threads: int = 1,
        device: Device = "cpu",
        watch: Watch = Watch(),
        start: Factors | None = None,
    ) -> Factors:
        """Fit by sweeps until they converge or `epochs` are done, and solve for the users once more.

        That makes every user's factors the solution of that user's own problem, so that folding in a history gives
        the vector of the user who has it. `Epoch.details` has `violation`, the sum of |projected gradient| over all
        factors as each came to its turn, and `reconstruction_error`, ‖X − W Hᵀ‖ over the cells that count.

        With a start, `tol` is a share of the first violation of the training that began from nothing.
        """
        config = self.resolved(config, interactions=interactions)
        from factorbox.models import nmf_training  # needs torch

        return nmf_training.fit(
            interactions,
            config=config,
            row_system=partial(self.row_system, config),
            random_state=random_state,
            threads=threads,
            device=device,
            watch=watch,
            start=start,
        )

    def finished(
        self,
        snapshot: Factors,
        *,
        interactions: Interactions,
        config: NMFConfig,
        threads: int = 1,
        device: Device = "cpu",
    ) -> Factors:
        """Solve for the users exactly, as the end of `fit` does."""
        from factorbox.models import nmf_training  # needs torch

        return nmf_training.finished(
            snapshot,
            interactions=interactions,
            config=config,
            row_system=partial(self.row_system, config),
            threads=threads,
            device=device,
        )

    def continuation(self, config: NMFConfig, *, epochs: int) -> NMFConfig:
        """Return the same but for the number of epochs."""
        return replace(config, epochs=epochs)

    def row_system(self, config: NMFConfig, items: ItemSide) -> RowSystem:
        """Return the problem that the last half-sweep of `fit` solves for each user.

        Raises
        ------
        AlgorithmError
            Where the configuration is not the resolved one: it has no λ.
        """
        regularization = given_regularization(config)
        n_items, d = items.item_factors.shape
        if config.observed_only:
            gram = np.zeros((d, d))
        else:
            gram, _ = sums_over_items(items.item_factors, targets=np.zeros(n_items), has_bias=False)
        return RowSystem(
            item_factors=items.item_factors,
            has_bias=False,
            gram=gram,
            constant=np.zeros(d),
            targets=np.zeros(n_items, dtype=np.float32),
            offsets=np.zeros(n_items, dtype=np.float32),
            alpha=None,
            regularization=regularization,
            # λ whatever the history, one without items among them.
            frequency_offset=1.0,
            regularization_exponent=0.0,
            ratings=True,
            every_cell=not config.observed_only,
            non_negative=True,
        )

    def memory(self, *, users: int, items: int, pairs: int, config: NMFConfig, device: Device = "cpu") -> int:
        """Bytes of factors, their copies and a start's, of the iterated directions, and of the entries by item."""
        from factorbox.models.truncated_svd import projected  # needs torch

        d = config.embedding_dim
        directions = 8 * projected(d) * (max(users, items) + 4 * min(users, items))
        factors = (2 * 8 + 2 * 4) * d * (users + items)
        scratch = 8 * d * max(users, items) if config.observed_only else 0
        return directions + factors + scratch + 48 * pairs + 64 * (users + items) + 64 * 8 * d**2


def _regularization(config: NMFConfig, *, interactions: Interactions) -> float:
    """Return λ, by default in proportion to the largest singular value of noise with as many entries.

    λ takes about as much from each singular value of the factorization. Of n entries of size x̄ that are strewn at
    random, the largest is about x̄ √n (1/√U + 1/√I); what is more is signal. The share was measured. Small data are
    hardly more than their noise: there a quarter of x̄ n / √(U I), which the largest singular value exceeds, is enough.
    """
    if config.regularization is not None:
        return config.regularization
    n, n_users, n_items = interactions.n_pairs, interactions.n_users, interactions.n_items
    mean = float(interactions.weights.mean(dtype=np.float64))
    noise = math.sqrt(n) * (1 / math.sqrt(n_users) + 1 / math.sqrt(n_items))
    share = _NOISE_SHARE_OBSERVED if config.observed_only else _NOISE_SHARE
    return mean * min(share * noise, n / math.sqrt(n_users * n_items) / 4)


def given_regularization(config: NMFConfig) -> float:
    """Return λ of a resolved configuration.

    Raises
    ------
    AlgorithmError
        Where it has none.
    """
    if config.regularization is None:
        raise AlgorithmError("nmf folds users in by the resolved configuration, and this one has no regularization")
    return config.regularization
