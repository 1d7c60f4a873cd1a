"""Training jobs on data that are hard to measure a model by."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

from factorbox import artifact
from measured_jobs_support import QUICK, clicks, manifest_of, trained
from support import make_base

HARD: dict[str, tuple[list[str], dict[str, str]]] = {
    "10 interactions in all": ([f"u{k % 4},i{k}" for k in range(10)], {}),
    "10 interactions, stratified": ([f"u{k % 4},i{k}" for k in range(10)], {"validation": "stratified"}),
    "1 item": ([f"u{k},only" for k in range(1500)], {}),
    "1 item, random": ([f"u{k},only" for k in range(1500)], {"validation": "random"}),
    "1 user": ([f"only,i{k}" for k in range(1500)], {}),
    "1 user with 1 interaction": (["ann,book"], {}),
    "every user has one": ([f"u{k},i{k % 40}" for k in range(1500)], {}),
    "everybody has everything": ([f"u{k // 30},i{k % 30}" for k in range(1500)], {}),
    "all at one moment": (
        [f"u{k // 30},i{k % 30},2024-01-01T00:00:00Z" for k in range(1500)],
        {"validation": "chronological"},
    ),
}


@pytest.mark.parametrize("case", HARD)
def test_data_that_are_hard_to_measure_leave_a_model_and_a_report(tmp_path: Path, case: str) -> None:
    rows, asked = HARD[case]
    header = "user_id,item_id,timestamp" if rows[0].count(",") == 2 else "user_id,item_id"
    files = {"a.csv": "\n".join([header, *rows])}
    base = make_base(tmp_path, files=files, hyperparameters={**QUICK, **asked})
    log, manifest = trained(base), manifest_of(base)
    record = manifest["validation"]
    if "metrics" in record:
        assert all(0 <= estimate["value"] <= 1 for estimate in record["metrics"].values())
    else:
        assert record["measured"].startswith("Nothing was measured: ")
        assert "nothing is measured: " in log
    report = (base / "output/data/report.html").read_text()
    assert record["measured"].split(":")[0] in html.unescape(report)
    assert "could not be made" not in report


def test_a_user_with_one_interaction_among_others_keeps_it(tmp_path: Path) -> None:
    training = clicks()["a.csv"]
    assert isinstance(training, str)
    files = {"a.csv": f"{training}\nlonely,i0005"}
    for method in ("random", "stratified"):
        asked = {**QUICK, "validation": method, "refit": "false"}
        base = make_base(tmp_path / method, files=files, hyperparameters=asked)
        trained(base)
        model = artifact.load(base / "model")
        lonely = int(model.user_ids.indices_of(["lonely"])[0])
        assert model.history.counts[lonely] == 1
