"""The sampled losses as algorithms: reproducible, watched, regularized, and better than chance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError, UserError
from factorbox.models.base import Algorithm, Device, Epoch, Factors, Watch
from factorbox.models.sampled import ADAPTIVE_HINGE, BPR, HINGE, POINTWISE
from factorbox.models.sampled_blocks import blocks_for
from support import CONTAINER

ALL = [BPR, HINGE, ADAPTIVE_HINGE, POINTWISE]
PAIRWISE = [BPR, HINGE, ADAPTIVE_HINGE]
all_losses = pytest.mark.parametrize("algorithm", ALL, ids=lambda algorithm: str(algorithm.name))
both_ways = pytest.mark.parametrize("device", ["cpu", "none"])
"""By the numba kernels, and by torch alone."""


def from_matrix(seen: np.ndarray[Any, np.dtype[np.bool_]]) -> Interactions:
    users, items = np.nonzero(seen)
    return Interactions(
        user_ids=Ids.from_texts([f"u{user:05d}" for user in range(seen.shape[0])]),
        item_ids=Ids.from_texts([f"i{item:05d}" for item in range(seen.shape[1])]),
        indptr=np.concatenate([[0], np.cumsum(np.bincount(users, minlength=seen.shape[0]))]).astype(np.int64),
        item_indices=items.astype(np.int32),
        weights=np.ones(len(items), dtype=np.float32),
    )


def two_tastes(n_users: int = 60, n_items: int = 40, *, density: float = 0.4) -> Interactions:
    """Even users choose among even items, odd users among odd ones."""
    random = np.random.default_rng(0)
    same = np.add.outer(np.arange(n_users), np.arange(n_items)) % 2 == 0
    return from_matrix(same & (random.random((n_users, n_items)) < density))


def small(algorithm: Algorithm, **options: Any) -> Any:
    return replace(algorithm.config(), **{"embedding_dim": 8, "epochs": 2, "batch_size": 64, **options})


def assert_same_bytes(a: Factors, b: Factors) -> None:
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert a.train_loss == b.train_loss


@both_ways
@all_losses
def test_unseen_items_of_the_users_taste_score_higher(algorithm: Algorithm, device: Device) -> None:
    interactions = two_tastes()
    factors = algorithm.fit(interactions, config=small(algorithm, epochs=30), random_state=0, device=device)
    scores = factors.user_factors @ factors.item_factors.T + factors.item_biases
    seen = np.zeros(scores.shape, dtype=bool)
    seen[np.repeat(np.arange(60), np.diff(interactions.indptr)), interactions.item_indices] = True
    same = np.add.outer(np.arange(60), np.arange(40)) % 2 == 0
    assert scores[same & ~seen].mean() > scores[~same].mean() + 0.1
    assert np.mean(scores[same & ~seen] > np.median(scores[~same])) > 0.8


@all_losses
def test_factors_have_the_promised_shapes_and_types(algorithm: Algorithm) -> None:
    factors = algorithm.fit(two_tastes(), config=small(algorithm), random_state=0)
    shapes = {"user_factors": (60, 8), "item_factors": (40, 8), "user_biases": (60,), "item_biases": (40,)}
    for name, shape in shapes.items():
        array = getattr(factors, name)
        assert array.shape == shape
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert np.isfinite(array).all()
    assert factors.epochs == 2


@both_ways
@all_losses
def test_the_same_seed_gives_the_same_bytes_on_one_two_and_three_threads(algorithm: Algorithm, device: Device) -> None:
    # Batches large enough for torch to share among threads: more than 32,768 scores, and more than one batch; and
    # more than one block for the kernels.
    interactions = two_tastes(600, 400, density=0.6)
    config = small(algorithm, embedding_dim=6, batch_size=40_000, epochs=1)
    assert interactions.n_pairs > config.batch_size and blocks_for(items=400, pairs=interactions.n_pairs) > 1
    one, two, three = (
        algorithm.fit(interactions, config=config, random_state=7, threads=threads, device=device)
        for threads in (1, 2, 3)
    )
    assert_same_bytes(one, two)
    assert_same_bytes(one, three)


@all_losses
def test_another_seed_gives_another_model(algorithm: Algorithm) -> None:
    one, two = (algorithm.fit(two_tastes(), config=small(algorithm), random_state=seed) for seed in (0, 1))
    assert not np.array_equal(one.user_factors, two.user_factors)


@all_losses
def test_weights_are_ignored(algorithm: Algorithm) -> None:
    interactions = two_tastes()
    heavy = replace(interactions, weights=np.arange(1, interactions.n_pairs + 1, dtype=np.float32))
    assert not algorithm.feedback(algorithm.config()).uses_weights
    assert_same_bytes(*(algorithm.fit(data, config=small(algorithm), random_state=0) for data in (interactions, heavy)))


@all_losses
def test_torch_keeps_its_threads_after_a_fit_and_after_a_failure(algorithm: Algorithm) -> None:
    before = torch.get_num_threads()
    algorithm.fit(two_tastes(), config=small(algorithm), random_state=0, threads=before + 1)
    assert torch.get_num_threads() == before
    with pytest.raises(UserError):
        algorithm.fit(
            from_matrix(np.ones((2, 3), dtype=bool)),
            config=small(algorithm),
            random_state=0,
            threads=before + 1,
        )
    assert torch.get_num_threads() == before


@both_ways
@all_losses
def test_a_loss_that_overflows_names_the_hyperparameters_to_change(algorithm: Algorithm, device: Device) -> None:
    config = small(algorithm, learning_rate=1e30, regularization=1e30, epochs=5)
    with pytest.raises(AlgorithmError, match="no longer finite: lower learning_rate") as caught:
        algorithm.fit(two_tastes(), config=config, random_state=0, device=device)
    assert "regularization" in str(caught.value)
    # The kernels have no batches.
    assert ("batch_size" in str(caught.value)) == (device == "none")


@both_ways
@all_losses
def test_users_who_have_every_item_change_nothing_for_the_others(algorithm: Algorithm, device: Device) -> None:
    random = np.random.default_rng(4)
    seen = random.random((30, 20)) < 0.3
    seen[7] = True
    factors = algorithm.fit(from_matrix(seen), config=small(algorithm), random_state=0, device=device)
    # Nothing is set against the items of user 7, whose row keeps its short initial vector and no bias.
    assert factors.user_biases[7] == 0
    assert np.linalg.norm(factors.user_factors[7]) < 0.5
    assert np.isfinite(factors.train_loss)


@both_ways
@all_losses
def test_data_without_any_negative_are_refused_with_the_remedy(algorithm: Algorithm, device: Device) -> None:
    with pytest.raises(UserError, match="every user has interacted with every item") as caught:
        algorithm.fit(from_matrix(np.ones((3, 4), dtype=bool)), config=small(algorithm), random_state=0, device=device)
    assert "algorithm=als" in str(caught.value)


@pytest.mark.parametrize("algorithm", PAIRWISE, ids=lambda algorithm: str(algorithm.name))
def test_pairwise_losses_leave_the_user_biases_at_zero(algorithm: Algorithm) -> None:
    factors = algorithm.fit(two_tastes(), config=small(algorithm), random_state=0)
    assert not factors.user_biases.any()
    assert factors.item_biases.any()


def test_the_pointwise_loss_learns_user_biases() -> None:
    factors = POINTWISE.fit(two_tastes(), config=small(POINTWISE), random_state=0)
    assert factors.user_biases.any()


@all_losses
def test_epochs_are_reported_from_one_with_a_falling_mean_loss(algorithm: Algorithm) -> None:
    epochs: list[Epoch] = []
    factors = algorithm.fit(
        two_tastes(),
        config=small(algorithm, epochs=12),
        random_state=0,
        watch=Watch(on_epoch=epochs.append),
    )
    assert [epoch.number for epoch in epochs] == list(range(1, 13))
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert factors.train_loss == epochs[-1].train_loss
    assert factors.epochs == 12


@all_losses
def test_a_stop_waits_for_the_first_epoch_and_then_ends_the_fit(algorithm: Algorithm) -> None:
    epochs: list[Epoch] = []
    config = small(algorithm, epochs=50)
    stopped = algorithm.fit(
        two_tastes(),
        config=config,
        random_state=0,
        watch=Watch(on_epoch=epochs.append, should_stop=lambda: True),
    )
    assert stopped.epochs == len(epochs) == 1
    assert_same_bytes(stopped, algorithm.fit(two_tastes(), config=replace(config, epochs=1), random_state=0))


@both_ways
def test_a_stop_between_batches_or_diagonals_ends_the_second_epoch_early(device: Device) -> None:
    asked = 0

    def third_question() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    epochs: list[Epoch] = []
    config = small(BPR, epochs=50)
    interactions = two_tastes(600, 400, density=0.6)
    stopped = BPR.fit(
        interactions,
        config=config,
        random_state=0,
        device=device,
        watch=Watch(on_epoch=epochs.append, should_stop=third_question),
    )
    first = BPR.fit(interactions, config=replace(config, epochs=1), random_state=0, device=device)
    assert stopped.epochs == len(epochs) == 1
    assert stopped.train_loss == first.train_loss
    assert not np.array_equal(stopped.user_factors, first.user_factors)


@all_losses
def test_one_step_of_torch_agrees_with_automatic_differentiation(algorithm: Algorithm) -> None:
    # Every user has all items but one, so that the negatives, drawn at random, are known.
    n_users, n_items, d = 6, 6, 5
    interactions = from_matrix(~np.eye(n_users, n_items, dtype=bool))
    options: dict[str, Any] = {"embedding_dim": d, "batch_size": 1000, "regularization": 0.3}
    tiny = small(algorithm, **options, epochs=1, learning_rate=1e-30)
    start = algorithm.fit(interactions, config=tiny, random_state=3, device="none")
    rate = 0.05
    after = algorithm.fit(interactions, config=replace(tiny, learning_rate=rate), random_state=3, device="none")

    w, h = (torch.tensor(a, requires_grad=True) for a in (start.user_factors, start.item_factors))
    b_u, b_i = (torch.zeros(n, requires_grad=True) for n in (n_users, n_items))
    u = torch.arange(n_users).repeat_interleave(n_items - 1)
    i = torch.tensor(interactions.item_indices).long()
    j = u
    x_ui = (w[u] * h[i]).sum(1) + b_u[u] + b_i[i]
    x_uj = (w[u] * h[j]).sum(1) + b_u[u] + b_i[j]
    losses = {
        "bpr": -torch.log(torch.sigmoid(x_ui - x_uj)),
        "hinge": torch.clamp(1 - x_ui + x_uj, min=0),
        "adaptive_hinge": torch.clamp(1 - x_ui + x_uj, min=0),
        "pointwise": -torch.log(torch.sigmoid(x_ui)) - torch.log(1 - torch.sigmoid(x_uj)),
    }
    penalty = sum((t[index] ** 2).sum() for t, index in ((w, u), (h, i), (h, j), (b_u, u), (b_i, i), (b_i, j)))
    objective = losses[algorithm.name].sum() + 0.3 / 2 * penalty
    gradients = torch.autograd.grad(objective, (w, h, b_u, b_i))

    for name, before, g in zip(
        ("user_factors", "item_factors", "user_biases", "item_biases"), (w, h, b_u, b_i), gradients, strict=True
    ):
        rows = g.reshape(len(g), -1)
        root = (rows**2).mean(dim=1, keepdim=True).sqrt()
        step = torch.where(root > 1e-6, rate * rows / root.clamp_min(1e-30), 0.0).reshape(g.shape)
        moved = torch.from_numpy(getattr(after, name))
        settled = (root > 1e-6).reshape(-1)
        torch.testing.assert_close(moved[settled], (before - step).detach()[settled], rtol=1e-4, atol=1e-5)
    assert after.train_loss == pytest.approx(losses[algorithm.name].mean().item(), rel=1e-5)


@both_ways
def test_adaptive_hinge_takes_the_highest_scored_of_its_negatives(device: Device) -> None:
    # With very many candidates it is the best unseen item: its loss cannot be below that of one candidate.
    interactions = two_tastes()
    options: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-30}
    one = ADAPTIVE_HINGE.fit(
        interactions, config=small(ADAPTIVE_HINGE, num_negative_samples=1, **options), random_state=0, device=device
    )
    many = ADAPTIVE_HINGE.fit(
        interactions, config=small(ADAPTIVE_HINGE, num_negative_samples=500, **options), random_state=0, device=device
    )
    scores = many.user_factors @ many.item_factors.T
    users = np.repeat(np.arange(60), np.diff(interactions.indptr))
    unseen = scores.copy()
    unseen[users, interactions.item_indices] = -np.inf
    positives = scores[users, interactions.item_indices]
    expected = np.maximum(0, 1 - positives + unseen.max(axis=1)[users]).mean()
    assert many.train_loss == pytest.approx(float(expected), rel=1e-4)
    assert one.train_loss < many.train_loss


@both_ways
@all_losses
def test_the_memory_estimate_grows_with_every_dimension(algorithm: Algorithm, device: Device) -> None:
    config = algorithm.config()
    sizes: dict[str, Any] = {"users": 1000, "items": 500, "pairs": 20_000, "device": device}
    base = algorithm.memory(**sizes, config=config)
    assert base >= 4 * 1500 * config.embedding_dim
    for name in ("users", "items", "pairs"):
        assert algorithm.memory(**{**sizes, name: sizes[name] * 10}, config=config) > base
    wider = replace(config, embedding_dim=config.embedding_dim * 2)
    assert algorithm.memory(**sizes, config=wider) > base


_MEASURE = """
import json, sys
from dataclasses import replace
import numpy as np
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.models import ALGORITHMS

