from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from artifact_support import as_version_1, edit_manifest
from factorbox.evaluation.estimates import Estimate, Evaluation
from factorbox.models import ALGORITHMS
from factorbox.recommender import Recommender
from factorbox.report.blocks import Download
from factorbox.report.model_card import model_card_section
from factorbox.report.model_purposes import PURPOSES
from factorbox.training.job import read_job
from report_models_support import check_sound, facts, flat, inputs_of, tables, trained, words
from support import clustered_interactions, clustered_ratings


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_card_of_every_algorithm_says_what_it_is_for_and_counts_its_parameters(
    tmp_path: Path, rng: np.random.Generator, algorithm: str
) -> None:
    data = clustered_ratings(rng) if algorithm in ("explicit", "nmf") else clustered_interactions(rng)
    model = trained(tmp_path, algorithm, data)
    section = model_card_section(inputs_of(model))
    check_sound(section)
    assert all(text in words(section) for text in PURPOSES[algorithm])
    arrays = [model.user_factors, model.item_factors, *model.layers.values()]
    arrays += [biases for biases in (model.user_biases, model.item_biases) if biases.any()]
    total = sum(array.size for array in arrays) + (model.global_mean != 0)
    assert section.numbers["parameters"] == total
    assert section.numbers["parameter_bytes"] == 4 * total
    assert dict(facts(section))["parameters"] == f"{total:,}"
    shapes = {part["part"]: part["shape"] for part in section.numbers["parts"]}
    assert shapes["item_factors"] == list(model.item_factors.shape)
    assert {*model.layers} <= {*shapes}


def test_digests_are_those_of_the_files(tmp_path: Path, rng: np.random.Generator) -> None:
    section = model_card_section(inputs_of(trained(tmp_path, "als", clustered_interactions(rng))))
    for name, recorded in section.numbers["files"].items():
        assert recorded["sha256"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    table = next(table for table in tables(section) if table.title == "Files")
    assert table.rows[0][2][:16] == section.numbers["files"][table.rows[0][0]]["sha256"][:16]


def test_every_hyperparameter_is_shown_and_can_be_given_again(tmp_path: Path, rng: np.random.Generator) -> None:
    model = trained(tmp_path, "explicit", clustered_ratings(rng))
    section = model_card_section(inputs_of(model))
    kept = model.manifest["hyperparameters"]
    shown = [row for table in tables(section) if "yperparameters" in table.title for row in table.rows]
    assert sorted(row[0] for row in shown) == sorted(kept)
    assert next(row[1] for row in shown if row[0] == "biases") == "true"
    assert next(row[1] for row in shown if row[0] == "like_above") == "not set"
    (download,) = (block for block in flat(section.blocks) if isinstance(block, Download))
    given = json.loads(download.content)
    assert given == {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in kept.items()
        if value is not None
    }
    assert "random_state=1" in words(section)


def test_numbers_are_short_on_the_card_and_exact_in_what_is_offered(tmp_path: Path, rng: np.random.Generator) -> None:
    regularization = 0.012345678901
    model = trained(tmp_path, "als", clustered_interactions(rng), regularization=regularization)
    section = model_card_section(inputs_of(model))
    own = next(table for table in tables(section) if table.title == "Hyperparameters of als")
    assert {row[0]: row[1] for row in own.rows}["regularization"] == "0.0123457"
    (download,) = (block for block in flat(section.blocks) if isinstance(block, Download))
    assert json.loads(download.content)["regularization"] == str(regularization)
    assert section.numbers["hyperparameters"]["regularization"] == regularization


@pytest.mark.parametrize(
    ("counts", "validation", "shown"),
    [
        ({"epochs": 19, "held_out_pairs": 0}, {"epoch": 16}, {"epochs": "19 (16 measured, 3 on all)"}),
        ({"epochs": 16, "held_out_pairs": 5}, {"epoch": 16}, {"epochs": "16", "pairs held out and not put back": "5"}),
        ({"epochs": 4, "held_out_pairs": 0}, {}, {"epochs": "4"}),
    ],
)
def test_counts_tell_of_the_hold_out_what_there_is_to_tell(
    tmp_path: Path,
    rng: np.random.Generator,
    counts: dict[str, int],
    validation: dict[str, int],
    shown: dict[str, str],
) -> None:
    model = trained(tmp_path, "als", clustered_interactions(rng))
    all_counts = {**model.manifest["counts"], **counts}
    model.manifest = {**model.manifest, "counts": all_counts, "validation": validation}
    table = next(table for table in tables(model_card_section(inputs_of(model))) if table.title == "Counts")
    found = {name: text for name, text in table.rows}
    assert {name: text for name, text in found.items() if "epoch" in name or "held out" in name} == shown


def test_the_hyperparameters_that_are_offered_make_the_same_job(tmp_path: Path, rng: np.random.Generator) -> None:
    job = read_job({"algorithm": "explicit", "loss": "logistic", "like_above": "3", "epochs": 2, "refit": "false"})
    trained(tmp_path, "explicit", clustered_ratings(rng), loss="logistic", like_above=3.0)
    edit_manifest(tmp_path, lambda manifest: manifest.update(hyperparameters=job.hyperparameters()))
    section = model_card_section(inputs_of(Recommender.load(tmp_path)))
    (download,) = (block for block in flat(section.blocks) if isinstance(block, Download))
    assert read_job(json.loads(download.content)).hyperparameters() == job.hyperparameters()


def test_metrics_are_told_in_a_line_beside_the_baseline(tmp_path: Path, rng: np.random.Generator) -> None:
    evaluation = Evaluation(
        k=10,
        users=5,
        pairs=9,
        metrics={"ndcg@10": Estimate(0.25, 0.2, 0.3), "coverage@10": Estimate(0.5), "auc": Estimate(0.9, 0.8, 1.0)},
        baseline={"ndcg@10": Estimate(0.125, 0.1, 0.15)},
    )
    model = trained(tmp_path, "als", clustered_interactions(rng))
    section = model_card_section(inputs_of(model, evaluation=evaluation, measured="On a tenth."))
    assert "nDCG@10 0.250 (most popular: 0.125), AUC 0.900, Coverage@10 0.500. On a tenth." in words(section)
    assert section.numbers["metrics"] == {"ndcg@10": 0.25, "coverage@10": 0.5, "auc": 0.9}
    assert "Nothing was held out." in words(model_card_section(inputs_of(model)))


def test_seconds_are_shown_where_they_are_known(tmp_path: Path, rng: np.random.Generator) -> None:
    model = trained(tmp_path, "als", clustered_interactions(rng))
    section = model_card_section(inputs_of(model, seconds={"reading": 1.5, "last_fit": 63.0}))
    (table,) = (table for table in tables(section) if table.title == "Time")
    assert table.rows == [("reading", "1.50 s"), ("last fit", "1 min 3 s")]
    assert section.numbers["seconds"] == {"reading": 1.5, "last_fit": 63.0}
    assert "Time" not in [table.title for table in tables(model_card_section(inputs_of(model)))]


def test_models_of_the_first_format_have_a_card(tmp_path: Path, rng: np.random.Generator) -> None:
    trained(tmp_path, "als", clustered_interactions(rng))
    as_version_1(tmp_path)
    section = model_card_section(inputs_of(Recommender.load(tmp_path)))
    check_sound(section)
    assert section.numbers["format_version"] == 1
    assert np.isfinite(section.numbers["parameters"])
