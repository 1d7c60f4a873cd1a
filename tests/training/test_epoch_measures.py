"""Measuring on held-out pairs: what is measured, against the definitions, and when it is time to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.data.splits import Pairs
from factorbox.evaluation.held_out import RatedBy
from factorbox.models import ALGORITHMS
from factorbox.models.base import Epoch, Factors, Link, Watch
from factorbox.options import options_of
from factorbox.training.epoch_measures import Progress, RankingMeasure, RatingMeasure, measure_of
from factorbox.training.hold_out import HoldOut, HoldOutOptions, hold_out
from support import clustered_interactions, clustered_ratings, interactions_from_rows


def random_factors(*, n_users: int, n_items: int, d: int = 3, seed: int = 0) -> Factors:
    rng = np.random.default_rng(seed)
    return Factors(
        user_factors=rng.standard_normal((n_users, d), dtype=np.float32),
        item_factors=rng.standard_normal((n_items, d), dtype=np.float32),
        user_biases=rng.standard_normal(n_users, dtype=np.float32),
        item_biases=rng.standard_normal(n_items, dtype=np.float32),
        epochs=1,
        train_loss=0.0,
        global_mean=0.25,
    )


def dense_scores(factors: Factors) -> NDArray[np.float64]:
    """Return x̂ of every cell.  # (users, items)."""
    products = factors.user_factors.astype(np.float64) @ factors.item_factors.T.astype(np.float64)
    return factors.global_mean + factors.user_biases[:, None] + factors.item_biases + products


def parted(
    pairs: Sequence[tuple[int, int, float]], *, users: Sequence[int] | None = None, n_users: int = 4, n_items: int = 6
) -> HoldOut:
    """Hold these pairs out, of users who have item 0 in training; some of the users are measured, or all."""
    owners, items, weights = zip(*pairs, strict=True)
    return HoldOut(
        method="random",
        training=interactions_from_rows([[0]] * n_users, n_items=n_items),
        held_out=Pairs(np.array(owners, np.int64), np.array(items, np.int32), np.array(weights, np.float32)),
        users=np.unique(owners) if users is None else np.array(users, np.int64),
        description="some",
    )


def randomly(interactions: Interactions, *, fraction: float) -> HoldOut:
    options = HoldOutOptions(validation="random", validation_fraction=fraction)
    found = hold_out(interactions, options=options, outside=None, random_state=0)
    assert isinstance(found, HoldOut)
    return found


PAIRS = [(0, 1, 4.0), (0, 5, 1.0), (1, 2, 5.0), (3, 4, 2.0)]


@pytest.mark.parametrize("link", ["identity", "sigmoid", "exp"])
def test_ratings_are_measured_on_the_scale_of_answers_and_the_loss_as_it_is_defined(link: Link) -> None:
    factors = random_factors(n_users=4, n_items=6)
    rated = RatedBy(link=link, like_above=3.0 if link == "sigmoid" else None)
    metrics = RatingMeasure(parted(PAIRS), rated=rated)(factors)
    errors, losses = [], []
    for user, item, rating in PAIRS:
        x = float(dense_scores(factors)[user, item])
        if link == "identity":
            score, loss = x, (x - rating) ** 2
        elif link == "sigmoid":
            rating = float(rating > 3)
            score = 1 / (1 + math.exp(-x))
            loss = -math.log(score if rating else 1 - score)
        else:
            score = math.exp(x)
            loss = score - rating * x
        errors.append(score - rating)
        losses.append(loss)
    assert metrics == pytest.approx(
        {
            "validation:loss": np.mean(losses),
            "validation:rmse": math.sqrt(np.mean(np.square(errors))),
            "validation:mae": np.mean(np.abs(errors)),
        },
        rel=1e-5,
    )


def test_ratings_that_are_labels_are_taken_as_0_and_1() -> None:
    factors = random_factors(n_users=4, n_items=6)
    rated = RatedBy(link="sigmoid")
    with_minus_one = RatingMeasure(parted([(0, 1, 1.0), (1, 2, -1.0)]), rated=rated)(factors)
    assert with_minus_one == RatingMeasure(parted([(0, 1, 1.0), (1, 2, 0.0)]), rated=rated)(factors)


