"""What the log says of a training, and how long each of the two trainings with a hold-out goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from factorbox.data.interactions import Interactions
from factorbox.errors import UserError
from factorbox.fitting import Fitting
from factorbox.job import Job, read_job
from factorbox.models.base import Epoch, Factors, Watch
from factorbox.models.sampled import BPR
from support import interactions_from_rows

DATA = interactions_from_rows([[user % 7, 7 + user % 5, 12 + user % 3] for user in range(60)], n_items=15)
PAIRS = 180


class Scripted:
    """An algorithm that learns nothing: converged at an epoch, never, or without a criterion."""

    name, config, explains = "scripted", BPR.config, True
    feedback, link, resolved = staticmethod(BPR.feedback), staticmethod(BPR.link), staticmethod(BPR.resolved)

    def __init__(self, *, converges_at: int | None = None, has_criterion: bool = False) -> None:
        self._converges_at, self._has_criterion = converges_at, has_criterion
        self.fits: list[tuple[int, int]] = []
        """Pairs and epochs of each fit."""

    def fit(self, interactions: Interactions, *, config: Any, watch: Watch, **_: Any) -> Factors:
        epoch, factors = 0, None
        while epoch < config.epochs and epoch != self._converges_at and not (epoch and watch.should_stop()):
            epoch += 1
            factors = Factors(
                user_factors=np.zeros((60, 1), np.float32),
                item_factors=np.zeros((15, 1), np.float32),
                user_biases=np.zeros(60, np.float32),
                item_biases=np.zeros(15, np.float32),
                epochs=epoch,
                train_loss=1.0 / epoch,
                converged=epoch == self._converges_at if self._has_criterion or self._converges_at else None,
                metrics={"reconstruction_error": 5.0},
            )
            watch.on_epoch(Epoch(epoch, 1.0 / epoch, 0.5, lambda: factors, details={"violation": 2.0 / epoch}))  # noqa: B023
        assert factors is not None
        self.fits.append((interactions.n_pairs, epoch))
        return factors


class Best:
    """A measure by which a given epoch is the best, and every other the worse the farther it is from it."""

    objective, larger_is_better = "validation:loss", False

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def __call__(self, factors: Factors) -> dict[str, float]:
        return {"validation:loss": float(abs(factors.epochs - self._epoch))}


@pytest.fixture(autouse=True)
def _fourth_epoch_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorbox.fitting.measure_of", lambda *_, **__: Best(4))


def fit(
    algorithm: Scripted, *, should_stop: Callable[[], bool] = lambda: False, data: Interactions = DATA, **options: str
) -> Factors:
    job: Job = replace(read_job({"algorithm": "bpr", **options}), algorithm=cast(Any, algorithm))
    return Fitting(job, threads=1, device="cpu", should_stop=should_stop).fit(data)


@pytest.fixture(autouse=True)
def _all_records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_an_epoch_is_one_line_with_its_details(caplog: pytest.LogCaptureFixture) -> None:
    fit(Scripted(), epochs="2")
    assert caplog.messages[:2] == [
        "epoch=1; train_loss=1; violation=2; seconds=0.5;",
        "epoch=2; train_loss=0.5; violation=1; seconds=0.5;",
    ]
    assert caplog.messages[2:] == ["reconstruction_error=5;"]


def test_what_is_measured_stands_between_loss_and_seconds(caplog: pytest.LogCaptureFixture) -> None:
    fit(Scripted(), epochs="1", validation="random")
    assert caplog.messages[0] == "validation=random; held_out_pairs=18;"
    assert caplog.messages[1] == "epoch=1; train_loss=1; violation=2; validation:loss=3; seconds=0.5;"


@pytest.mark.parametrize(
    ("algorithm", "words", "level"),
    [
        (Scripted(converges_at=3), "converged after 3 of 5 epochs", logging.INFO),
        (Scripted(has_criterion=True), "not converged after 5 epochs: raise epochs or tol", logging.WARNING),
        (Scripted(), "", logging.INFO),
    ],
    ids=["converged", "not converged", "without a criterion"],
)
def test_the_end_says_whether_training_converged(
    caplog: pytest.LogCaptureFixture, algorithm: Scripted, words: str, level: int
) -> None:
    fit(algorithm, epochs="5")
    said = [(record.getMessage(), record.levelno) for record in caplog.records if "epochs" in record.getMessage()]
    assert said == ([(words, level)] if words else [])


def test_only_a_stop_is_called_one(caplog: pytest.LogCaptureFixture) -> None:
    fit(Scripted(converges_at=2), epochs="5", should_stop=lambda: False)
    assert "stopped early" not in caplog.text
    fit(Scripted(has_criterion=True), epochs="5", should_stop=lambda: True)
    assert "stopped early: 1 of 5 epochs" in caplog.text and "not converged" not in caplog.text


def test_with_patience_the_second_training_ends_after_the_best_epoch(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = Scripted(has_criterion=True)
    factors = fit(algorithm, epochs="30", validation="random", patience="3")
    assert algorithm.fits == [(PAIRS - 18, 7), (PAIRS, 4)]
    assert factors.epochs == factors.metrics["validation:epoch"] == 4
    assert factors.metrics == {"reconstruction_error": 5.0, "validation:loss": 0.0, "validation:epoch": 4}
    assert "stopped early: 7 of 30 epochs, the last 3 no better" in caplog.text
    # It was to end so, and more epochs would make it worse.
    assert "not converged" not in caplog.text


def test_without_patience_all_epochs_are_trained_twice() -> None:
    algorithm = Scripted()
    factors = fit(algorithm, epochs="9", validation="random")
    assert algorithm.fits == [(PAIRS - 18, 9), (PAIRS, 9)]
    assert factors.metrics["validation:epoch"] == 9


def test_a_second_training_that_converges_sooner_is_described_by_its_own_epoch() -> None:
    algorithm = Scripted(converges_at=6)
    assert fit(algorithm, epochs="9", validation="random").metrics["validation:epoch"] == 6


def test_a_stop_while_pairs_are_held_out_ends_with_that_model(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = Scripted()
    factors = fit(algorithm, epochs="9", validation="random", should_stop=lambda: True)
    assert algorithm.fits == [(PAIRS - 18, 1)]
    assert factors.metrics["validation:epoch"] == 1
    assert "the model has not seen those 18 pairs" in caplog.text
    assert "stopped early: 1 of 9 epochs" in caplog.text


def test_a_stop_in_the_second_training_ends_with_its_model_as_it_stands(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = Scripted()
    factors = fit(
        algorithm,
        epochs="9",
        validation="random",
        should_stop=lambda: "training anew on all pairs" in caplog.messages,
    )
    assert algorithm.fits == [(PAIRS - 18, 9), (PAIRS, 1)]
    assert factors.epochs == factors.metrics["validation:epoch"] == 1
    assert "stopped early: 1 of 9 epochs" in caplog.text


@pytest.mark.parametrize("pairs", [99, 100])
def test_below_100_pairs_nothing_is_held_out(caplog: pytest.LogCaptureFixture, pairs: int) -> None:
    rows = [list(range(15))] * 6 + [list(range(pairs - 90))]
    algorithm = Scripted()
    fit(algorithm, epochs="2", validation="random", data=interactions_from_rows(rows, n_items=15))
    assert len(algorithm.fits) == (1 if pairs < 100 else 2)
    assert ("validation=random is left out" in caplog.text) == (pairs < 100)


def test_nothing_is_held_out_where_the_rest_would_not_suit_the_algorithm(caplog: pytest.LogCaptureFixture) -> None:
    """Trap: the only like of the data, held out, would end the job with a word against its hyperparameters."""

    class NeedsAll(Scripted):
        def resolved(self, config: Any, *, interactions: Interactions) -> Any:
            if interactions.n_pairs < PAIRS:
                raise UserError("like_above=3 makes no rating a like")
            return config

    algorithm = NeedsAll()
    fit(algorithm, validation="random", epochs="3")
    assert algorithm.fits == [(PAIRS, 3)]
    assert any(
        message.startswith("validation=random is left out: without the held-out pairs, like_above=3 makes no rating")
        for message in caplog.messages
    )
