"""Trainings with sampled losses, ours and those of peers, whose clocks stand still while a model is measured."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import generated, movielens
from benchmarks.ratings import spotlight_module
from factorbox.data.interactions import Interactions
from factorbox.evaluation.ranking import Relevant, ranking_metrics, top_items_matrix
from factorbox.models import ALGORITHMS
from factorbox.models.base import Epoch, Factors, Watch
from factorbox.recommend.lists import Lists, taken
from factorbox.recommend.network_ranking import candidates_of
from factorbox.recommend.top_n import Ranked, top_n

K = 20
DIMENSION = 64
_MOST_USERS = 5000
"""Users that a model is measured by, at most."""

Setting = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Data:
    """What is fitted, and what it is measured by.

    Attributes
    ----------
    users
        The users who are measured.
    """

    name: str
    fitted: Interactions
    relevant: Relevant
    users: NDArray[np.int64]

    @classmethod
    def load(cls, name: str) -> Data:
        """Read or draw the pairs and hold a fifth of them out."""
        if name in generated.SHAPES:
            shape = generated.SHAPES[name]
            everything = generated.interactions_of(generated.pairs_of(shape), shape=shape)
        else:
            everything = movielens.interactions_of(movielens.ml1m_train())
        rng = np.random.default_rng(1)
        held_out = rng.random(everything.n_pairs) < movielens.VALIDATION_SHARE
        owners = np.repeat(np.arange(everything.n_users), np.diff(everything.indptr))
        relevant = Relevant.from_pairs(owners[held_out], everything.item_indices[held_out], n_users=everything.n_users)
        users = np.flatnonzero(relevant.counts)
        users = np.sort(rng.permutation(users)[:_MOST_USERS])
        return cls(name, everything.only(~held_out), relevant, users)

    def recall(self, factors: Factors) -> float:
        """Measure recall@20, with the items of training left out."""
        seen = taken(self.fitted.by_user(), self.users)
        ranking = top_n(
            candidates_of(factors.item_factors, item_biases=factors.item_biases, layers=factors.layers),
            Ranked(
                factors.user_factors[self.users],
                factors.user_biases[self.users],
                np.full(len(self.users), K, dtype=np.int64),
            ),
            excluded=Lists(seen.indptr, seen.indices),
        )
        rows = top_items_matrix(ranking.indptr, ranking.item_indices, k=K)
        return ranking_metrics(rows, user_indices=self.users, relevant=self.relevant, k=K).recall


@dataclass(eq=False)
class Curve:
    """Quality by time of one training, whose clock stands still while a model is measured."""

    data: Data
    epochs: int
    every: int = 1
    seconds: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    spent: float = 0.0
    done: int = 0
    _since: float = 0.0

    def start(self) -> Curve:
        """Start the clock."""
        self._since = time.perf_counter()
        return self

    def epoch(self, factors: Callable[[], Factors]) -> None:
        """Note an epoch that has just ended, and measure some of them."""
        self.spent += time.perf_counter() - self._since
        self.done += 1
        if self.done % self.every == 0 or self.done == self.epochs:
            self.seconds.append(self.spent)
            self.recalls.append(self.data.recall(factors()))
        self._since = time.perf_counter()

    @property
    def best(self) -> float:
        """The highest recall."""
        return max(self.recalls)

    @property
    def pairs_per_second(self) -> float:
        """Positive pairs a second."""
        return self.done * self.data.fitted.n_pairs / self.spent

    def time_to(self, recall: float) -> float | None:
        """Return the seconds until a recall was first reached, or None."""
        return next((s for s, r in zip(self.seconds, self.recalls, strict=True) if r >= recall), None)


def train_ours(data: Data, setting: Setting, *, epochs: int, every: int, threads: int) -> Curve:
    """Train one of our algorithms."""
    setting = dict(setting)
    algorithm = ALGORITHMS[setting.pop("algorithm")]
    config = replace(algorithm.config(), embedding_dim=DIMENSION, epochs=epochs, **setting)
    curve = Curve(data, epochs, every).start()

    def look(epoch: Epoch) -> None:
        curve.epoch(epoch.snapshot)

    algorithm.fit(data.fitted, config=config, random_state=0, threads=threads, watch=Watch(on_epoch=look))
    return curve


def train_implicit(data: Data, setting: Setting, *, epochs: int, every: int, threads: int) -> Curve:
    """Train the BPR of implicit."""
    bpr: Any = importlib.import_module("implicit.cpu.bpr")
    sparse: Any = importlib.import_module("scipy.sparse")
    matrix = sparse.csr_matrix(
        (data.fitted.weights, data.fitted.item_indices, data.fitted.indptr),
        shape=(data.fitted.n_users, data.fitted.n_items),
    )
    model = bpr.BayesianPersonalizedRanking(
        factors=DIMENSION, iterations=epochs, num_threads=threads, random_state=0, **setting
    )
    curve = Curve(data, epochs, every).start()

    def look(*_: object) -> None:
        curve.epoch(lambda: _without_biases(model.user_factors, model.item_factors))

    model.fit(matrix, show_progress=False, callback=look)
    return curve


def train_spotlight(folder: Path, data: Data, setting: Setting, *, epochs: int, every: int, threads: int) -> Curve:
    """Train Spotlight's implicit model; it goes on where it stood when it is asked to fit again."""
    factorization = spotlight_module(folder, "spotlight.factorization.implicit")
    interactions = spotlight_module(folder, "spotlight.interactions").Interactions(
        np.repeat(np.arange(data.fitted.n_users), np.diff(data.fitted.indptr)).astype(np.int32),
        data.fitted.item_indices,
        num_users=data.fitted.n_users,
        num_items=data.fitted.n_items,
    )
    model = factorization.ImplicitFactorizationModel(
        embedding_dim=DIMENSION, n_iter=1, random_state=np.random.RandomState(0), **setting
    )
    torch.set_num_threads(threads)
    curve = Curve(data, epochs, every).start()

    def factors() -> Factors:
        net = model._net
        user, item = (weights.weight.detach().numpy() for weights in (net.user_embeddings, net.item_embeddings))
        user_biases, item_biases = (
            weights.weight.detach().numpy()[:, 0].copy() for weights in (net.user_biases, net.item_biases)
        )
        return Factors(user, item, user_biases, item_biases, epochs=0, train_loss=0.0)

    for _ in range(epochs):
        model.fit(interactions)
        curve.epoch(factors)
    return curve


def _without_biases(user_factors: NDArray[np.float32], item_factors: NDArray[np.float32]) -> Factors:
    return Factors(
        user_factors=user_factors,
        item_factors=item_factors,
        user_biases=np.zeros(len(user_factors), dtype=np.float32),
        item_biases=np.zeros(len(item_factors), dtype=np.float32),
        epochs=0,
        train_loss=0.0,
    )
