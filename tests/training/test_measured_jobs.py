"""Training jobs that say how good their model is: what is held out, and what is left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from factorbox import artifact
from factorbox.contract.paths import Paths
from factorbox.contract.stop_signal import StopSignal
from factorbox.data.splits import Pairs
from factorbox.evaluation.measuring import evaluate
from factorbox.models import ALGORITHMS
from factorbox.training import train as training
from measured_jobs_support import QUICK, clicks, manifest_of, ratings, refused, trained, value_of
from support import clustered_interactions, make_base, stopped_after


def test_a_job_without_hyperparameters_says_how_good_its_model_is(tmp_path: Path) -> None:
    base = make_base(tmp_path, files=clicks())
    log, manifest = trained(base), manifest_of(base)
    record = manifest["validation"]
    assert record["method"] == "stratified" and record["users"] == 120 and record["held_out_pairs"] == 120
    assert record["model_has_seen_them"] is True
    assert record["measured"].startswith("Measured after epoch 20 by a random 10% of each user's interactions: 120")
    assert record["measured"].endswith("this model has seen them.") and record["measured"].split(" Training")[0] in log
    for name, estimate in record["metrics"].items():
        assert value_of(f"validation:{name}", log) == pytest.approx(estimate["value"], rel=1e-3)
        assert value_of(f"most_popular:{name}", log) == pytest.approx(record["baseline"][name]["value"], rel=1e-3)
        assert manifest["metrics"][f"validation:{name}"] == estimate["value"]
    assert record["metrics"]["ndcg@10"]["low"] > record["baseline"]["ndcg@10"]["high"]
    assert [point["epoch"] for point in manifest["learning_curve"]] == list(range(1, 21))
    assert manifest["counts"]["pairs"] == 1200 and manifest["counts"]["epochs"] == 25
    assert (base / "output/data/report.html").read_text().startswith("<!doctype html>")
    report = json.loads((base / "output/data/report.json").read_text())
    assert "error" not in json.dumps(report["quality"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_measured_charted_and_reported(tmp_path: Path, algorithm: str) -> None:
    base = make_base(tmp_path, files=ratings(), hyperparameters={**QUICK, "algorithm": algorithm})
    log, manifest = trained(base), manifest_of(base)
    names = set(manifest["validation"]["metrics"])
    assert {"ndcg@10", "precision@10", "recall@10", "map@10", "mrr@10", "hit_rate@10", "auc", "coverage@10"} <= names
    assert ({"rmse", "mae"} <= names) == (algorithm == "explicit")
    points = manifest["learning_curve"]
    assert len(points) == len(re.findall(r"^epoch=", log, re.MULTILINE)) >= 1
    shown = "validation:loss" if algorithm == "explicit" else "validation:ndcg@10"
    assert all(np.isfinite([point["train_loss"], point[shown]]).all() for point in points)
    assert "report=" in log and "could not be made" not in log
    report = json.loads((base / "output/data/report.json").read_text())
    assert {"data", "quality", "item_space", "embeddings", "people", "model_card"} <= report.keys()


def test_without_refit_the_model_has_two_histories(tmp_path: Path) -> None:
    base = make_base(tmp_path, files=clicks(), hyperparameters={**QUICK, "refit": "false"})
    log, model = trained(base), artifact.load(base / "model")
    assert "refit_epoch" not in log
    assert model.manifest["validation"]["model_has_seen_them"] is False
    assert len(model.history.indices) == 1080 and len(model.seen.indices) == 1200


@pytest.mark.parametrize("algorithm", ["als", "bpr", "explicit", "nmf", "mlp"])
def test_the_same_job_gives_the_same_bytes_whatever_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    models = []
    for threads in (1, 3):
        asked = {**QUICK, "algorithm": algorithm, "patience": "2"}
        base = make_base(tmp_path / str(threads), files=ratings(), hyperparameters=asked)
        monkeypatch.setattr("factorbox.training.preparing.usable_processors", lambda count=threads: count)
        training.train(Paths(base), stop=StopSignal())
        models.append({path.name: path.read_bytes() for path in sorted((base / "model").iterdir())})
    assert models[0] == models[1]


@pytest.mark.parametrize("method", ["chronological", "last"])
def test_a_hold_out_by_time_takes_the_latest(tmp_path: Path, method: str) -> None:
    base = make_base(
        tmp_path, files=clicks(timed=True), hyperparameters={**QUICK, "validation": method, "refit": "false"}
    )
    trained(base)
    model = artifact.load(base / "model")
    whole = clustered_interactions(np.random.default_rng(3), n_users=120)
    assert len(model.seen.indices) == 1200
    # Ten a user, in the order of the items: the last one has the largest index.
    assert [model.history.indices[end - 1] for end in model.history.indptr[1:]] == [
        whole.items_of(user)[-2] for user in range(120)
    ]


@pytest.mark.parametrize("method", ["chronological", "last"])
def test_a_hold_out_by_time_without_times_is_refused_before_training(tmp_path: Path, method: str) -> None:
    base = make_base(tmp_path, files=clicks(), hyperparameters={**QUICK, "validation": method})
    reason = refused(base)
    assert reason.startswith(f"validation={method} goes by the time of each interaction")
    assert "timestamp_column" in reason
    assert not (base / "model/manifest.json").exists()


@pytest.mark.parametrize("name", ["validation", "testing"])
def test_an_own_channel_measures_and_its_unknown_ids_are_counted(tmp_path: Path, name: str) -> None:
    training = clicks()["a.csv"]
    assert isinstance(training, str)
    rows = training.splitlines()
    known = {row for row in rows[1:] if row.startswith("u00")}
    fresh = [f"u{user:04d},i{item:04d}" for user in range(40) for item in (1, 30)]
    held_out = [row for row in fresh if row not in known]
    in_training = [row for row in rows[1:6]]
    unknown = ["nobody,i0001", "u0001,nothing", "nobody,nothing"]
    channel = {"b.csv": "\n".join([rows[0], *held_out, *in_training, *unknown])}
    base = make_base(tmp_path, files={"a.csv": training}, hyperparameters=QUICK, **{name: channel})
    log, manifest = trained(base), manifest_of(base)
    assert (
        f"usable_pairs={len(held_out)}; unknown_users=1; unknown_items=1; pairs_of_unknown=3; pairs_in_training=5;"
    ) in log
    assert f"validation_channel={name};" in log
    assert manifest["validation"]["method"] == "channel"
    assert manifest["validation"]["held_out_pairs"] == len(held_out)
    assert manifest["validation"]["model_has_seen_them"] is False
    assert manifest["counts"]["pairs"] == 1200
    assert "refit_epoch" not in log


def test_an_own_channel_of_strangers_measures_nothing_and_says_so(tmp_path: Path) -> None:
    channel = {"b.csv": "user_id,item_id\nx,y\nz,i0001\n"}
    base = make_base(tmp_path, files=clicks(), hyperparameters=QUICK, validation=channel)
    assert "nothing is measured: no interaction of the validation channel" in trained(base)
    gated = {**QUICK, "beat_popularity": "true"}
    other = make_base(tmp_path / "gated", files=clicks(), hyperparameters=gated, validation=channel)
    assert "beat_popularity=true cannot be judged: no interaction of the validation channel" in refused(other)


def test_two_ways_to_hold_out_are_refused_by_name(tmp_path: Path) -> None:
    channel = {"b.csv": "user_id,item_id\nu0001,i0001\n"}
    asked = {**QUICK, "validation": "random"}
    base = make_base(tmp_path / "a", files=clicks(), hyperparameters=asked, validation=channel)
    assert "there is a channel validation to measure by: leave one of them out" in refused(base)
    base = make_base(tmp_path / "b", files=clicks(), validation=channel, testing=channel)
    assert "the channels validation and testing are both there" in refused(base)
    asked = {**QUICK, "validation": "none"}
    base = make_base(tmp_path / "c", files=clicks(), hyperparameters=asked, testing={"b.csv": "not,what\nit,is"})
    assert "validation=none: the channel testing is not read" in trained(base)


def test_a_bad_validation_channel_is_refused_with_its_file_and_line(tmp_path: Path) -> None:
    channel = {"b.csv": "user_id,item_id\nu0001,i0001\nu0002\n"}
    reason = refused(make_base(tmp_path, files=clicks(), validation=channel))
    assert "b.csv" in reason and "line 3" in reason
    reason = refused(make_base(tmp_path / "empty", files=clicks(), validation={}))
    assert "validation" in reason


def test_a_job_told_to_stop_keeps_the_measured_model_with_both_histories(tmp_path: Path) -> None:
    base = make_base(tmp_path, files=clicks(), hyperparameters={"embedding_dim": "4", "epochs": "100000"})
    rest = stopped_after("epoch=3;", base)
    assert "the model has not learned from the 120 held-out interactions" in rest
    assert "refit_epoch" not in rest
    model = artifact.load(base / "model")
    assert 3 <= model.manifest["counts"]["epochs"] < 100_000
    assert len(model.history.indices) == 1080 and len(model.seen.indices) == 1200
    assert len(model.manifest["learning_curve"]) <= 1000


def test_overfitting_is_seen_and_stopped(tmp_path: Path) -> None:
    # Ratings by chance, and hardly a penalty: whatever is learned of them is wrong of others.
    rng = np.random.default_rng(0)
    rows = [f"u{u},i{i},{rng.integers(1, 6)}" for u in range(40) for i in rng.choice(30, size=12, replace=False)]
    files = {"a.csv": "\n".join(["user_id,item_id,rating", *rows])}
    asked = {"algorithm": "explicit", "embedding_dim": "8", "epochs": "40", "regularization": "0.03", "lr": "0.05"}
    asked |= {"batch_size": "64", "validation": "random", "validation_fraction": "0.2", "refit": "false"}
    without = make_base(tmp_path / "without", files=files, hyperparameters=asked)
    stopped = make_base(tmp_path / "with", files=files, hyperparameters={**asked, "patience": "3"})
    assert "epochs after the best one may overfit: set patience, or epochs to" in trained(without)
    assert "of 40 epochs, the last 3 no better" in trained(stopped)
    assert manifest_of(without)["counts"]["epochs"] == 40 > manifest_of(stopped)["counts"]["epochs"]
    figures = [manifest_of(base)["metrics"]["validation:rmse"] for base in (stopped, without)]
    assert figures[0] < figures[1]


def test_the_log_says_how_long_each_part_took(tmp_path: Path) -> None:
    log = trained(make_base(tmp_path, files=clicks(), hyperparameters=QUICK))
    parts = ("reading", "trials", "training", "learning_curve", "evaluation", "refit", "saving")
    (said,) = [logged for logged in log.splitlines() if logged.startswith("reading_seconds=")]
    assert re.findall(r"(\w+)_seconds=", said) == list(parts)


def test_a_model_is_measured_by_what_it_may_recommend(tmp_path: Path) -> None:
    n_items = 60
    available = "\n".join(["item_id,available", *(f"i{item:04d},{item % 2}" for item in range(n_items))])
    asked = {**QUICK, "refit": "false"}
    base = make_base(tmp_path, files=clicks(), items={"i.csv": available}, hyperparameters=asked)
    trained(base)
    model = artifact.load(base / "model")
    record = model.manifest["validation"]
    assert model.held_out is not None
    users = np.repeat(np.arange(120), model.held_out.counts)
    found = evaluate(
        model,
        trained=model.history,
        held_out=Pairs(users, model.held_out.indices, model.held_out.weights),
        users=np.arange(120),
        n_items=n_items,
        rated=None,
        available=model.available,
        random_state=42,
        threads=1,
    )
    odd = int(np.count_nonzero(model.held_out.indices % 2))
    assert record["held_out_pairs"] == found.pairs == odd < 120
    assert {name: estimate["value"] for name, estimate in record["metrics"].items()} == {
        name: estimate.value for name, estimate in found.metrics.items()
    }


def test_where_nothing_that_is_held_out_may_be_recommended_nothing_is_measured(tmp_path: Path) -> None:
    channel = {"b.csv": "user_id,item_id\nu0000,i0059\n"}
    items = {"i.csv": "item_id,available\ni0059,0\n"}
    base = make_base(tmp_path, files=clicks(), items=items, hyperparameters=QUICK, validation=channel)
    assert "nothing is measured: no held-out interaction is with an item that is available" in trained(base)
