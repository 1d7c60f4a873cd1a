"""Training jobs with a publish gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factorbox.contract.paths import Paths
from factorbox.contract.stop_signal import StopSignal
from factorbox.errors import PlatformError, UserError
from factorbox.training import train as training
from measured_jobs_support import QUICK, clicks, refused, trained
from support import make_base


def test_a_model_below_the_gate_ends_the_job_with_the_figures_and_is_not_saved(tmp_path: Path) -> None:
    asked = {**QUICK, "min_metric": "validation:ndcg@10>=0.99", "beat_popularity": "true"}
    base = make_base(tmp_path, files=clicks(), hyperparameters=asked)
    reason = refused(base)
    assert reason.startswith(
        "the model did not pass the publish gate and was not saved (report.html in the job's output tells more; change"
        " hyperparameters, data or the gate): validation:ndcg@10=0."
    )
    assert "beside most popular 0." in reason and "is not >= 0.99" in reason and len(reason) < 1024
    assert not (base / "model/manifest.json").exists()
    # What went wrong can be looked at.
    assert sorted(path.name for path in (base / "output/data").iterdir()) == ["report.html", "report.json"]
    assert "did not pass the publish gate" in (base / "output/data/report.html").read_text()


def test_a_gate_is_judged_whatever_becomes_of_the_report_and_names_an_earlier_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(tmp_path, files=clicks(), hyperparameters=QUICK)
    training.train(Paths(base), stop=StopSignal())
    earlier = (base / "model/manifest.json").read_bytes()
    gated = {**QUICK, "min_metric": "ndcg@10>=0.99"}
    (base / "input/config/hyperparameters.json").write_text(json.dumps(gated))

    def full(*_: object, **__: object) -> int:
        raise PlatformError("cannot write to model: the disk is full")

    monkeypatch.setattr("factorbox.training.train.artifact.save", full)
    with pytest.raises(UserError, match=r"is not >= 0\.99") as error:
        training.train(Paths(base), stop=StopSignal())
    assert "the model in the folder is of an earlier job" in str(error.value)
    assert (base / "model/manifest.json").read_bytes() == earlier


def test_a_model_above_the_gate_is_published(tmp_path: Path) -> None:
    asked = {**QUICK, "min_metric": "validation:ndcg@10>=0.01,auc>0.5", "beat_popularity": "true"}
    base = make_base(tmp_path, files=clicks(), hyperparameters=asked)
    trained(base)
    assert (base / "model/manifest.json").exists()
