"""Hyperparameters as every client spells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.contract.hyperparameters import Hyperparameters, shown
from factorbox.errors import UserError
from factorbox.options import option
from factorbox.training.job import read_job


@dataclass(frozen=True, kw_only=True)
class Sample:
    whole: int = option(3, "A whole number.", minimum=1, maximum=100, aliases=("n",))
    real: float = option(0.5, "A number.", above=0)
    flag: bool = option(True, "A flag.")
    text: str | None = option(None, "A text.")
    limit: float | None = option(None, "A limit.")


def take(**raw: Any) -> Sample:
    given = Hyperparameters(raw)
    sample = given.take(Sample)
    given.refuse_rest(elsewhere={})
    return sample


@pytest.mark.parametrize("value", ["10", 10, '"10"', " 10 ", "10.0", 10.0, "1e1", "+10"], ids=repr)
def test_whole_numbers_in_every_spelling(value: Any) -> None:
    assert take(whole=value).whole == 10


@pytest.mark.parametrize("value", ["0.25", 0.25, '"0.25"', ".25", "2.5e-1", "25E-2"], ids=repr)
def test_numbers_in_every_spelling(value: Any) -> None:
    assert take(real=value).real == 0.25


@pytest.mark.parametrize("value", ["False", "false", False, '"false"', "FALSE", "0", 0], ids=repr)
def test_truth_values_in_every_spelling(value: Any) -> None:
    assert take(flag=value).flag is False


@pytest.mark.parametrize("value", ["als", '"als"'], ids=repr)
def test_texts_with_and_without_json_quotes(value: str) -> None:
    assert take(text=value).text == "als"


@pytest.mark.parametrize("value", [None, "None", "null"], ids=repr)
def test_none_is_the_same_as_nothing(value: Any) -> None:
    assert take(whole=value, limit=value) == Sample()


def test_a_large_whole_number_keeps_all_its_digits() -> None:
    assert read_job({"seed": "9007199254740993"}).options.random_state == 9007199254740993


@pytest.mark.parametrize(
    "value", ["x", "", "1_0", "0x1", "1.5", "nan", "inf", "1e999", "True", True, [1], {}, "٣", "--1"], ids=repr
)
def test_what_is_no_whole_number_is_refused_with_its_range(value: Any) -> None:
    with pytest.raises(UserError, match=r"hyperparameter whole=.* is not a whole number \(≥ 1, ≤ 100\)"):
        take(whole=value)


@pytest.mark.parametrize("value", ["yes", "2", "", 2, [True]], ids=repr)
def test_what_is_no_truth_value_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"hyperparameter flag=.* is not true or false"):
        take(flag=value)


@pytest.mark.parametrize(("name", "value"), [("whole", "0"), ("whole", "101"), ("real", "0"), ("real", "-1")])
def test_a_value_out_of_range_is_refused_with_the_range(name: str, value: str) -> None:
    with pytest.raises(UserError, match=rf"hyperparameter {name}='{value}' is out of range: give a value that is"):
        take(**{name: value})


def test_an_alias_is_accepted_and_named_in_its_error() -> None:
    assert take(n="7").whole == 7
    with pytest.raises(UserError, match="hyperparameter n='x'"):
        take(n="x")


def test_two_names_of_one_hyperparameter_are_refused() -> None:
    with pytest.raises(UserError, match="whole and n are the same hyperparameter"):
        take(whole="1", n="1")


def test_keys_of_the_platform_are_ignored() -> None:
    # A tuning job adds the first, SDK estimators the others.
    assert (
        take(_tuning_objective_metric="x", sagemaker_program="train.py", sagemaker_submit_directory="s3://") == Sample()
    )


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    with pytest.raises(UserError, match=r"unknown hyperparameter 'embeding_dim': did you mean 'embedding_dim'\?"):
        read_job({"embeding_dim": "10"})


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.text(max_size=12), st.integers(), st.booleans(), st.none())))
def test_any_object_is_read_or_refused_by_name(raw: dict[str, Any]) -> None:
    try:
        job = read_job(raw)
    except UserError as error:
        assert any(shown(key) in str(error) or key in str(error) for key in raw)
    else:
        assert job.algorithm.name in job.hyperparameters()["algorithm"]


def test_nothing_at_all_is_the_default_job() -> None:
    job = read_job({})
    assert job.algorithm.name == "als"
    assert job.hyperparameters()["random_state"] == 42


@pytest.mark.parametrize("loss", ["bpr", "hinge", "adaptive_hinge", "pointwise", "softmax"])
def test_a_loss_of_spotlight_selects_the_algorithm(loss: str) -> None:
    assert read_job({"loss": loss}).algorithm.name == loss
    assert read_job({"algorithm": loss, "loss": loss}).algorithm.name == loss


@pytest.mark.parametrize("name", ["warp"])
def test_an_algorithm_that_is_left_out_is_refused_by_name(name: str) -> None:
    with pytest.raises(UserError, match=f"algorithm={name} is left out, .*adaptive_hinge: give one of als"):
        read_job({"algorithm": name})


def test_an_unknown_algorithm_and_a_loss_beside_another_algorithm_are_refused() -> None:
    with pytest.raises(UserError, match="unknown algorithm 'ALS2': give one of als"):
        read_job({"algorithm": "ALS2"})
    with pytest.raises(UserError, match="loss=bpr does not go with algorithm='als'"):
        read_job({"algorithm": "als", "loss": "bpr"})
    with pytest.raises(UserError, match="loss=squared does not go with algorithm='bpr'"):
        read_job({"algorithm": "bpr", "loss": "squared"})
    with pytest.raises(UserError, match="loss='warp' is out of range"):
        read_job({"loss": "warp"})


@pytest.mark.parametrize("loss", ["squared", "regression", "logistic", "poisson"])
def test_a_loss_of_ratings_wants_an_algorithm(loss: str) -> None:
    with pytest.raises(UserError, match=f"loss={loss} alone selects no algorithm: give algorithm=explicit"):
        read_job({"loss": loss})
    job = read_job({"loss": loss, "algorithm": "explicit"})
    assert job.config.loss == job.hyperparameters()["loss"] == ("squared" if loss == "regression" else loss)


def test_a_loss_that_an_algorithm_does_not_have_is_refused_with_its_own() -> None:
    with pytest.raises(UserError, match=r"loss='bpr' is out of range: give a value that is one of squared"):
        read_job({"algorithm": "explicit", "loss": "bpr"})


def test_the_hold_out_and_the_gate_belong_to_the_job_and_are_checked_at_once() -> None:
    job = read_job({"validation": "last", "refit": "False", "min_metric": "ndcg@10>=0.1"})
    assert job.hyperparameters()["validation"] == "last" and job.hyperparameters()["refit"] is False
    assert job.hyperparameters()["min_metric"] == "ndcg@10>=0.1" and job.hyperparameters()["beat_popularity"] is False
    for raw, words in (
        ({"validation": "none", "patience": "3"}, "patience=3 waits for a better epoch"),
        ({"validation": "random", "validation_fraction": "0.6"}, r"validation_fraction='0\.6' is out of range"),
        ({"validation": "weekly"}, "validation='weekly' is out of range: give a value that is one of random, strat"),
        ({"validation_users": "0"}, "validation_users='0' is out of range"),
        ({"validation": "none", "beat_popularity": "true"}, "beat_popularity=true cannot be judged: validation=none"),
        ({"min_metric": "rmse<=1"}, "min_metric=rmse<=1 needs a model of ratings, and this one ranks only"),
        ({"_tuning_objective_metric": "validation:mae"}, "the tuning objective validation:mae needs a model of rat"),
        (
            {"_tuning_objective_metric": "validation:ndcg@10", "validation": "none"},
            "the tuning objective validation:ndcg@10 is never logged",
        ),
    ):
        with pytest.raises(UserError, match=words):
            read_job(raw)
    read_job({"algorithm": "explicit", "_tuning_objective_metric": "validation:mae", "min_metric": "rmse<=1"})
    read_job({"_tuning_objective_metric": "somebody's own metric"})


def test_filters_belong_to_the_job_and_are_checked_at_once() -> None:
    job = read_job({"min_item_interactions": "21", "min_item_mean_rating": "2.01", "filters": "any"})
    assert job.hyperparameters()["min_item_interactions"] == 21
    with pytest.raises(UserError, match="filters=any, and no filter is set"):
        read_job({"filters": "any"})


def test_a_hyperparameter_of_another_algorithm_says_whose_it_is() -> None:
    with pytest.raises(UserError, match="learning_rate is not one of algorithm=als: it belongs to softmax, bpr"):
        read_job({"learning_rate": "0.1"})
    with pytest.raises(UserError, match="hyperparameter alpha is not one of algorithm=bpr: it belongs to als"):
        read_job({"algorithm": "bpr", "alpha": "1"})


def test_the_names_of_implicit_and_spotlight_are_accepted() -> None:
    implicit = read_job(
        {"factors": "10", "iterations": "3", "regularization": "0.1", "alpha": "2", "random_state": "1"}
    )
    assert (implicit.config.embedding_dim, implicit.config.epochs) == (10, 3)
    spotlight = read_job({"loss": "bpr", "embedding_dim": "32", "n_iter": "4", "l2": "0", "batch_size": "256"})
    assert (spotlight.config.epochs, spotlight.config.batch_size, spotlight.config.regularization) == (4, 256, 0)
