from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from factorbox import __version__
from factorbox.errors import PlatformError
from factorbox.evaluation.estimates import Estimate, Evaluation
from factorbox.recommender import Recommender
from factorbox.report import vega, writing
from factorbox.report.blocks import Chart, Section, Text
from factorbox.report.inputs import ReportInputs
from film_model import save_films

Maker = Callable[[ReportInputs], Section]


@pytest.fixture
def inputs(tmp_path: Path) -> ReportInputs:
    evaluation = Evaluation(10, 3, 3, {"ndcg@10": Estimate(0.5)}, {"ndcg@10": Estimate(0.25)})
    model = Recommender.load(save_films(tmp_path / "model"))
    return ReportInputs(model=model, evaluation=evaluation, measured="On the last of each user.")


def good(inputs: ReportInputs) -> Section:
    numbers = {"items": len(inputs.model.item_ids), "nothing": np.float32("nan"), "shares": np.array([0.5, np.inf])}
    return Section("data", "Data", "All of it.", [Text("Four films.")], numbers)


def raising(inputs: ReportInputs) -> Section:
    raise ValueError(f"no <b>{len(inputs.model.user_ids)}</b> users")


def unwritable(inputs: ReportInputs) -> Section:
    return Section("quality", "Quality", "", [Chart("a", {"mark": inputs})])


def written(folder: Path, inputs: ReportInputs, **makers: Maker) -> tuple[str, dict[str, object]]:
    writing.write_report(folder, inputs, makers={key: (f"The {key}", maker) for key, maker in makers.items()})
    return (folder / "report.html").read_text(), json.loads((folder / "report.json").read_text())


def test_the_page_and_its_numbers_are_written_and_nothing_else(tmp_path: Path, inputs: ReportInputs) -> None:
    html, numbers = written(tmp_path / "output/data", inputs, data=good)
    assert "Four films." in html
    assert numbers["data"] == {"items": 4, "nothing": None, "shares": [0.5, None]}
    assert (numbers["algorithm"], numbers["factorbox"]) == ("als", __version__)
    assert str(numbers["title"]) == "ALS model for 3 users and 4 items"
    assert str(numbers["written"]).endswith("+00:00")
    assert sorted(path.name for path in (tmp_path / "output/data").iterdir()) == ["report.html", "report.json"]


def test_the_opening_says_how_good_the_model_is(tmp_path: Path, inputs: ReportInputs) -> None:
    html, _ = written(tmp_path, inputs)
    standfirst = "Measured on interactions that it has not learned from: nDCG@10 0.500; most popular 0.250 (+100%)."
    assert f"{standfirst} Trained on 6 interactions." in html
    assert "<dt>users measured</dt><dd>3</dd>" in html.split("<section")[0]
    html, _ = written(tmp_path, replace(inputs, has_learned_all=True))
    assert "Measured before the final training: nDCG@10 0.500; most popular 0.250 (+100%)." in html


def test_the_opening_of_a_model_of_ratings_says_that_a_smaller_error_is_better(
    tmp_path: Path, inputs: ReportInputs
) -> None:
    evaluation = Evaluation(10, 3, 3, {"rmse": Estimate(0.9)}, {"rmse": Estimate(1.0)})
    html, _ = written(tmp_path, replace(inputs, evaluation=evaluation))
    assert "RMSE 0.900; means and biases 1.000 (10% better)." in html


def test_without_a_hold_out_it_says_why(tmp_path: Path, inputs: ReportInputs) -> None:
    unmeasured = ReportInputs(model=inputs.model, evaluation=None, measured="Too few to hold any out.")
    html, _ = written(tmp_path, unmeasured)
    assert "Too few to hold any out." in html


@pytest.mark.parametrize(("maker", "reason"), [(raising, "ValueError: no <b>3</b> users"), (unwritable, "TypeError:")])
def test_a_section_that_fails_says_why_in_its_place(
    tmp_path: Path, inputs: ReportInputs, caplog: pytest.LogCaptureFixture, maker: Maker, reason: str
) -> None:
    html, numbers = written(tmp_path, inputs, quality=maker, data=good)
    assert reason.replace("<", "&lt;").replace(">", "&gt;") in html
    assert "The quality" in html
    assert "Four films." in html
    assert isinstance(numbers["quality"], dict)
    assert numbers["quality"]["error"].startswith(reason)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info


def test_without_the_bundle_the_report_has_no_charts_and_says_so(
    tmp_path: Path, inputs: ReportInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise RuntimeError("nobody made it")

    monkeypatch.setattr(vega, "bundle", missing)
    html, _ = written(tmp_path, inputs, data=good)
    assert "The charts are left out: nobody made it" in html
    assert "Four films." in html


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, inputs: ReportInputs) -> None:
    (tmp_path / "output").write_text("a file")
    with pytest.raises(PlatformError, match=f"cannot write to {tmp_path / 'output'}"):
        written(tmp_path / "output", inputs, data=good)


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_a_folder_in_the_place_of_a_file_is_named_and_nothing_is_written(
    tmp_path: Path, inputs: ReportInputs, name: str
) -> None:
    (tmp_path / "output" / name).mkdir(parents=True)
    with pytest.raises(PlatformError, match=f"cannot write {tmp_path / 'output' / name}: it is a folder; remove it"):
        written(tmp_path / "output", inputs, data=good)
    assert [path.name for path in (tmp_path / "output").iterdir()] == [name]


def test_sections_stand_in_the_order_of_the_page(tmp_path: Path, inputs: ReportInputs) -> None:
    writing.write_report(tmp_path, inputs)
    numbers = json.loads((tmp_path / "report.json").read_text())
    keys = ["data", "quality", "item_space", "embeddings", "people", "model_card"]
    assert list(numbers)[-6:] == keys
    assert [key for key in keys if "error" in numbers[key]] == []