def test_only_the_users_who_are_measured_count() -> None:
    factors, rated = random_factors(n_users=4, n_items=6), RatedBy(link="identity")
    of_two = RatingMeasure(parted(PAIRS, users=[1, 3]), rated=rated)(factors)
    assert of_two == RatingMeasure(parted(PAIRS[2:]), rated=rated)(factors)
    ranked = RankingMeasure(parted(PAIRS, users=[1, 3]), random_state=0, threads=1)(factors)
    assert ranked == RankingMeasure(parted(PAIRS[2:]), random_state=0, threads=1)(factors)


def test_scores_beyond_float32_give_finite_metrics() -> None:
    factors = replace(random_factors(n_users=4, n_items=6), global_mean=5000.0)
    for link in get_args(Link):
        metrics = RatingMeasure(parted(PAIRS), rated=RatedBy(link=link))(factors)
        assert all(map(math.isfinite, metrics.values()))


def test_a_ranking_is_measured_among_the_items_that_are_not_in_training() -> None:
    factors = random_factors(n_users=4, n_items=6)
    # Item 0 is every user's in training: a ranking that puts it first loses nothing by it.
    factors.item_biases[0] = 100.0
    metrics = RankingMeasure(parted(PAIRS), random_state=0, threads=2)(factors)
    gains, recalls = [], []
    for user, relevant in ((0, {1, 5}), (1, {2}), (3, {4})):
        order = [int(item) for item in np.argsort(-dense_scores(factors)[user]) if item != 0]
        found = sum(1 / math.log2(place + 2) for place, item in enumerate(order) if item in relevant)
        gains.append(found / sum(1 / math.log2(place + 2) for place in range(len(relevant))))
        recalls.append(sum(item in relevant for item in order) / len(relevant))
    assert metrics == pytest.approx({"validation:ndcg@10": np.mean(gains), "validation:recall@10": np.mean(recalls)})


def test_of_many_users_some_are_ranked_for_and_the_seed_draws_them() -> None:
    data = interactions_from_rows([[user % 7, 7 + user % 11, 18] for user in range(2300)], n_items=19)
    held = randomly(data, fraction=0.5)
    assert len(held.users) > 1000
    factors = random_factors(n_users=2300, n_items=19)
    values = [RankingMeasure(held, random_state=seed, threads=1)(factors) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    # The budget is 0.75 scores of 19 items for each of some 5,000 pairs in training: fewer than 200 users.
    assert RankingMeasure(held, random_state=0, threads=1).n_users == 200


@pytest.mark.parametrize("threads", [1, 3])
def test_the_measure_does_not_depend_on_threads(threads: int) -> None:
    held = randomly(clustered_interactions(np.random.default_rng(1)), fraction=0.2)
    factors = random_factors(n_users=120, n_items=60)
    one = RankingMeasure(held, random_state=0, threads=1)(factors)
    assert RankingMeasure(held, random_state=0, threads=threads)(factors) == one


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS.keys())
def test_every_algorithm_is_measured_during_training_and_learns(algorithm: Any) -> None:
    held = randomly(clustered_ratings(np.random.default_rng(1)), fraction=0.15)
    # Small batches and no dropout, so that few epochs are enough.
    quick = {"embedding_dim": 8, "epochs": 12, "batch_size": 64, "dropout_before": 0.0, "dropout_after": 0.0}
    if algorithm.name == "softmax":
        quick["learning_rate"] = 0.3
    config = algorithm.config(**{name: quick[name] for name in quick.keys() & options_of(algorithm.config).keys()})
    config = algorithm.resolved(config, interactions=held.training)
    measure = measure_of(algorithm, config, hold_out=held, random_state=0, threads=2)
    progress = Progress(measure, patience=None)
    measured: list[Mapping[str, float]] = []

    def on_epoch(epoch: Epoch) -> None:
        measured.append(progress.add(epoch))

    algorithm.fit(held.training, config=config, random_state=0, threads=2, watch=Watch(on_epoch=on_epoch))
    names = set(measured[-1])
    if algorithm.feedback(config).kind == "implicit" or algorithm.name == "nmf":
        assert names == {"validation:ndcg@10", "validation:recall@10"}
        # An order by chance: 3 or so of 52 items are relevant.
        assert progress.objective_of(progress.best_epoch)["validation:ndcg@10"] > 0.2
    else:
        assert names == {"validation:loss", "validation:rmse", "validation:mae"}
        # A third of the ratings are 1 or 2 and the others 4 or 5, so that the mean is 1.5 off.
        assert measured[progress.best_epoch - 1]["validation:rmse"] < 1.3


