"""The algorithm `mlp`: what it hands out, what it learns of ratings, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from factorbox.data.feedback import COUNTS, PAIRS, RATINGS
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError, UserError
from factorbox.models.base import Factors
from factorbox.models.mlp import MLP
from factorbox.models.mlp_config import MLPConfig
from factorbox.models.network import network_scores
from factorbox.recommend.network_fold_in import fold_in_network
from support import clustered_interactions, clustered_ratings, interactions_from_rows

LOSSES = ("pointwise", "squared", "logistic", "poisson")


def quick(loss: str = "pointwise", **changes: Any) -> MLPConfig:
    values: dict[str, Any] = {"embedding_dim": 6, "epochs": 3, "batch_size": 128, "hidden_sizes": "9", "loss": loss}
    if loss == "logistic":
        values["like_above"] = 3.0
    return MLPConfig(**{**values, **changes})


def fitted(interactions: Interactions, config: MLPConfig, **arguments: Any) -> Factors:
    return MLP().fit(interactions, config=config, random_state=1, **arguments)


def predictions(factors: Factors) -> Any:
    return factors.global_mean + network_scores(factors.user_factors, factors.item_factors, factors.layers)


def own_predictions(factors: Factors, interactions: Interactions) -> Any:
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))
    return predictions(factors)[users, interactions.item_indices]


def with_weights(interactions: Interactions, weights: Any) -> Interactions:
    return replace(interactions, weights=np.asarray(weights, dtype=np.float32))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden_sizes", ["9", "9,5"])
def test_shapes_of_what_is_handed_out(rng: np.random.Generator, loss: str, hidden_sizes: str) -> None:
    data = clustered_ratings(rng, n_users=30, n_items=20)
    factors = fitted(data, quick(loss, hidden_sizes=hidden_sizes))
    shapes = {name: values.shape for name, values in factors.layers.items()}
    last = 5 if hidden_sizes == "9,5" else 9
    expected: dict[str, tuple[int, ...]] = {"hidden_bias": (9,), "output_weights": (last,), "output_bias": (1,)}
    expected |= {"prior_mean": (9,), "prior_precision": (9,)}
    if hidden_sizes == "9,5":
        expected |= {"weights_1": (5, 9), "bias_1": (5,)}
    assert shapes == expected
    assert factors.user_factors.shape == (30, 9) and factors.item_factors.shape == (20, 9)
    arrays = (factors.user_factors, factors.item_factors, *factors.layers.values())
    assert all(values.dtype == np.float32 and values.flags.c_contiguous for values in arrays)
    assert not factors.user_biases.any() and not factors.item_biases.any()
    assert (factors.layers["prior_precision"] > 0).all()


def test_what_is_handed_out_scores_as_the_trained_network_does(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first layer is linear in the embeddings, so that its two halves may be applied beforehand."""
    from factorbox.models.mlp_training import Training

    kept: list[Any] = []
    original = Training.factors

    def keeping(self: Any, *arguments: Any) -> Factors:
        kept.append(self)
        return original(self, *arguments)

    monkeypatch.setattr(Training, "factors", keeping)
    data = clustered_ratings(rng, n_users=30, n_items=20)
    factors = fitted(data, quick("squared", hidden_sizes="9,5"))
    training = kept[-1]
    users, items = training._user_embeddings.values.numpy(), training._item_embeddings.values.numpy()
    w0, c1, w1, c2, v, d = (values.numpy().astype(np.float64) for values in training._network.parameters)
    u, i = np.meshgrid(np.arange(30), np.arange(20), indexing="ij")
    x = np.concatenate([users[u], items[i]], axis=2)
    a = np.maximum(np.maximum(x @ w0.T + c1, 0) @ w1.T + c2, 0)
    expected = data.weights.mean() + data.weights.std() * (a @ v.T + d)[:, :, 0]
    np.testing.assert_allclose(predictions(factors), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_threads_do_not_change_a_byte(rng: np.random.Generator, loss: str) -> None:
    data = clustered_ratings(rng, n_users=300, n_items=40)
    # Several parts a batch, so that there is something to share out.
    config = quick(loss, batch_size=3000, hidden_sizes="9,5")
    one, *others = (fitted(data, config, threads=threads) for threads in (1, 2, 3))
    for other in others:
        assert one.user_factors.tobytes() == other.user_factors.tobytes()
        assert one.item_factors.tobytes() == other.item_factors.tobytes()
        assert {k: v.tobytes() for k, v in one.layers.items()} == {k: v.tobytes() for k, v in other.layers.items()}
        assert one.train_loss == other.train_loss


def learnable(loss: str) -> MLPConfig:
    return quick(loss, epochs=40, hidden_sizes="32", dropout_after=0.2, learning_rate=0.02)


def test_squared_error_learns_ratings_in_their_own_units(rng: np.random.Generator) -> None:
    data = clustered_ratings(rng, n_users=200, n_items=40)
    factors = fitted(data, learnable("squared"))
    error = own_predictions(factors, data) - data.weights
    assert np.sqrt(np.mean(np.square(error))) < 0.6 * data.weights.std()


def test_other_units_give_the_same_model_in_these(rng: np.random.Generator) -> None:
    data = clustered_ratings(rng, n_users=60, n_items=40)
    scaled = with_weights(data, 1000 + 64 * data.weights)
    one, other = (fitted(ratings, quick("squared")) for ratings in (data, scaled))
    np.testing.assert_allclose(own_predictions(other, data), 1000 + 64 * own_predictions(one, data), rtol=1e-4)
    assert other.train_loss == pytest.approx(64**2 * one.train_loss, rel=1e-3)
    folded = [
        replace(factors, user_factors=fold_in_network(MLP().row_system(quick("squared"), factors.item_side), rated)[0])
        for factors, rated in ((one, data.by_user()), (other, scaled.by_user()))
    ]
    np.testing.assert_allclose(
        own_predictions(folded[1], data), 1000 + 64 * own_predictions(folded[0], data), rtol=1e-3
    )


def test_log_loss_tells_likes_from_the_rest(rng: np.random.Generator) -> None:
    data = clustered_ratings(rng, n_users=200, n_items=40)
    found = own_predictions(fitted(data, learnable("logistic")), data)
    assert np.mean((found > 0) == (data.weights > 3)) > 0.9


def test_labels_of_minus_one_and_zero_are_the_same(rng: np.random.Generator) -> None:
    data = clustered_ratings(rng, n_users=60, n_items=40)
    likes = data.weights > 3
    models = [
        fitted(with_weights(data, np.where(likes, 1, least)), quick("logistic", like_above=None)) for least in (0, -1)
    ]
    assert models[0].user_factors.tobytes() == models[1].user_factors.tobytes()
    assert models[0].fold_in == {"listed_value": 1.0}


def test_poisson_loss_learns_counts(rng: np.random.Generator) -> None:
    data = clustered_ratings(rng, n_users=200, n_items=40)
    counts = with_weights(data, np.where(data.weights > 3, 8, 0))
    found = np.exp(own_predictions(fitted(counts, learnable("poisson")), counts))
    assert found[counts.weights == 8].mean() > 4 > 2 > found[counts.weights == 0].mean()


@pytest.mark.parametrize(
    ("loss", "mean"), [("squared", 2.0), ("logistic", np.log(0.25 / 0.75)), ("poisson", np.log(2.0))]
)
def test_the_global_mean_is_on_the_scale_of_the_sum(loss: str, mean: float) -> None:
    data = interactions_from_rows([[0, 1], [1, 2]], n_items=3, weights=[[1, 1], [1, 5]])
    assert fitted(data, quick(loss)).global_mean == pytest.approx(mean)


def test_pairs_have_no_global_mean_and_no_use_for_weights(rng: np.random.Generator) -> None:
    data = clustered_interactions(rng, n_users=40, n_items=30, weighted=True)
    one, other = fitted(data, quick()), fitted(with_weights(data, np.ones(data.n_pairs)), quick())
    assert one.global_mean == 0 and one.fold_in == {"listed_value": 1.0}
    assert one.user_factors.tobytes() == other.user_factors.tobytes()


def test_a_list_counts_as_the_ratings_that_its_user_would_give() -> None:
    data = interactions_from_rows([[0, 1], [1, 2]], n_items=3, weights=[[1, 2], [4, 5]])
    assert fitted(data, quick("squared")).fold_in["listed_value"] == 4.5
    assert fitted(data, quick("logistic", like_above=1.0)).fold_in["listed_value"] == pytest.approx(11 / 3)


@pytest.mark.parametrize(
    ("loss", "feedback", "link"),
    [
        ("pointwise", PAIRS, "identity"),
        ("squared", RATINGS, "identity"),
        ("logistic", RATINGS, "sigmoid"),
        ("poisson", COUNTS, "exp"),
    ],
)
def test_feedback_and_link_follow_the_loss(loss: str, feedback: Any, link: str) -> None:
    assert MLP().feedback(quick(loss)) == feedback and MLP().link(quick(loss)) == link


def test_a_user_of_every_item_is_left_out_of_training_on_pairs() -> None:
    data = interactions_from_rows([[0, 1, 2], [0, 1], [2]], n_items=3)
    assert np.isfinite(predictions(fitted(data, quick()))).all()


@pytest.mark.parametrize("loss", ["squared", "poisson"])
@pytest.mark.parametrize("weights", [[[3.0]], [[0.0]]], ids=str)
def test_a_single_rating_trains_and_folds_in(loss: str, weights: list[list[float]]) -> None:
    data = interactions_from_rows([[0]], n_items=1, weights=weights)
    config = quick(loss)
    factors = fitted(data, config)
    rows, _ = fold_in_network(MLP().row_system(config, factors.item_side), data.by_user())
    assert np.isfinite(predictions(factors)).all() and np.isfinite(rows).all()


def test_ratings_that_are_no_labels_are_refused() -> None:
    data = interactions_from_rows([[0, 1]], n_items=2, weights=[[1, 4]])
    with pytest.raises(UserError, match=r"loss=logistic fits labels.*give like_above"):
        fitted(data, quick("logistic", like_above=None))
    with pytest.raises(UserError, match="like_above=9 makes no rating a like"):
        fitted(data, quick("logistic", like_above=9.0))


@pytest.mark.parametrize("learning_rate", [1e30, 1e38, 1e300])
def test_a_loss_that_explodes_names_what_to_change(learning_rate: float, rng: np.random.Generator) -> None:
    """Trap: torch refuses a step of Adam whose rate, or the rate over 1 − β1, is no float32."""
    data = clustered_ratings(rng, n_users=40, n_items=30)
    with pytest.raises(
        AlgorithmError, match=rf"no longer finite: lower learning_rate \(now {learning_rate:g}\)".replace("+", r"\+")
    ):
        fitted(data, quick("poisson", learning_rate=learning_rate))


def test_ratings_beyond_what_a_model_can_hold_are_left_to_saving_to_refuse(rng: np.random.Generator) -> None:
    data = clustered_ratings(rng, n_users=40, n_items=30)
    huge = replace(data, weights=data.weights * np.float32(1e30))
    assert np.isinf(fitted(huge, quick("squared")).layers["prior_precision"]).all()
