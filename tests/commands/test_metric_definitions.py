from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from botocore.session import get_session
from botocore.validate import validate_parameters

from factorbox.__main__ import main
from factorbox.commands.metric_definitions import metric_definitions, tuning_objectives
from factorbox.contract.log_lines import line
from factorbox.evaluation.metrics import METRICS

VALUES = (0.1234, 1e-05, -2.5e-07, 0.0, 1.0, 0, 1, 123456.789)
REGEXES = {entry["Name"]: entry["Regex"] for entry in metric_definitions()}


def test_the_losses_and_both_values_of_every_metric_are_defined_within_sagemaker_s_limits() -> None:
    names = {name for metric in METRICS for name in (metric.log_name, metric.baseline_name)}
    assert REGEXES.keys() == {"train_loss", "validation:loss", *names}
    assert len(metric_definitions()) == len(REGEXES) <= 40
    assert max(map(len, REGEXES.values())) <= 500 and max(map(len, REGEXES)) <= 255


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", REGEXES)
def test_a_value_is_found_in_its_line_and_in_no_other(name: str, value: float) -> None:
    others: dict[str, float] = {f"a_{name}": 7.5, f"{name}0": 8.5, name.rpartition(":")[2] + "@": 9.5}
    for text in (line(**{name: value}), line(epoch=3, **{name: value}, **others, seconds=0.8)):
        found = re.findall(REGEXES[name], text)
        assert [float(number) for number in found] == [float(f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}")]
    assert not re.search(REGEXES[name], line(epoch=3, **others, seconds=0.8))


def test_the_line_of_an_epoch_gives_each_metric_its_own_value() -> None:
    values = {name: (place + 1) / 1000 for place, name in enumerate(REGEXES)}
    text = line(epoch=3, **values, seconds=0.8)
    assert {name: float(re.findall(regex, text)[0]) for name, regex in REGEXES.items()} == values


def test_objectives_are_the_metrics_of_the_model_with_their_directions() -> None:
    objectives = {entry["MetricName"]: entry["Type"] for entry in tuning_objectives()}
    assert objectives == {metric.log_name: "Maximize" if metric.larger_is_better else "Minimize" for metric in METRICS}
    assert objectives.keys() < REGEXES.keys() - {"validation:loss"}
    assert (objectives["validation:ndcg@10"], objectives["validation:rmse"]) == ("Maximize", "Minimize")
    assert tuning_objectives()[0]["MetricName"] == "validation:ndcg@10"


def test_the_command_prints_what_the_requests_take(capsys: pytest.CaptureFixture[str]) -> None:
    service = get_session().get_service_model("sagemaker")
    assert main(["metric-definitions"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == metric_definitions()
    validate_parameters(
        {"TrainingInputMode": "File", "MetricDefinitions": printed}, service.shape_for("AlgorithmSpecification")
    )
    assert main(["metric-definitions", "--objectives"]) == 0
    objectives = json.loads(capsys.readouterr().out)
    assert objectives == tuning_objectives()
    for objective in objectives:
        validate_parameters(objective, service.shape_for("HyperParameterTuningJobObjective"))


def test_the_help_says_which_models_log_which_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["metric-definitions", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "model predicts ratings logs validation:loss, validation:rmse, validation:mae" in text


def test_the_command_waits_for_no_large_library() -> None:
    script = (
        "import sys; from factorbox.__main__ import main; main(['metric-definitions']);"
        "print([name for name in ('torch', 'numba', 'numpy', 'pyarrow') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"