def test_a_factorization_of_every_cell_is_measured_by_its_ranking_and_one_of_the_ratings_by_its_errors() -> None:
    nmf: Any = SimpleNamespace(feedback=lambda config: SimpleNamespace(kind="ratings"), link=lambda config: "identity")
    kinds = [
        type(measure_of(nmf, SimpleNamespace(observed_only=only), hold_out=parted(PAIRS), random_state=0, threads=1))
        for only in (False, True)
    ]
    assert kinds == [RankingMeasure, RatingMeasure]


class Values:
    """A measure that gives what it is told."""

    def __init__(self, values: Sequence[float], *, larger_is_better: bool) -> None:
        self.objective, self.larger_is_better, self.n_users = "value", larger_is_better, 1
        self._values = iter(values)

    def __call__(self, factors: Factors) -> dict[str, float]:
        return {"value": next(self._values)}


def epoch_of(number: int) -> Epoch:
    factors = replace(random_factors(n_users=1, n_items=1, seed=number), epochs=number)
    return Epoch(number, 1.0, 0.1, lambda: factors)


@pytest.mark.parametrize("larger_is_better", [False, True])
def test_it_is_over_once_patience_is(larger_is_better: bool) -> None:
    losses = [5.0, 4.0, 4.5, 4.0, 3.0, 3.0, 3.5]
    values = [-loss for loss in losses] if larger_is_better else losses
    progress = Progress(Values(values, larger_is_better=larger_is_better), patience=2)
    over, best = [], []
    for number in range(1, 8):
        assert progress.add(epoch_of(number)) == {"value": values[number - 1]}
        over.append(progress.is_over)
        best.append(progress.best_epoch)
    # A loss that is reached again is no better: only epoch 5 is better than epoch 2.
    assert best == [1, 2, 2, 2, 5, 5, 5]
    assert over == [False, False, False, True, False, False, True]
    assert progress.objective_of(2) == {"value": values[1]}


def test_with_patience_a_copy_of_the_best_model_is_kept() -> None:
    progress = Progress(Values([1.0, 3.0, 2.0], larger_is_better=True), patience=5)
    epochs = [epoch_of(number) for number in (1, 2, 3)]
    for epoch in epochs:
        progress.add(epoch)
        # A snapshot is good only until the watch returns.
        epoch.snapshot().user_factors[:] = math.nan
    assert progress.best is not None and progress.best.epochs == 2
    np.testing.assert_array_equal(progress.best.user_factors, epoch_of(2).snapshot().user_factors)


def test_without_patience_it_is_never_over_and_nothing_is_copied() -> None:
    progress = Progress(Values([1.0] * 50, larger_is_better=True), patience=None)
    for number in range(1, 51):
        progress.add(epoch_of(number))
        assert not progress.is_over
    assert progress.best is None


@pytest.mark.parametrize(("last", "overfits"), [(0.50, False), (0.496, False), (0.48, True)])
def test_it_overfits_where_the_last_epoch_is_clearly_worse_than_the_best(last: float, overfits: bool) -> None:
    progress = Progress(Values([0.4, 0.5, last], larger_is_better=True), patience=None)
    for number in (1, 2, 3):
        progress.add(epoch_of(number))
    assert progress.overfits is overfits
