"""The publish gate: what is read, what is refused at once, and what a model that fails is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from factorbox.errors import UserError
from factorbox.evaluation.estimates import Estimate, Evaluation
from factorbox.evaluation.metrics import METRICS
from factorbox.training.gate import GateOptions, objective, require_objective

EVALUATION = Evaluation(
    k=10,
    users=50,
    pairs=200,
    metrics={"ndcg@10": Estimate(0.25, 0.2, 0.3), "recall@10": Estimate(0.125), "rmse": Estimate(0.9, 0.8, 1.0)},
    baseline={"ndcg@10": Estimate(0.2, 0.15, 0.25), "recall@10": Estimate(0.125), "rmse": Estimate(0.95, 0.9, 1.0)},
)


def failures(min_metric: str | None = None, *, beat: bool = False, ratings: bool = True) -> tuple[str, ...]:
    gate = GateOptions(min_metric=min_metric, beat_popularity=beat)
    return gate.failures(EVALUATION, predicts_ratings=ratings)


@pytest.mark.parametrize(
    "met",
    [
        "validation:ndcg@10>=0.25",
        "validation:ndcg@10 > 0.2",
        "ndcg@10>=2e-1",
        "validation:rmse<=0.9",
        "rmse<.91",
        " validation:ndcg@10>=0.2 , validation:recall@10>=0.125 ",
    ],
)
def test_a_model_that_reaches_what_is_asked_passes(met: str) -> None:
    assert failures(met) == ()


@pytest.mark.parametrize("missed", ["validation:ndcg@10>0.25", "ndcg@10>=0.26", "rmse<0.9", "rmse<=0.89", "auc>=0.1"])
def test_a_model_that_does_not_reach_it_fails(missed: str) -> None:
    assert len(failures(missed)) == 1


def test_a_failure_has_the_figures_and_those_of_the_baseline() -> None:
    assert failures("validation:ndcg@10>=0.3") == (
        "validation:ndcg@10=0.25 (95%: 0.2 to 0.3) beside most popular 0.2 (95%: 0.15 to 0.25) is not >= 0.3",
    )


def test_the_rounding_of_a_mean_decides_nothing() -> None:
    tenths = replace(EVALUATION, metrics={"precision@10": Estimate(57 / 600 - 2e-17)}, baseline={})
    assert GateOptions(min_metric="precision@10>=0.095").failures(tenths, predicts_ratings=False) == ()


def test_small_figures_are_shown_with_digits_that_tell() -> None:
    small = {"rmse": Estimate(1.25e-9, 1e-9, 2e-9)}
    found = replace(EVALUATION, metrics=small, baseline=small)
    (failure,) = GateOptions(min_metric="rmse<1e-20").failures(found, predicts_ratings=True)
    assert failure.startswith("validation:rmse=1.25e-09 (95%: 1e-09 to 2e-09)") and failure.endswith("is not < 1e-20")


def test_each_condition_that_is_missed_is_named() -> None:
    found = failures("ndcg@10>=0.3,recall@10>=0.1,rmse<0.5")
    assert [text.partition("=")[0] for text in found] == ["validation:ndcg@10", "validation:rmse"]


def test_a_metric_that_cannot_be_worked_out_fails_by_name() -> None:
    assert failures("auc>=0.5") == ("validation:auc, for which these data have too few items, is not >= 0.5",)


def test_beating_popularity_means_ndcg_of_rankings_and_the_error_of_ratings() -> None:
    assert failures(beat=True, ratings=False) == failures(beat=True, ratings=True) == ()
    swapped = replace(EVALUATION, metrics=EVALUATION.baseline, baseline=EVALUATION.metrics)
    gate = GateOptions(beat_popularity=True)
    assert gate.failures(swapped, predicts_ratings=False)[0].startswith("validation:ndcg@10=0.2 ")
    assert gate.failures(swapped, predicts_ratings=True)[0].startswith("validation:rmse=0.95 ")


def test_to_be_as_good_as_most_popular_is_not_to_beat_it() -> None:
    same = replace(EVALUATION, baseline=EVALUATION.metrics)
    assert len(GateOptions(beat_popularity=True).failures(same, predicts_ratings=False)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ndcg", "is no condition: write one such as validation:ndcg@10>=0.20"),
        ("ndcg@10=0.2", "is no condition"),
        ("", "is no condition"),
        ("ndcg@10>=0.2,", "is no condition"),
        ("ndcg@10>=1e", "'1e' is no number"),
        ("ndcg@5>=0.2", "names no metric 'ndcg@5': take one of validation:ndcg@10"),
        ("rmse>=0.9", "smaller is better for rmse, so write rmse<=0.9"),
        ("ndcg@10<0.9", "larger is better for ndcg@10, so write ndcg@10>=0.9"),
        ("ndcg@10>=20", "ndcg@10 lies between 0 and 1, so write 0.2 for 20%"),
        ("ndcg@10>=-1", "ndcg@10 lies between 0 and 1"),
        ("rmse<=1e999", "'1e999' is too large; write a finite number"),
    ],
)
def test_what_is_no_condition_is_refused_at_once(text: str, words: str) -> None:
    with pytest.raises(UserError, match="min_metric") as error:
        GateOptions(min_metric=text)
    assert words in str(error.value)


def test_an_error_of_ratings_is_not_asked_of_a_model_that_ranks() -> None:
    gate = GateOptions(min_metric="rmse<=0.9")
    gate.check_kind(predicts_ratings=True)
    with pytest.raises(UserError, match="needs a model of ratings, and this one ranks only"):
        gate.check_kind(predicts_ratings=False)


def test_every_metric_can_be_asked_for() -> None:
    for metric in METRICS:
        sign = ">=" if metric.larger_is_better else "<="
        (condition,) = GateOptions(min_metric=f"{metric.log_name}{sign}0.5").conditions()
        assert condition.metric is metric


def test_a_tuning_job_by_a_metric_that_is_never_logged_is_refused() -> None:
    require_objective(None, predicts_ratings=False, unmeasured="there are 3 interactions")
    require_objective("validation:ndcg@10", predicts_ratings=False, unmeasured=None)
    require_objective("validation:rmse", predicts_ratings=True, unmeasured=None)
    require_objective("validation:loss", predicts_ratings=True, unmeasured=None)
    require_objective("my own name", predicts_ratings=False, unmeasured="there are 3 interactions")
    with pytest.raises(UserError, match="tuning objective validation:rmse needs a model of ratings"):
        require_objective("validation:rmse", predicts_ratings=False, unmeasured=None)
    with pytest.raises(UserError, match="validation:loss is logged for models of ratings only: tune on val"):
        require_objective("validation:loss", predicts_ratings=False, unmeasured=None)
    for name in ("validation:ndcg@10", "validation:loss"):
        with pytest.raises(UserError, match="never logged by this job, since there are 3 interactions; or tune on"):
            require_objective(name, predicts_ratings=True, unmeasured="there are 3 interactions")


def test_the_objective_is_the_first_metric_of_its_kind() -> None:
    assert objective(predicts_ratings=False).name == "ndcg@10"
    assert objective(predicts_ratings=True).name == "rmse"
