"""One training of `als`: sweeps, and a last half-sweep over the users."""

from __future__ import annotations

import math
import time
from functools import partial

import numpy as np
import torch

from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models import als_config
from factorbox.models.als import row_penalties, weighed_interactions
from factorbox.models.als_config import ALSConfig, objective_of
from factorbox.models.als_sweeps import KernelSweeps, Side, Sweeps
from factorbox.models.als_torch import TorchSweeps
from factorbox.models.base import Device, Epoch, Factors, Watch
from factorbox.models.confidence import Confidence
from factorbox.models.warm_start import check_start


def fit(
    interactions: Interactions,
    *,
    config: ALSConfig,
    random_state: int,
    threads: int,
    device: Device,
    watch: Watch,
    start: Factors | None,
) -> Factors:
    """Fit a model; see `factorbox.models.als.ALS.fit`."""
    rng = np.random.default_rng(random_state)
    confidence, weighed = weighed_interactions(interactions, config=config)
    config = als_config.resolved(config, weighed=weighed)
    users, items = _sides(weighed, config=config)
    # The scale of Rendle et al.: scores start near 0 whatever the dimension.
    drawn = rng.standard_normal(items.factors.shape, dtype=np.float32)
    items.factors[:] = drawn * (0.1 / math.sqrt(config.embedding_dim))
    completed, train_loss = 0, math.nan
    if start is not None:
        _resume(users, items, start=start)
        completed, train_loss = start.epochs, start.train_loss
    with _sweeps(config, threads=threads, device=device) as sweeps:
        for number in range(completed + 1, completed + config.epochs + 1):
            started = time.perf_counter()
            should_stop = watch.should_stop if completed else _never
            sweeps.update(users, fixed=items, exact=False, should_stop=should_stop)
            objective = sweeps.update(items, fixed=users, exact=False, should_stop=should_stop)
            if should_stop():
                break
            completed, train_loss = number, objective / interactions.n_pairs
            if not math.isfinite(train_loss):
                raise AlgorithmError(
                    f"the loss of als became {train_loss} in epoch {number}: raise regularization"
                    f" (now {config.regularization:g}) or unobserved_weight (now {config.unobserved_weight:g}),"
                    f" or lower alpha (now {config.alpha:g}) if weights are very large"
                )
            snapshot = partial(_factors, users, items, confidence, epochs=completed, train_loss=train_loss)
            watch.on_epoch(Epoch(number, train_loss, time.perf_counter() - started, snapshot))
        sweeps.update(users, fixed=items, exact=True, should_stop=_never)
    return _factors(users, items, confidence, epochs=completed, train_loss=train_loss)


def finished(
    snapshot: Factors, *, interactions: Interactions, config: ALSConfig, threads: int, device: Device
) -> Factors:
    """Solve for the users; see `factorbox.models.als.ALS.finished`."""
    confidence, weighed = weighed_interactions(interactions, config=config)
    users, items = _sides(weighed, config=config)
    users.factors[:], items.factors[:] = snapshot.user_factors, snapshot.item_factors
    with _sweeps(config, threads=threads, device=device) as sweeps:
        sweeps.update(users, fixed=items, exact=True, should_stop=_never)
    return _factors(users, items, confidence, epochs=snapshot.epochs, train_loss=snapshot.train_loss)


def _sides(weighed: Interactions, *, config: ALSConfig) -> tuple[Side, Side]:
    """Return the users and the items, with factors of zeros."""
    return (
        _side(weighed.by_user(), other_side=weighed.n_items, config=config),
        _side(weighed.by_item(), other_side=weighed.n_users, config=config),
    )


def _resume(users: Side, items: Side, *, start: Factors) -> None:
    """Go on from a model; items that were zeros, as without a pair, and have pairs now keep what was drawn."""
    check_start(start, algorithm="als", user_factors=users.factors.shape, item_factors=items.factors.shape, state={})
    users.factors[:] = start.user_factors
    known = start.item_factors.any(axis=1) | (items.rows.counts == 0)
    items.factors[known] = start.item_factors[known]


def _side(rows: Rows, *, other_side: int, config: ALSConfig) -> Side:
    penalties = row_penalties(rows.counts, other_side=other_side, config=config)
    # From torch, whose memory begins at multiples of 64 bytes: MKL promises the same bits in every run for those only.
    factors = torch.zeros(len(penalties), config.embedding_dim).numpy()
    return Side(rows=rows, penalties=penalties, factors=factors)


def _factors(users: Side, items: Side, confidence: Confidence, *, epochs: int, train_loss: float) -> Factors:
    return Factors(
        user_factors=users.factors,
        item_factors=items.factors,
        user_biases=np.zeros(len(users.factors), dtype=np.float32),
        item_biases=np.zeros(len(items.factors), dtype=np.float32),
        epochs=epochs,
        train_loss=train_loss,
        fold_in=confidence.constants,
        idf=confidence.idf,
    )


def _sweeps(config: ALSConfig, *, threads: int, device: Device) -> Sweeps:
    objective = objective_of(config)
    weights = dict(unobserved_weight=objective.unobserved_weight, alpha=objective.alpha)
    if device == "cpu":
        return KernelSweeps(threads=threads, **weights)
    return TorchSweeps(threads=threads, device="cpu" if device == "none" else "cuda", **weights)


def _never() -> bool:
    return False
