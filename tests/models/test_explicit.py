"""Biased matrix factorization of ratings: what it learns, its oracles, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explicit_support import assert_same_bytes, cells, every_loss, low_rank, predicted, rated, ratings_for, rmse, small
from factorbox.data.feedback import COUNTS, RATINGS
from factorbox.errors import AlgorithmError, UserError
from factorbox.models.base import Epoch, Factors, ItemSide, Watch
from factorbox.models.explicit import EXPLICIT
from factorbox.models.explicit_config import ExplicitConfig
from factorbox.models.explicit_rows import solve_rows
from factorbox.models.explicit_training import Training
from factorbox.models.rating_losses import global_mean
from factorbox.models.rating_slopes import LOSSES
from support import interactions_from_rows


def _no_items() -> ItemSide:
    return ItemSide(np.zeros((1, 4), dtype=np.float32), np.zeros(1, dtype=np.float32))


def test_ratings_of_low_rank_are_recovered_in_the_cells_that_were_not_seen(rng: np.random.Generator) -> None:
    values, observed = low_rank(rng)
    config = small(epochs=None, learning_rate="0.2x60,0.02x20", regularization=1e-5, batch_size=1024)
    factors = EXPLICIT.fit(rated(values, observed), config=config, random_state=0)
    assert values[~observed].std() > 1.5
    assert rmse(predicted(factors), values, ~observed) < 0.1


def test_without_biases_only_a_dot_product_is_left(rng: np.random.Generator) -> None:
    values = rng.uniform(0.5, 1.5, (120, 3)) @ rng.uniform(0.5, 1.5, (3, 90))
    observed = rng.random(values.shape) < 0.6
    config = small(epochs=None, learning_rate="0.2x60,0.02x20", regularization=1e-5, batch_size=1024, biases=False)
    interactions = rated(values, observed)
    factors = EXPLICIT.fit(interactions, config=config, random_state=0)
    assert factors.global_mean == 0 and not factors.user_biases.any() and not factors.item_biases.any()
    assert not EXPLICIT.row_system(config, factors.item_side).has_bias
    assert rmse(predicted(factors), values, ~observed) < 0.2 * values[~observed].std()


def test_a_plain_dot_product_reaches_the_ratings_with_the_default_penalty(rng: np.random.Generator) -> None:
    """Trap: a penalty that suits deviations from a mean draws whole ratings to 0."""
    values = 4 + 0.3 * rng.standard_normal((60, 50))
    config = ExplicitConfig(biases=False, embedding_dim=4, batch_size=256)
    factors = EXPLICIT.fit(rated(values, rng.random(values.shape) < 0.2), config=config, random_state=0)
    assert predicted(factors).mean() == pytest.approx(4, abs=0.4)


def test_the_logistic_loss_gives_probabilities_that_are_right_on_average(rng: np.random.Generator) -> None:
    truth = 1 / (1 + np.exp(-2 * (rng.standard_normal((150, 1)) + rng.standard_normal(100))))
    observed = rng.random(truth.shape) < 0.5
    labels = (rng.random(truth.shape) < truth).astype(np.float64)
    config = small(loss="logistic", epochs=30, regularization=0.02)
    factors = EXPLICIT.fit(rated(labels, observed), config=config, random_state=0)
    probabilities = 1 / (1 + np.exp(-predicted(factors)))
    assert EXPLICIT.link(config) == "sigmoid"
    assert rmse(probabilities, truth, ~observed) < 0.5 * truth.std()
    assert abs(probabilities[~observed].mean() - truth[~observed].mean()) < 0.02


def test_the_poisson_loss_gives_expected_counts(rng: np.random.Generator) -> None:
    truth = np.exp(1 + 0.5 * rng.standard_normal((150, 1)) + 0.5 * rng.standard_normal(100))
    observed = rng.random(truth.shape) < 0.5
    counts = rng.poisson(truth).astype(np.float64)
    config = small(loss="poisson", epochs=30, regularization=0.05)
    factors = EXPLICIT.fit(rated(counts, observed), config=config, random_state=0)
    expected = np.exp(predicted(factors))
    assert EXPLICIT.link(config) == "exp"
    assert rmse(expected, truth, ~observed) < 0.35 * truth.std()
    assert abs(expected[~observed].mean() / truth[~observed].mean() - 1) < 0.05


def test_the_score_is_that_of_a_factorization_machine_over_one_hot_users_and_items(rng: np.random.Generator) -> None:
    """Against equation 1 of Rendle 2010, every pair of features interacting by the dot product of their vectors."""
    factors = EXPLICIT.fit(ratings_for("squared", rng, users=7, items=5), config=small(), random_state=0)
    V = np.concatenate([factors.user_factors, factors.item_factors]).astype(np.float64)  # (features, d)
    weights = np.concatenate([factors.user_biases, factors.item_biases]).astype(np.float64)
    for user in range(7):
        for item in range(5):
            x = np.zeros(12)
            x[[user, 7 + item]] = 1
            pairs = sum(V[j] @ V[k] * x[j] * x[k] for j in range(12) for k in range(j + 1, 12))
            machine = factors.global_mean + weights @ x + pairs
            assert machine == pytest.approx(predicted(factors)[user, item], rel=1e-9)


def test_the_scale_and_origin_of_ratings_do_not_matter(rng: np.random.Generator) -> None:
    interactions = ratings_for("squared", rng)
    scaled = replace(interactions, weights=(50 * interactions.weights - 300).astype(np.float32))
    one, other = (EXPLICIT.fit(data, config=small(), random_state=0) for data in (interactions, scaled))
    np.testing.assert_allclose(predicted(other), 50 * predicted(one) - 300, atol=0.02)
    assert other.train_loss == pytest.approx(2500 * one.train_loss, rel=1e-3)


def test_the_logged_loss_is_the_mean_squared_error_of_ratings(rng: np.random.Generator) -> None:
    """In one batch with the rows near 0, that is the variance of the ratings."""
    interactions = ratings_for("squared", rng)
    factors = EXPLICIT.fit(interactions, config=small(epochs=1, batch_size=1 << 20), random_state=0)
    assert factors.train_loss == pytest.approx(float(interactions.weights.var()), rel=0.02)


@every_loss
@given(x=st.floats(-8, 8), y=st.sampled_from([0.0, 1.0, 3.0]))
def test_slope_and_curvature_are_the_derivatives_of_the_loss(loss: str, x: float, y: float) -> None:
    y = min(y, 1.0) if loss == "logistic" else y
    at, value = torch.tensor([x], dtype=torch.float64, requires_grad=True), torch.tensor([y], dtype=torch.float64)
    chosen = LOSSES[loss]
    (slope,) = torch.autograd.grad(chosen.value(at, value).sum(), at, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), at) if slope.requires_grad else (torch.zeros(1),)
    torch.testing.assert_close(chosen.in_blocks(at.detach(), value)[1], slope.detach())
    torch.testing.assert_close(chosen.curvature(chosen.mean(at.detach())), curvature.to(torch.float64))


@every_loss
def test_the_first_step_goes_down_the_gradient_of_the_documented_objective(loss: str, rng: np.random.Generator) -> None:
    """From s = 0 a row moves by lr · g / √mean(g²): its direction is that of its gradient by autograd."""
    interactions = ratings_for(loss, rng)
    λ, lr, n0 = 0.3, 0.01, EXPLICIT.row_system(small(), _no_items()).frequency_offset
    config = small(loss=loss, regularization=λ)
    training = Training(interactions, config=config, random_state=0, device=torch.device("cpu"), start=None)
    tables = (training._user_factors, training._item_factors, training._user_biases, training._item_biases)
    # Biases that are not 0, so that their penalty shows.
    for table in tables[2:]:
        table.values += torch.from_numpy(rng.standard_normal(table.values.shape).astype(np.float32))
    before = [table.values.double().clone().requires_grad_() for table in tables]
    training._step(torch.arange(interactions.n_pairs), learning_rate=lr)

    ratings = torch.from_numpy(interactions.weights.astype(np.float64))
    u, i = (torch.from_numpy(index).long() for index in cells(interactions))
    W, H, b_u, b_i = before
    μ = float(ratings.mean()) if loss == "squared" else global_mean(interactions.weights, loss=loss)
    x = (W[u] * H[i]).sum(1) + b_u[u, 0] + b_i[i, 0]
    values = (ratings - μ) / ratings.std(correction=0) if loss == "squared" else ratings
    objective = LOSSES[loss].value(x if loss == "squared" else x + μ, values).sum()
    for side, rows in ((u, (W, b_u)), (i, (H, b_i))):
        weight = torch.bincount(side, minlength=len(rows[0])) + n0
        objective = objective + λ / 2 * sum((weight[:, None] * row.square()).sum() for row in rows)
    gradients = torch.autograd.grad(objective, before)
    for table, start, g in zip(tables, before, gradients, strict=True):
        expected = start - lr * g / g.square().mean(dim=1, keepdim=True).sqrt()
        torch.testing.assert_close(table.values.double(), expected.detach(), rtol=1e-3, atol=1e-4 * lr)


@every_loss
def test_the_same_seed_gives_the_same_bytes_on_one_two_and_three_threads(loss: str, rng: np.random.Generator) -> None:
    # Batches large enough for torch to share among threads: more than 32,768 ratings, and more than one batch.
    interactions = ratings_for(loss, rng, users=450, items=400)
    config = small(loss=loss, embedding_dim=6, batch_size=50_000, epochs=1)
    assert interactions.n_pairs > config.batch_size
    one, two, three = (
        EXPLICIT.fit(interactions, config=config, random_state=7, threads=threads) for threads in (1, 2, 3)
    )
    assert_same_bytes(one, two)
    assert_same_bytes(one, three)


def test_a_schedule_is_obeyed(rng: np.random.Generator) -> None:
    """Two epochs at one rate are the same as that rate alone; then a rate of nearly nothing keeps the items."""
    interactions = ratings_for("squared", rng)
    constant = EXPLICIT.fit(interactions, config=small(epochs=2, learning_rate="0.1"), random_state=0)
    staged, other = (
        EXPLICIT.fit(interactions, config=small(epochs=None, learning_rate=rate), random_state=0)
        for rate in ("0.1x2,1e-12x3", "0.1x2,0.05x3")
    )
    assert staged.epochs == other.epochs == 5
    np.testing.assert_allclose(staged.item_factors, constant.item_factors, atol=1e-7)
    assert np.abs(other.item_factors - constant.item_factors).max() > 0.01


@every_loss
def test_a_snapshot_is_a_whole_model_and_changes_nothing(loss: str, rng: np.random.Generator) -> None:
    interactions = ratings_for(loss, rng)
    snapshots: list[Factors] = []

    def look(epoch: Epoch) -> None:
        snapshots.append(epoch.snapshot().copy())

    def finished(snapshot: Factors) -> Factors:
        return EXPLICIT.finished(snapshot, interactions=interactions, config=small(loss=loss))

    watched = EXPLICIT.fit(interactions, config=small(loss=loss), random_state=0, watch=Watch(on_epoch=look))
    assert_same_bytes(watched, EXPLICIT.fit(interactions, config=small(loss=loss), random_state=0))
    # What a snapshot lacks are users' rows that are solved exactly.
    assert_same_bytes(watched, finished(snapshots[-1]))
    first = EXPLICIT.fit(interactions, config=small(loss=loss, epochs=1), random_state=0)
    assert_same_bytes(first, finished(snapshots[0]))


@every_loss
def test_the_loss_falls(loss: str, rng: np.random.Generator) -> None:
    seen: list[float] = []
    watch = Watch(on_epoch=lambda epoch: seen.append(epoch.train_loss))
    EXPLICIT.fit(ratings_for(loss, rng), config=small(loss=loss, epochs=12), random_state=0, watch=watch)
    assert seen[-1] < 0.95 * seen[0]


def test_a_penalty_shrinks_the_model(rng: np.random.Generator) -> None:
    interactions = ratings_for("squared", rng)
    loose, tight = (
        EXPLICIT.fit(interactions, config=small(regularization=λ, epochs=20), random_state=0) for λ in (0.01, 10.0)
    )
    assert np.abs(tight.item_biases).mean() < 0.5 * np.abs(loose.item_biases).mean()
    assert np.abs(predicted(tight) - tight.global_mean).mean() < np.abs(predicted(loose) - loose.global_mean).mean()


@every_loss
def test_numbers_that_stop_being_finite_name_the_hyperparameters(loss: str, rng: np.random.Generator) -> None:
    config = small(loss=loss, learning_rate="1e38")
    with pytest.raises(AlgorithmError, match=r"no longer finite.*learning_rate \(now 1e38\).*regularization.*batch"):
        EXPLICIT.fit(ratings_for(loss, rng), config=config, random_state=0)


def test_item_factors_beyond_any_system_name_the_learning_rate() -> None:
    items = ItemSide(np.full((2, 1), 1e30, dtype=np.float32), np.full(2, 100, dtype=np.float32))
    system = EXPLICIT.row_system(small(loss="poisson"), replace(items, global_mean=800.0))
    history = interactions_from_rows([[0, 1]], n_items=2).by_user()
    with pytest.raises(
        AlgorithmError, match=r"no longer finite: lower learning_rate, raise regularization \(now 0.06\)"
    ):
        solve_rows(system, history, threads=1)


def test_a_penalty_beyond_float32_gives_the_mean(rng: np.random.Generator) -> None:
    interactions = ratings_for("squared", rng)
    factors = EXPLICIT.fit(interactions, config=small(regularization=1e38), random_state=0)
    np.testing.assert_allclose(predicted(factors), interactions.weights.mean(), atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "rating"), [("squared", 3.0), ("squared", -1e30), ("logistic", 1.0), ("logistic", 0.0), ("poisson", 0.0)]
)
def test_ratings_that_are_all_alike_are_predicted_as_such(loss: str, rating: float) -> None:
    rows = [[0, 1, 2], [1, 2, 3], [0, 3]]
    interactions = interactions_from_rows(rows, n_items=4, weights=[[rating] * len(row) for row in rows])
    factors = EXPLICIT.fit(interactions, config=small(loss=loss, regularization=1.0), random_state=0)
    means = LOSSES[loss].mean(torch.from_numpy(predicted(factors))).numpy()
    np.testing.assert_allclose(means, rating, rtol=0.05, atol=0.15)


def test_a_label_of_minus_one_counts_as_zero(rng: np.random.Generator) -> None:
    zeros = ratings_for("logistic", rng)
    minus = replace(zeros, weights=np.where(zeros.weights == 0, -1, 1).astype(np.float32))
    one, other = (EXPLICIT.fit(data, config=small(loss="logistic"), random_state=0) for data in (zeros, minus))
    assert_same_bytes(one, other)


def test_like_above_makes_the_labels(rng: np.random.Generator) -> None:
    ratings = ratings_for("squared", rng)
    labels = replace(ratings, weights=(ratings.weights > 3).astype(np.float32))
    made = EXPLICIT.fit(ratings, config=small(loss="logistic", like_above=3.0), random_state=0)
    given_labels = EXPLICIT.fit(labels, config=small(loss="logistic"), random_state=0)
    assert_same_bytes(replace(made, fold_in={}), replace(given_labels, fold_in={}))
    assert given_labels.fold_in["listed_value"] == 1.0
    assert made.fold_in["listed_value"] == pytest.approx(ratings.weights[ratings.weights > 3].mean(), rel=1e-6)


def test_a_rating_that_equals_like_above_as_written_is_no_like_and_no_listed_value() -> None:
    ratings = interactions_from_rows([[0, 1, 2]], n_items=3, weights=[[3.7, 4.5, 1.0]])
    factors = EXPLICIT.fit(
        ratings, config=ExplicitConfig(embedding_dim=4, epochs=1, loss="logistic", like_above=3.7), random_state=1
    )
    assert factors.fold_in["listed_value"] == 4.5


def test_a_listed_item_counts_as_one_that_is_liked(rng: np.random.Generator) -> None:
    ratings = ratings_for("squared", rng)
    factors = EXPLICIT.fit(ratings, config=small(), random_state=0)
    assert factors.fold_in["listed_value"] > ratings.weights.mean()


def test_ratings_that_are_no_labels_are_refused_with_the_remedy(rng: np.random.Generator) -> None:
    interactions = interactions_from_rows([[0, 1], [1]], n_items=2, weights=[[1, 0], [4]])
    with pytest.raises(UserError, match=r"user 'u0001' rates item 'i0001' with 4.*give like_above"):
        EXPLICIT.fit(interactions, config=small(loss="logistic"), random_state=0)


@pytest.mark.parametrize(
    ("like_above", "said"),
    [
        (5.0, "makes no rating a like"),
        (0.5, "makes every rating a like"),
        (4.7, "makes no"),
        (1e39, "makes no"),
        (-1e39, "makes every"),
    ],
)
def test_one_label_alone_is_refused(like_above: float, said: str) -> None:
    """Trap: 4.7 is below the float32 next to it, but ratings are float32 and none is above it."""
    interactions = interactions_from_rows([[0, 1]], n_items=2, weights=[[1, 4.7]])
    with pytest.raises(UserError, match=re.escape(f"like_above={like_above:g} {said}") + ".*between 1 and 4.7"):
        EXPLICIT.resolved(small(loss="logistic", like_above=like_above), interactions=interactions)


def test_the_feedback_of_counts_cannot_be_negative() -> None:
    assert EXPLICIT.feedback(small(loss="poisson")) is COUNTS
    assert EXPLICIT.feedback(small()) is RATINGS and EXPLICIT.feedback(small(loss="logistic")) is RATINGS


def test_negative_counts_are_refused() -> None:
    interactions = interactions_from_rows([[0, 1], [1]], n_items=2, weights=[[3, -2], [1]])
    with pytest.raises(UserError, match=r"user 'u0000' rates item 'i0001' with -2, and loss=poisson fits counts"):
        EXPLICIT.resolved(ExplicitConfig(loss="poisson"), interactions=interactions)
