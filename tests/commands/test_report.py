from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import factorbox
from factorbox import artifact
from factorbox.__main__ import main
from factorbox.commands.evaluate import evaluate_on
from factorbox.commands.report import measured_inputs, saved_inputs
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.splits import Pairs
from factorbox.evaluation.estimates import Estimate, Evaluation
from factorbox.evaluation.records import as_record
from factorbox.models.base import Factors
from factorbox.recommender import Recommender
from film_model import FILM_FACTORS, FILMS, USER_FACTORS, USERS, save_films

EVALUATION = Evaluation(
    k=10,
    users=2,
    pairs=3,
    metrics={"ndcg@10": Estimate(0.5, 0.4, 0.6), "coverage@10": Estimate(0.25)},
    baseline={"ndcg@10": Estimate(0.3, 0.2, 0.4), "coverage@10": Estimate(0.125)},
)
CURVE = [{"epoch": 1, "train_loss": 0.9, "validation:ndcg@10": 0.4}, {"epoch": 2, "train_loss": math.nan}]
OUTSIDE = "user,item\nann,charade\nzoe,diva\n"


def save_measured(folder: Path, *, held_out: Pairs | None = None, **record: Any) -> Recommender:
    """Save the model of the films with what its training says of it."""
    interactions = Interactions(
        user_ids=Ids.from_texts(USERS),
        item_ids=Ids.from_texts(FILMS),
        indptr=np.array([0, 2, 4, 6]),
        item_indices=np.array([0, 1, 2, 3, 1, 2], dtype=np.int32),
        weights=np.ones(6, dtype=np.float32),
    )
    biases = np.zeros(3, np.float32), np.zeros(4, np.float32)
    artifact.save(
        folder,
        interactions=interactions,
        factors=Factors(USER_FACTORS, FILM_FACTORS, *biases, epochs=2, train_loss=0.5),
        algorithm="als",
        hyperparameters={"embedding_dim": 2, "alpha": 1.0},
        metrics={},
        held_out=held_out,
        record=record,
    )
    return factorbox.load(folder)


def test_a_saved_model_tells_what_its_training_measured(tmp_path: Path) -> None:
    record = {"method": "stratified", "measured": "A tenth was held out.", "epoch": 2, **as_record(EVALUATION)}
    model = save_measured(tmp_path / "model", validation=record, learning_curve=CURVE)
    inputs = saved_inputs(model)
    assert inputs.model is model
    assert inputs.evaluation == EVALUATION
    assert inputs.measured == "A tenth was held out."
    first, second = inputs.curve
    assert (first.epoch, first.train_loss, first.metrics) == (1, 0.9, {"validation:ndcg@10": 0.4})
    # What is not finite is null in the manifest.
    assert second.epoch == 2 and math.isnan(second.train_loss) and second.metrics == {}
    assert inputs.held_out is None and inputs.activity is None and inputs.seconds == {}


def test_pairs_that_a_model_was_not_trained_on_are_found_in_it(tmp_path: Path) -> None:
    held_out = Pairs(np.array([0, 2]), np.array([3, 0], dtype=np.int32), np.array([1, 2], dtype=np.float32))
    found = saved_inputs(save_measured(tmp_path / "model", held_out=held_out)).held_out
    assert found is not None
    assert found.user_indices.tolist() == [0, 2] and found.item_indices.tolist() == [3, 0]
    assert found.weights.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({}, "measured nothing; `python -m factorbox report MODEL DATA` does"),
        ({"validation": {"measured": "Nothing was measured: validation=none."}}, "validation=none"),
    ],
)
def test_a_model_that_was_not_measured_says_so(tmp_path: Path, record: dict[str, Any], words: str) -> None:
    inputs = saved_inputs(save_measured(tmp_path / "model", **record))
    assert inputs.evaluation is None and not inputs.curve
    assert words in inputs.measured


def test_other_data_take_the_place_of_what_training_measured(tmp_path: Path) -> None:
    record = {"measured": "A tenth was held out.", **as_record(EVALUATION)}
    model = save_measured(tmp_path / "model", validation=record, learning_curve=CURVE)
    (tmp_path / "week.csv").write_text(OUTSIDE)
    evaluated = evaluate_on(model, tmp_path / "week.csv", threads=1)
    inputs = measured_inputs(model, evaluated, data=tmp_path / "week.csv")
    assert inputs.evaluation is evaluated.evaluation
    assert inputs.measured == (
        "Measured by those interactions of week.csv that the model was not trained on: 1 interaction of 1 user."
        " Left out: 1 interaction of 1 user that the model does not know."
    )
    assert inputs.held_out is evaluated.outside.pairs
    assert len(inputs.curve) == 2


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"measured": "A tenth was held out.", **as_record(EVALUATION)}
    save_measured(tmp_path / "model", validation=record)
    out = tmp_path / "new/report"
    assert main(["report", str(tmp_path / "model"), "--output", str(out)]) == 0
    assert capsys.readouterr().out == f"A tenth was held out.\n{out}/report.html\n{out}/report.json\n"
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
    assert "alien" in (out / "report.html").read_text()

    (tmp_path / "week.csv").write_text(OUTSIDE)
    command = ["report", str(tmp_path / "model"), str(tmp_path / "week.csv"), "--users", "1", "--output", str(out)]
    assert main(command) == 0
    assert "Measured by those interactions of week.csv" in capsys.readouterr().out
    numbers = json.loads((out / "report.json").read_text())
    assert "week.csv" in json.dumps(numbers["quality"])


def test_without_an_output_the_report_is_in_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(save_films(tmp_path / "model"))]) == 0
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "report.json"]
    assert "report/report.html" in capsys.readouterr().out


def test_a_report_that_cannot_be_made_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(save_films(tmp_path / "model"))
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as exit:
        main(["report", model, "--output", str(tmp_path / "file")])
    assert exit.value.code == 2
    assert f"{tmp_path}/file is a file: give a folder" in capsys.readouterr().err
    assert main(["report", model, "--output", str(tmp_path / "file/below")]) == 2
    assert "cannot write to" in capsys.readouterr().err
    assert main(["report", model, str(tmp_path / "none.csv"), "--output", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    for arguments in ([], [model, "--output", ""], [model, "--output", "x", "--users", "3"]):
        with pytest.raises(SystemExit) as exit:
            main(["report", *arguments])
        assert exit.value.code == 2
