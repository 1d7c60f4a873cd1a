"""Short fits that choose the regularization of a job."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from factorbox.contract.metric_lines import regex
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.als import ALS, ALSConfig
from factorbox.models.als_config import PENALTY_FACTORS, with_penalty
from factorbox.training.trials import CHOICE, EPOCHS, SHARE, Trials, sampled, updates_of_fit
from support import clustered_interactions, interactions_from_rows, make_base, run_train, stopped_after

ASKED = ALSConfig(embedding_dim=8)


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    return clustered_interactions(np.random.default_rng(0), n_users=3_000, n_items=120)


def tried(
    interactions: Interactions,
    *,
    asked: ALSConfig = ASKED,
    threads: int = 1,
    random_state: int = 3,
    stop_after: int = 99,
) -> ALSConfig:
    config = ALS().resolved(asked, interactions=interactions)
    asked_for_stop = iter(range(10_000))
    search = Trials(random_state, threads, "cpu", should_stop=lambda: next(asked_for_stop) >= stop_after)
    return search.chosen(config, asked=asked, interactions=interactions)


def test_the_log_says_what_was_tried_and_chosen(interactions: Interactions, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        chosen = tried(interactions)
    by_rule = ALS().resolved(ASKED, interactions=interactions)
    assert chosen in [with_penalty(by_rule, factor=factor) for factor in (1.0, *PENALTY_FACTORS)]
    numbers = [message for message in caplog.messages if message.startswith("trial=")]
    assert 2 <= len(numbers) <= 3
    assert re.fullmatch(r"trial=1; regularization=\S+; trial_ndcg@10=\S+;", numbers[0])
    last = r"trial=2; regularization=\S+; trial_ndcg@10=\S+; better_by=\S+; standard_error=\S+;"
    assert re.fullmatch(last, numbers[1])
    said = CHOICE.search(caplog.messages[-1])
    assert said is not None and caplog.messages[-1].startswith(f"regularization={chosen.regularization:.4g}; ")
    assert float(said[1]) in (1.0, *PENALTY_FACTORS) and 0 < float(said[2]) <= SHARE


@pytest.mark.parametrize(
    ("gains", "factor"),
    [
        ((0.05, 0.05), PENALTY_FACTORS[1]),
        ((0.05, -0.05), PENALTY_FACTORS[0]),
        ((-0.05, 0.05), 1.0),
        ((1e-5, 0.05), 1.0),
    ],
    ids=["each better", "the first better", "the first worse", "the first better by chance"],
)
def test_a_larger_regularization_is_taken_while_it_is_better_by_more_than_chance(
    interactions: Interactions, monkeypatch: pytest.MonkeyPatch, gains: tuple[float, float], factor: float
) -> None:
    rng = np.random.default_rng(0)
    following = iter([0.0, gains[0], gains[0] + gains[1]])
    monkeypatch.setattr(
        Trials,
        "_ndcg",
        lambda self, config, *, trained, rankings: next(following) + 0.1 * rng.random(len(rankings.users)),
    )
    by_rule = ALS().resolved(ASKED, interactions=interactions)
    assert tried(interactions) == with_penalty(by_rule, factor=factor)


def test_no_line_is_taken_for_a_metric_of_the_model(
    interactions: Interactions, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        tried(interactions)
    for name in ("validation:ndcg@10", "ndcg@10", "train_loss", "users", "items", "rows"):
        assert not [message for message in caplog.messages if re.search(regex(name), message)]


def test_the_choice_does_not_depend_on_the_threads_and_comes_again(
    interactions: Interactions, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        chosen = [tried(interactions, threads=threads) for threads in (1, 3, 1)]
    assert chosen[0] == chosen[1] == chosen[2]
    lines = len(caplog.messages) // 3
    assert caplog.messages[:lines] == caplog.messages[lines : 2 * lines] == caplog.messages[2 * lines :]


@pytest.mark.parametrize("epochs", [1, 4, 16])
def test_all_trials_stay_within_a_quarter_of_the_row_updates(interactions: Interactions, epochs: int) -> None:
    config = ALS().resolved(replace(ASKED, epochs=epochs), interactions=interactions)
    sample = sampled(interactions, config=config, random_state=1)
    items = len(np.unique(sample.item_indices))
    most = 3 * EPOCHS * (sample.n_users + items)
    assert 0 < most <= SHARE * updates_of_fit(interactions, epochs=epochs)
    # One user more would not have fitted, at most all of whose items are new.
    longest = int(interactions.by_user().counts.max())
    assert most + 3 * EPOCHS * (1 + longest) > SHARE * updates_of_fit(interactions, epochs=epochs)


def test_a_sample_has_whole_histories_of_different_users(interactions: Interactions) -> None:
    config = ALS().resolved(ASKED, interactions=interactions)
    sample = sampled(interactions, config=config, random_state=1)
    names = sample.user_ids.to_list()
    assert len(set(names)) == sample.n_users < interactions.n_users and sample.user_ids.is_sorted()
    for user, name in enumerate(names[:50]):
        (whole,) = interactions.user_ids.indices_of([name])
        assert np.array_equal(sample.items_of(user), interactions.items_of(int(whole)))
    other = sampled(interactions, config=config, random_state=2)
    assert other.user_ids.to_list() != names


def test_a_given_regularization_is_not_tried_and_a_given_weight_is_kept(
    interactions: Interactions, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert tried(interactions, asked=replace(ASKED, regularization=0.02)).regularization == 0.02
        assert not caplog.messages
        assert tried(interactions, asked=replace(ASKED, unobserved_weight=0.07)).unobserved_weight == 0.07
        assert caplog.messages


@pytest.mark.parametrize(
    "rows",
    [[[0]], [[0], [0], [0]], [[0, 1, 2]], [[0, 1]] * 5, [[0]] * 1_000, [[0, 1, 2, 3, 4, 5]] * 1_000],
    ids=["one pair", "one item", "one user", "ten pairs", "one item of many", "all the same"],
)
def test_data_that_can_tell_nothing_are_left_to_the_rule(rows: list[list[int]]) -> None:
    interactions = interactions_from_rows(rows, n_items=1 + max(item for row in rows for item in row))
    by_rule = ALS().resolved(ASKED, interactions=interactions)
    assert tried(interactions) == by_rule
    assert by_rule.regularization is not None and 0 < by_rule.regularization < 1


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_job_told_to_stop_keeps_the_rule(interactions: Interactions, stop_after: int) -> None:
    assert tried(interactions, stop_after=stop_after) == ALS().resolved(ASKED, interactions=interactions)


def test_a_trial_that_diverges_is_no_reason_to_fail(
    interactions: Interactions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def diverging(*arguments: object, **options: object) -> None:
        raise AlgorithmError("the loss of als became nan")

    monkeypatch.setattr(ALS, "fit", diverging)
    with caplog.at_level(logging.INFO):
        assert tried(interactions) == ALS().resolved(ASKED, interactions=interactions)
    assert "a trial failed: the loss of als became nan" in caplog.messages


@pytest.fixture
def base(interactions: Interactions, tmp_path: Path) -> Path:
    users, items = interactions.user_ids.to_list(), interactions.item_ids.to_list()
    rows = [f"{users[u]},{items[i]}" for u in range(interactions.n_users) for i in interactions.items_of(u)]
    asked = {"embedding_dim": "8", "write_requests": "false"}
    return make_base(tmp_path, files={"a.csv": "\n".join(["user_id,item_id", *rows])}, hyperparameters=asked)


def test_a_job_trains_with_what_its_trials_chose_and_keeps_it_in_the_manifest(base: Path) -> None:
    done = run_train(base)
    assert done.returncode == 0, done.stdout + done.stderr
    chosen = re.search(r"^regularization=(\S+); times_rule=(\S+); ", done.stdout, re.MULTILINE)
    assert chosen is not None and done.stdout.index("trial=1;") < chosen.start() < done.stdout.index("epoch=1;")
    kept = json.loads((base / "model/manifest.json").read_text())["hyperparameters"]
    assert f"{kept['regularization']:.4g}" == chosen[1]
    by_rule = re.search(r"^regularization=(\S+); unobserved_weight=(\S+); alpha=", done.stdout, re.MULTILINE)
    assert by_rule is not None and f"{kept['unobserved_weight']:.4g}" == by_rule[2]
    assert float(chosen[1]) == pytest.approx(float(chosen[2]) * float(by_rule[1]), rel=0.01)


def test_a_job_stopped_during_its_trials_leaves_a_model_of_one_epoch(base: Path) -> None:
    rest = stopped_after("trial=1;", base)
    assert "epoch=1;" in rest and "epoch=2;" not in rest
    assert json.loads((base / "model/manifest.json").read_text())["counts"]["epochs"] == 1