name, device, users, batch_size, d = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
algorithm = ALGORITHMS[name]
config = replace(algorithm.config(), embedding_dim=d, epochs=1, batch_size=batch_size)

def interactions(users, items, history):
    rng = np.random.default_rng(0)
    step = items // history
    # The last user has every item, so that nothing can be set against those.
    some = step * np.arange(history, dtype=np.int32) + rng.integers(step, size=(users, history), dtype=np.int32)
    indices = np.concatenate([some.ravel(), np.arange(items, dtype=np.int32)])
    return Interactions(
        user_ids=Ids.from_texts([f"{user:07d}" for user in range(users + 1)]),
        item_ids=Ids.from_texts([f"{item:07d}" for item in range(items)]),
        indptr=np.append(history * np.arange(users + 1), len(indices)),
        item_indices=indices,
        weights=np.ones(len(indices), dtype=np.float32),
    )

algorithm.fit(interactions(20, 30, 5), config=config, random_state=0, device=device)
data = interactions(users, 2000, 50)
with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")  # the peak counts from here

def memory(name):
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith(name))

before = memory("VmRSS")
algorithm.fit(data, config=config, random_state=0, device=device)
used = memory("VmHWM") - before
estimate = algorithm.memory(users=data.n_users, items=2000, pairs=data.n_pairs, config=config, device=device)
print(json.dumps({"used": used, "estimate": estimate}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "device", "sizes"),
    [
        ("bpr", "cpu", [60_000, 4096, 2]),
        ("bpr", "none", [40_000, 4096, 2]),
        ("adaptive_hinge", "none", [2_000, 1 << 16, 64]),
    ],
    ids=["kernels", "pairs of torch", "batches of torch"],
)
def test_a_fit_takes_no_more_memory_than_estimated_and_at_least_half(
    name: str, device: Device, sizes: list[int]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, name, device, *map(str, sizes)],
        env={**os.environ, "PYTHONPATH": str(CONTAINER)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    measured = json.loads(done.stdout)
    # What the interpreter holds beside the arrays varies by some megabytes.
    assert measured["estimate"] / 2 - 20e6 < measured["used"] < measured["estimate"] + 20e6


@pytest.mark.parametrize(
    "options", [{"embedding_dim": 0}, {"epochs": 0}, {"regularization": -1.0}, {"learning_rate": 0.0}]
)
@all_losses
def test_options_out_of_range_are_refused(algorithm: Algorithm, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        algorithm.config(**options)
