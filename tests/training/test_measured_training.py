"""What the log says of a training, how long each part of it goes on, and which model is left."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from factorbox.contract.metric_lines import regex
from factorbox.data.interactions import Interactions
from factorbox.data.outside import OutsidePairs
from factorbox.data.splits import Pairs
from factorbox.errors import UserError
from factorbox.evaluation.metrics import METRICS
from factorbox.models.base import Epoch, Factors, Watch
from factorbox.models.sampled import BPR
from factorbox.training.fitting import Fitting
from factorbox.training.job import Job, read_job
from factorbox.training.measured_training import Fitted, Measured, MeasuredTraining
from support import interactions_from_rows

DATA = interactions_from_rows([[user % 7, 7 + user % 5, 12 + user % 3] for user in range(60)], n_items=15)
PAIRS = 180
HELD_OUT = 18


class Scripted:
    """An algorithm that learns nothing: converged at an epoch, never, or without a criterion.

    A model's first user factor is the number of its epochs, its second the number of pairs it was last fitted to.
    """

    name, config, explains = "scripted", BPR.config, True
    feedback, link, resolved = staticmethod(BPR.feedback), staticmethod(BPR.link), staticmethod(BPR.resolved)

    def __init__(
        self, *, converges_at: int | None = None, has_criterion: bool = False, warm_epochs: int | None = None
    ) -> None:
        self._converges_at, self._has_criterion, self.warm_epochs = converges_at, has_criterion, warm_epochs
        self.fits: list[tuple[int, int, int | None]] = []
        """Of each fit: pairs, the epoch that it ended at, and the epoch that it started from."""
        self.finishes: list[tuple[int, int]] = []
        """Pairs and epoch of each snapshot that was finished."""

    def fit(
        self, interactions: Interactions, *, config: Any, watch: Watch, start: Factors | None = None, **_: Any
    ) -> Factors:
        first = epoch = 0 if start is None else start.epochs
        factors = start
        while epoch < first + config.epochs and epoch != self._converges_at and not (epoch and watch.should_stop()):
            epoch += 1
            factors = self._factors(epoch, pairs=interactions.n_pairs)
            snapshot = partial(lambda made: made, factors)
            watch.on_epoch(Epoch(epoch, 1.0 / epoch, 0.5, snapshot, details={"violation": 2.0 / epoch}))
        assert factors is not None
        self.fits.append((interactions.n_pairs, epoch, None if start is None else first))
        return factors

    def _factors(self, epoch: int, *, pairs: int) -> Factors:
        user_factors = np.zeros((60, 2), np.float32)
        user_factors[:] = epoch, pairs
        return Factors(
            user_factors=user_factors,
            item_factors=np.zeros((15, 2), np.float32),
            user_biases=np.zeros(60, np.float32),
            item_biases=np.zeros(15, np.float32),
            epochs=epoch,
            train_loss=1.0 / epoch,
            converged=epoch == self._converges_at if self._has_criterion or self._converges_at else None,
            metrics={"reconstruction_error": 5.0},
        )

    def finished(self, snapshot: Factors, *, interactions: Interactions, **_: Any) -> Factors:
        self.finishes.append((interactions.n_pairs, snapshot.epochs))
        return snapshot

    def continuation(self, config: Any, *, epochs: int) -> Any:
        return replace(config, epochs=epochs)


class Best:
    """A measure by which a given epoch is the best, and every other the worse the farther it is from it."""

    objective, larger_is_better, n_users = "validation:loss", False, 17

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def __call__(self, factors: Factors) -> dict[str, float]:
        return {"validation:loss": float(abs(factors.epochs - self._epoch))}


@pytest.fixture(autouse=True)
def _fourth_epoch_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorbox.training.measured_training.measure_of", lambda *_, **__: Best(4))


def fit(
    algorithm: Scripted,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    data: Interactions = DATA,
    outside: OutsidePairs | None = None,
    **options: str,
) -> tuple[Measured, Fitted]:
    job: Job = replace(read_job({"algorithm": "bpr", **options}), algorithm=cast(Any, algorithm))
    whole = MeasuredTraining(Fitting(job, threads=1, device="cpu", should_stop=should_stop))
    measured = whole.measured(data, outside=outside)
    return measured, whole.finished(measured, data)


@pytest.fixture(autouse=True)
def _all_records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_an_epoch_is_one_line_with_its_details(caplog: pytest.LogCaptureFixture) -> None:
    fit(Scripted(), epochs="2", validation="none")
    assert caplog.messages[1:] == [
        "epoch=1; train_loss=1; violation=2; seconds=0.5;",
        "epoch=2; train_loss=0.5; violation=1; seconds=0.5;",
        "reconstruction_error=5;",
    ]


def test_what_is_measured_stands_between_loss_and_seconds(caplog: pytest.LogCaptureFixture) -> None:
    fit(Scripted(), epochs="1", validation="random")
    assert caplog.messages[0] == f"validation=random; held_out_pairs={HELD_OUT}; validation_users=17;"
    assert caplog.messages[1] == "epoch=1; train_loss=1; violation=2; validation:loss=3; seconds=0.5;"


def test_the_metrics_stand_beside_those_of_most_popular_and_say_whose_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    measured, _ = fit(Scripted(), epochs="2", validation="random")
    at = next(k for k, message in enumerate(caplog.messages) if message.startswith("Measured after epoch 2"))
    assert caplog.messages[at] == (
        "Measured after epoch 2 by a random 10% of the interactions: 18 interactions of 17 users, which the model had"
        " not learned from."
    )
    assert measured.evaluation is not None
    values = measured.evaluation.metrics
    assert caplog.messages[at + 1].startswith(f"validation:ndcg@10={values['ndcg@10'].value:.4g}; validation:precision")
    assert caplog.messages[at + 2].startswith("most_popular:ndcg@10=")
    for metric in METRICS:
        name = metric.log_name if metric.kind == "ranking" else None
        if name is not None:
            assert re.search(regex(name), caplog.messages[at + 1]) is not None


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
    fit(algorithm, epochs="5", validation="none")
    said = [(record.getMessage(), record.levelno) for record in caplog.records if "epochs" in record.getMessage()]
    assert said == ([(words, level)] if words else [])


def test_only_a_stop_is_called_one(caplog: pytest.LogCaptureFixture) -> None:
    fit(Scripted(converges_at=2), epochs="5", validation="none", should_stop=lambda: False)
    assert "stopped early" not in caplog.text
    fit(Scripted(has_criterion=True), epochs="5", validation="none", should_stop=lambda: True)
    assert "stopped early: 1 of 5 epochs" in caplog.text and "not converged" not in caplog.text


def test_training_goes_on_with_all_interactions_from_the_measured_model(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = Scripted(warm_epochs=3)
    measured, fitted = fit(algorithm, epochs="9", validation="random")
    assert algorithm.fits == [(PAIRS - HELD_OUT, 9, None), (PAIRS, 12, 9)]
    assert fitted.factors.epochs == 12 and measured.factors.epochs == 9
    assert fitted.trained_on is DATA and fitted.unlearned is None and fitted.has_learned_all
    assert fitted.about == measured.about + " Training then went on with them, so this model has seen them."
    assert "refit_epoch=10; train_loss=0.1; violation=0.2; seconds=0.5;" in caplog.messages
    assert [point.epoch for point in measured.curve] == list(range(1, 10))


def test_where_only_a_training_from_the_beginning_is_as_good_there_is_one() -> None:
    algorithm = Scripted()
    _, fitted = fit(algorithm, epochs="9", validation="random")
    assert algorithm.fits == [(PAIRS - HELD_OUT, 9, None), (PAIRS, 9, None)]
    assert fitted.trained_on is DATA and fitted.has_learned_all


def test_with_patience_the_best_epoch_is_measured_and_gone_on_from(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = Scripted(has_criterion=True, warm_epochs=2)
    measured, fitted = fit(algorithm, epochs="30", validation="random", patience="3")
    assert algorithm.fits == [(PAIRS - HELD_OUT, 7, None), (PAIRS, 6, 4)]
    assert algorithm.finishes == [(PAIRS - HELD_OUT, 4)]
    assert measured.factors.epochs == 4 and fitted.factors.epochs == 6
    assert measured.about.startswith("Measured after epoch 4 by")
    assert "stopped early: 7 of 30 epochs, the last 3 no better" in caplog.text
    # It was to end so, and more epochs would make it worse.
    assert "not converged" not in caplog.text


def test_with_patience_a_training_from_the_beginning_ends_after_the_best_epoch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    algorithm = Scripted(has_criterion=True)
    _, fitted = fit(algorithm, epochs="30", validation="random", patience="3")
    assert algorithm.fits == [(PAIRS - HELD_OUT, 7, None), (PAIRS, 4, None)]
    assert fitted.factors.epochs == 4
    assert "not converged" not in caplog.text


def test_without_refit_the_measured_model_is_kept_with_what_it_has_not_seen() -> None:
    algorithm = Scripted(warm_epochs=3)
    measured, fitted = fit(algorithm, epochs="30", validation="random", patience="3", refit="false")
    assert algorithm.fits == [(PAIRS - HELD_OUT, 7, None)]
    assert fitted.factors is measured.factors and fitted.factors.epochs == 4
    assert measured.hold_out is not None
    assert fitted.trained_on is measured.hold_out.training
    assert fitted.unlearned is measured.hold_out.held_out
    assert fitted.about.endswith("The model has not seen them.") and not fitted.has_learned_all


def test_an_own_channel_is_not_learned_from() -> None:
    algorithm = Scripted(warm_epochs=3)
    users = np.arange(5, dtype=np.int64)
    outside = OutsidePairs(
        pairs=Pairs(users, np.full(5, 14, np.int32), np.ones(5, np.float32)),
        unknown_users=0,
        unknown_items=0,
        pairs_of_unknown=0,
        pairs_in_training=0,
    )
    measured, fitted = fit(algorithm, epochs="3", outside=outside)
    assert algorithm.fits == [(PAIRS, 3, None)]
    assert fitted.factors is measured.factors and fitted.trained_on is DATA and fitted.unlearned is None
    assert fitted.about.endswith("They are not part of the training data.")


def test_a_stop_while_pairs_are_held_out_ends_with_that_model(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = Scripted(warm_epochs=3)
    measured, fitted = fit(algorithm, epochs="9", validation="random", should_stop=lambda: True)
    assert algorithm.fits == [(PAIRS - HELD_OUT, 1, None)]
    assert measured.evaluation is not None
    assert fitted.unlearned is not None and len(fitted.unlearned) == HELD_OUT
    assert "the model has not learned from the 18 held-out interactions" in caplog.text
    assert "stopped early: 1 of 9 epochs" in caplog.text


@pytest.mark.parametrize(
    ("warm_epochs", "kept"), [(None, (9, PAIRS - HELD_OUT)), (3, (9, PAIRS - HELD_OUT))], ids=["anew", "warm"]
)
def test_a_stop_before_the_last_training_is_worth_anything_keeps_the_measured_model(
    caplog: pytest.LogCaptureFixture, warm_epochs: int | None, kept: tuple[int, int]
) -> None:
    algorithm = Scripted(warm_epochs=warm_epochs)
    _, fitted = fit(
        algorithm,
        epochs="9",
        validation="random",
        should_stop=lambda: any(message.startswith("training ") for message in caplog.messages),
    )
    assert tuple(fitted.factors.user_factors[0]) == kept
    assert fitted.unlearned is not None and not fitted.has_learned_all
    assert "before it had learned from the 18 held-out interactions: the measured model is kept" in caplog.text


def test_a_stop_between_warm_epochs_keeps_what_has_learned_from_all(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = Scripted(warm_epochs=3)
    _, fitted = fit(
        algorithm,
        epochs="9",
        validation="random",
        should_stop=lambda: any(message.startswith("refit_epoch=10;") for message in caplog.messages),
    )
    assert tuple(fitted.factors.user_factors[0]) == (10, PAIRS)
    assert fitted.unlearned is None
    assert "stopped early: 1 of 3 epochs with all interactions" in caplog.messages
    assert fitted.about.endswith("Training then went on with them for 1 of 3 epochs, so this model has seen them.")


def test_a_tuning_job_by_what_cannot_be_measured_is_refused_before_training() -> None:
    algorithm = Scripted()
    with pytest.raises(UserError, match="the tuning objective validation:ndcg@10 is never logged by this job, since"):
        fit(algorithm, _tuning_objective_metric="validation:ndcg@10")
    assert algorithm.fits == []


def test_the_log_says_on_how_many_users_the_epochs_are_measured(caplog: pytest.LogCaptureFixture) -> None:
    fit(Scripted(), epochs="1", validation="random")
    assert not any("epochs are measured on" in message for message in caplog.messages)
    # Half of all interactions: more users than the stand-in measures.
    fit(Scripted(), epochs="1", validation="random", validation_fraction="0.5")
    assert re.search(r"the epochs are measured on 17 of the [2-6]\d users", caplog.text)


def test_a_gate_that_cannot_be_judged_is_refused_before_training() -> None:
    algorithm = Scripted()
    reason = "cannot be judged: there are 180 interactions"
    with pytest.raises(UserError, match=f"min_metric=ndcg@10>=0.1 {reason}"):
        fit(algorithm, min_metric="ndcg@10>=0.1")
    with pytest.raises(UserError, match=f"beat_popularity=true {reason}"):
        fit(algorithm, beat_popularity="true")
    assert algorithm.fits == []


def test_nothing_is_held_out_where_the_rest_would_not_suit_the_algorithm(caplog: pytest.LogCaptureFixture) -> None:
    """Trap: the only like of the data, held out, would end the job with a word against its hyperparameters."""

    class NeedsAll(Scripted):
        def resolved(self, config: Any, *, interactions: Interactions) -> Any:
            if interactions.n_pairs < PAIRS:
                raise UserError("like_above=3 makes no rating a like")
            return config

    algorithm = NeedsAll()
    measured, _ = fit(algorithm, validation="random", epochs="3")
    assert algorithm.fits == [(PAIRS, 3, None)]
    reason = "without the held-out interactions, like_above=3 makes no rating a like"
    assert f"nothing is measured: {reason}" in caplog.messages
    assert measured.evaluation is None and measured.about == f"Nothing was measured: {reason}."
