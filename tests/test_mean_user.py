"""The mean user: who was trained makes it, and who was not gets it."""

from __future__ import annotations

import numpy as np
import pytest

from factorbox.mean_user import user_tensors
from factorbox.models.base import Factors

RNG = np.random.default_rng(0)
FACTORS = Factors(
    RNG.standard_normal((300, 7), dtype=np.float32),
    RNG.standard_normal((4, 7), dtype=np.float32),
    RNG.standard_normal(300, dtype=np.float32),
    np.zeros(4, np.float32),
    epochs=1,
    train_loss=0.0,
)


def test_users_who_were_not_trained_are_the_mean_of_those_who_were() -> None:
    trained = np.arange(300) % 3 != 0
    found = user_tensors(FACTORS, trained=trained)
    mean = FACTORS.user_factors[trained].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found["mean_user_factors"], mean, rtol=1e-6)
    np.testing.assert_allclose(
        found["mean_user_bias"], [FACTORS.user_biases[trained].mean(dtype=np.float64)], rtol=1e-6
    )
    assert (found["user_factors"][~trained] == found["mean_user_factors"]).all()
    assert (found["user_biases"][~trained] == found["mean_user_bias"]).all()
    assert np.array_equal(found["user_factors"][trained], FACTORS.user_factors[trained])
    assert np.array_equal(found["user_biases"][trained], FACTORS.user_biases[trained])
    assert {name: tensor.dtype for name, tensor in found.items()} == dict.fromkeys(found, np.dtype(np.float32))


def test_where_everybody_was_trained_nothing_is_changed_nor_copied() -> None:
    found = user_tensors(FACTORS, trained=np.ones(300, np.bool_))
    assert found["user_factors"] is FACTORS.user_factors
    assert found["user_biases"] is FACTORS.user_biases
    assert np.array_equal(found["mean_user_factors"], FACTORS.user_factors.mean(axis=0, dtype=np.float64).astype("f4"))
    assert np.array_equal(found["mean_user_bias"], [FACTORS.user_biases.mean(dtype=np.float64).astype("f4")])


def test_what_training_has_left_is_not_written_over() -> None:
    before = FACTORS.user_factors.copy()
    user_tensors(FACTORS, trained=np.arange(300) < 1)
    assert np.array_equal(FACTORS.user_factors, before)


@pytest.mark.filterwarnings("error")
def test_where_nobody_was_trained_the_mean_is_everybody_s() -> None:
    found = user_tensors(FACTORS, trained=np.zeros(300, np.bool_))
    np.testing.assert_allclose(found["mean_user_factors"], FACTORS.user_factors.mean(axis=0), atol=1e-6)
    assert (found["user_factors"] == found["mean_user_factors"]).all()
