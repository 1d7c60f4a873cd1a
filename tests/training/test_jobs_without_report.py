"""Training jobs whose report fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from factorbox.contract.paths import Paths
from factorbox.contract.stop_signal import StopSignal
from factorbox.report.inputs import ReportInputs
from factorbox.training import train as training
from measured_jobs_support import QUICK, clicks, trained
from support import make_base


def test_a_report_that_cannot_be_written_does_not_fail_the_job(tmp_path: Path) -> None:
    base = make_base(tmp_path, files=clicks(), hyperparameters=QUICK)
    # Where the page would be there is a folder.
    (base / "output/data/report.html/in-the-way").mkdir(parents=True)
    log = trained(base)
    assert "cannot remove the old " in log and "there is no report: " in log and "cannot write " in log
    assert (base / "model/manifest.json").exists()


def test_a_report_that_cannot_be_made_says_why_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, inputs: ReportInputs) -> None:
        raise ValueError("no <ink>")

    monkeypatch.setattr("factorbox.training.train.write_report", fail)
    base = make_base(tmp_path, files=clicks(), hyperparameters=QUICK)
    (base / "output/data").mkdir(parents=True)
    for name in ("report.html", "report.json"):
        (base / "output/data" / name).write_text("of an earlier training")
    training.train(Paths(base), stop=StopSignal())
    page = (base / "output/data/report.html").read_text()
    assert (
        "The report could not be made. The model is not affected; the log says more. ValueError: no &lt;ink&gt;" in page
    )
    assert not (base / "output/data/report.json").exists()
    assert (base / "model/manifest.json").exists()
