"""`softmax`: its gradient, its corrected sample of the catalogue, and vectors of one length."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError, UserError
from factorbox.models.base import Factors, Watch
from factorbox.models.softmax import Softmax
from factorbox.models.softmax_config import ALL_ITEMS_UP_TO, LARGEST_RATE, SAMPLED, SMALLEST_RATE, SoftmaxConfig
from factorbox.models.softmax_training import Training
from factorbox.threads import Threads
from support import clustered_interactions, interactions_from_rows

SOFTMAX = Softmax()


def small(**options: Any) -> SoftmaxConfig:
    return replace(SoftmaxConfig(), **{"embedding_dim": 5, "epochs": 1, "batch_size": 1000, **options})


def training_of(interactions: Interactions, config: SoftmaxConfig, pool: Threads) -> Training:
    cpu = torch.device("cpu")
    return Training(interactions, config=config, random_state=3, device=cpu, pool=pool)


def owners(interactions: Interactions) -> Any:
    return np.repeat(np.arange(interactions.n_users), np.diff(interactions.indptr))


def dense_loss(w: torch.Tensor, h: torch.Tensor, b: torch.Tensor, interactions: Interactions) -> tuple[Any, Any]:
    """Return the objective without its penalty and the mean loss of a pair, by the formula of the module."""
    x = w @ h.T + b
    users, items = owners(interactions), interactions.item_indices.astype(np.int64)
    seen = torch.zeros(x.shape, dtype=torch.bool)
    seen[users, items] = True
    negatives = torch.where(seen, -torch.inf, x).logsumexp(dim=1)[users]
    losses = torch.logaddexp(x[users, items], negatives) - x[users, items]
    weights = torch.from_numpy(np.diff(interactions.indptr) ** -0.5)[users]
    return (weights * losses).sum(), losses.mean()


def unit_rows(vectors: Any) -> Any:
    return vectors / vectors.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("cosine", [True, False], ids=["cosine", "dot product"])
def test_one_step_agrees_with_automatic_differentiation(cosine: bool) -> None:
    interactions = interactions_from_rows([[0, 1, 4], [2], [1, 3, 5, 6], [0, 6]], n_items=8)
    config = small(cosine=cosine, regularization=0.3, temperature=0.5)
    before = SOFTMAX.fit(interactions, config=replace(config, learning_rate=1e-30), random_state=3)
    after = SOFTMAX.fit(interactions, config=replace(config, learning_rate=0.05), random_state=3)

    w, h = (torch.tensor(a, dtype=torch.float64) for a in (before.user_factors, before.item_factors))
    b = torch.zeros(8, dtype=torch.float64)
    parameters = [values.requires_grad_() for values in (w, h, b)]
    length = 0.5**-0.5
    if cosine:
        objective, mean = dense_loss(length * unit_rows(w), length * unit_rows(h), b, interactions)
    else:
        objective, mean = dense_loss(w, h, b, interactions)
        users, items = owners(interactions), interactions.item_indices.astype(np.int64)
        weights = torch.from_numpy(np.diff(interactions.indptr) ** -0.5)[users]
        squares = (w[users] ** 2).sum(1) + (h[items] ** 2).sum(1) + b[items] ** 2
        objective = objective + 0.3 / 2 * (weights * squares).sum()
    gradients = torch.autograd.grad(objective, parameters)

    assert after.train_loss == pytest.approx(mean.item(), rel=1e-5)
    for name, values, g in zip(("user_factors", "item_factors", "item_biases"), parameters, gradients, strict=True):
        rows = g.reshape(len(g), -1)
        step = 0.05 * rows / (rows**2).mean(dim=1, keepdim=True).sqrt()
        if cosine and name.endswith("factors"):
            moved = length * unit_rows(values - length * step)
        else:
            moved = (values.reshape(len(g), -1) - step).reshape(g.shape)
        np.testing.assert_allclose(getattr(after, name), moved.detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("drawn", [None, 40], ids=["all items", "a sample"])
def test_the_number_of_threads_changes_no_byte(rng: np.random.Generator, drawn: int | None) -> None:
    # More than one part of users, and more than one block of items.
    interactions = clustered_interactions(rng, n_users=150, n_items=2500)
    config = small(batch_size=100, num_negative_samples=drawn, epochs=2)
    one, two, three = (SOFTMAX.fit(interactions, config=config, random_state=7, threads=n) for n in (1, 2, 3))
    for other in (two, three):
        for name in ("user_factors", "item_factors", "item_biases"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
        assert one.train_loss == other.train_loss


def test_vectors_have_one_length_so_that_scores_are_cosines_over_the_temperature(rng: np.random.Generator) -> None:
    factors = SOFTMAX.fit(clustered_interactions(rng), config=small(temperature=0.25, epochs=3), random_state=0)
    for vectors in (factors.user_factors, factors.item_factors):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 2.0, rtol=1e-5)


def test_the_weights_of_a_sample_make_up_for_how_often_an_item_comes_up(rng: np.random.Generator) -> None:
    """The sum over a step's candidates is that over the catalogue on average, for popular items and rare ones."""
    popularity = (np.arange(400) + 2.0) ** -1
    rows = [
        sorted(int(i) for i in rng.choice(400, size=12, replace=False, p=popularity / popularity.sum()))
        for _ in range(300)
    ]
    interactions = interactions_from_rows(rows, n_items=400)
    counts = np.bincount(interactions.item_indices, minlength=400)
    totals, plain, draws = np.zeros(400), np.zeros(400), 400
    with Threads(1) as pool, torch.inference_mode():
        training = training_of(interactions, small(num_negative_samples=30), pool)
        # What the others of a step bring for user 0, who has not got the item.
        for _ in range(draws):
            others = rng.choice(np.arange(1, 300), size=15, replace=False)
            items = torch.tensor(np.concatenate([interactions.items_of(user) for user in others]).astype(np.int64))
            candidates = training._candidates(items, n_users=16)
            assert candidates.items is not None and candidates.weights is not None
            totals[candidates.items.numpy()] += candidates.weights.numpy()
            plain[candidates.items.numpy()] += 1
    totals, plain = totals / draws, plain / draws
    unseen = np.setdiff1d(np.arange(400), interactions.items_of(0))
    popular, rare = unseen[counts[unseen] > 40], unseen[counts[unseen] < 5]
    assert len(popular) > 5 and len(rare) > 50
    assert totals[popular].mean() == pytest.approx(1, abs=0.05) and totals[rare].mean() == pytest.approx(1, abs=0.1)
    assert plain[popular].mean() > 5 * plain[rare].mean()


