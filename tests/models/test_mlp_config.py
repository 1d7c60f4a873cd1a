"""What options of `mlp` are refused, and what they mean."""

from __future__ import annotations

from typing import Any

import pytest

from factorbox.errors import UserError
from factorbox.models.mlp_config import MLPConfig


@pytest.mark.parametrize(("text", "sizes"), [("70", (70,)), ("70,35", (70, 35)), (" 8 , 4,2 ", (8, 4, 2))])
def test_hidden_sizes_are_read(text: str, sizes: tuple[int, ...]) -> None:
    assert MLPConfig(hidden_sizes=text).sizes == sizes


@pytest.mark.parametrize("text", ["", "70,", "70;35", "0", "-3", "1.5", "4097", "seventy", "7 0", "٣"])
def test_what_is_no_list_of_sizes_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(UserError, match=r"hidden_sizes=.* is no size of a hidden layer; give 1 to 8 sizes .*70,35"):
        MLPConfig(hidden_sizes=text)


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(UserError, match="has 9 hidden layers; give 1 to 8 sizes"):
        MLPConfig(hidden_sizes=",".join(["4"] * 9))


@pytest.mark.parametrize(
    "changes",
    [{"dropout_before": 1.0}, {"dropout_after": -0.1}, {"learning_rate": 0.0}, {"loss": "hinge"}, {"batch_size": 0}],
    ids=str,
)
def test_values_out_of_range_are_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(changes))}=.* is out of range"):
        MLPConfig(**changes)


def test_regression_is_squared_error() -> None:
    assert MLPConfig(loss="regression") == MLPConfig(loss="squared")


@pytest.mark.parametrize("loss", ["pointwise", "squared", "poisson"])
def test_likes_are_refused_for_losses_without_labels(loss: str) -> None:
    with pytest.raises(UserError, match=f"like_above=3 makes labels, and loss={loss} fits none: add loss=logistic"):
        MLPConfig(loss=loss, like_above=3.0)


def test_only_pairs_have_negatives() -> None:
    assert MLPConfig(num_negative_samples=7).negatives == 7
    assert MLPConfig(loss="squared", num_negative_samples=7).negatives == 0