def test_a_sample_of_the_catalogue_learns_the_popularity_that_the_whole_one_learns(rng: np.random.Generator) -> None:
    popularity = (np.arange(300) + 3.0) ** -1
    rows = [
        sorted(int(i) for i in rng.choice(300, size=10, replace=False, p=popularity / popularity.sum()))
        for _ in range(400)
    ]
    interactions = interactions_from_rows(rows, n_items=300)
    options = dict(batch_size=16, epochs=15, temperature=5.0)
    whole = SOFTMAX.fit(interactions, config=small(**options), random_state=0).item_biases
    sample = SOFTMAX.fit(interactions, config=small(num_negative_samples=20, **options), random_state=0).item_biases
    counts = np.bincount(interactions.item_indices, minlength=300)
    common = counts > 5
    assert np.corrcoef(whole[common], np.log(counts[common]))[0, 1] > 0.9
    assert np.corrcoef(whole[common], sample[common])[0, 1] > 0.95


def test_large_scores_do_not_overflow(rng: np.random.Generator) -> None:
    factors = SOFTMAX.fit(clustered_interactions(rng), config=small(temperature=0.001, epochs=3), random_state=0)
    assert math.isfinite(factors.train_loss) and np.isfinite(factors.item_factors).all()


def test_a_loss_that_overflows_names_the_hyperparameters_to_change(rng: np.random.Generator) -> None:
    config = small(cosine=False, learning_rate=1e30, regularization=1e30, epochs=5)
    with pytest.raises(AlgorithmError, match="no longer finite: lower learning_rate") as caught:
        SOFTMAX.fit(clustered_interactions(rng), config=config, random_state=0)
    assert "temperature" in str(caught.value) and "batch_size" in str(caught.value)


def test_data_without_any_negative_are_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"every user has interacted with every item.*algorithm=als"):
        SOFTMAX.fit(interactions_from_rows([[0, 1], [0, 1]], n_items=2), config=small(), random_state=0)


def test_users_with_nothing_or_everything_do_not_move_and_disturb_nobody() -> None:
    rows = [[0, 1], [], [0, 1, 2, 3], [2]]
    factors: Factors = SOFTMAX.fit(interactions_from_rows(rows, n_items=4), config=small(epochs=3), random_state=0)
    assert not factors.user_factors[1].any()
    assert np.isfinite(factors.item_factors).all() and math.isfinite(factors.train_loss)


def test_the_whole_catalogue_takes_part_where_it_is_small() -> None:
    assert SoftmaxConfig().drawn(items=ALL_ITEMS_UP_TO) is None
    assert SoftmaxConfig().drawn(items=ALL_ITEMS_UP_TO + 1) == SAMPLED
    assert SoftmaxConfig(num_negative_samples=100).drawn(items=100) is None
    assert SoftmaxConfig(num_negative_samples=100).drawn(items=101) == 100
    resolved = SOFTMAX.resolved(SoftmaxConfig(), interactions=interactions_from_rows([[0], [1]], n_items=3))
    assert resolved.num_negative_samples == 3 and resolved.drawn(items=3) is None


def test_the_learning_rate_is_higher_where_users_and_items_have_fewer_pairs(rng: np.random.Generator) -> None:
    rates = []
    for n_items in (200, 55, 2_000):
        rows = [sorted(int(i) for i in rng.choice(n_items, size=54, replace=False)) for _ in range(1_000)]
        resolved = SOFTMAX.resolved(SoftmaxConfig(), interactions=interactions_from_rows(rows, n_items=n_items))
        assert resolved.learning_rate is not None
        rates.append(resolved.learning_rate)
    dense, denser, sparse = rates
    assert SMALLEST_RATE == denser < dense < sparse <= LARGEST_RATE
    few = interactions_from_rows([[0, 1], [1, 2], [3]], n_items=4)
    assert SOFTMAX.resolved(SoftmaxConfig(), interactions=few).learning_rate == LARGEST_RATE


def test_a_given_learning_rate_is_kept_and_an_open_one_is_that_of_the_rule(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng)
    assert SOFTMAX.resolved(SoftmaxConfig(learning_rate=0.5), interactions=interactions).learning_rate == 0.5
    resolved = SOFTMAX.resolved(small(), interactions=interactions)
    assert SOFTMAX.resolved(resolved, interactions=interactions) == resolved
    one, other = (SOFTMAX.fit(interactions, config=config, random_state=0) for config in (small(), resolved))
    assert one.user_factors.tobytes() == other.user_factors.tobytes()


def test_a_stop_between_steps_ends_an_epoch_early(rng: np.random.Generator) -> None:
    asked: list[int] = []

    def third_question() -> bool:
        asked.append(1)
        return len(asked) == 3

    config = small(batch_size=16, epochs=50)
    interactions = clustered_interactions(rng)
    stopped = SOFTMAX.fit(interactions, config=config, random_state=0, watch=Watch(should_stop=third_question))
    first = SOFTMAX.fit(interactions, config=replace(config, epochs=1), random_state=0)
    assert stopped.epochs == 1 and stopped.train_loss == first.train_loss
    assert not np.array_equal(stopped.user_factors, first.user_factors)
