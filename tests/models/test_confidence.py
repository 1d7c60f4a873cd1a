"""Confidence transforms against their formulas, and that training, fold-in and the model folder have the same one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox import artifact
from factorbox.data.interactions import Interactions
from factorbox.errors import AlgorithmError
from factorbox.models.als import ALS, ALSConfig
from factorbox.models.base import Factors
from factorbox.models.confidence import TRANSFORMS, Confidence
from factorbox.recommend.fold_in import fold_in
from factorbox.recommender import Recommender
from row_system_support import histories_of
from support import clustered_interactions, interactions_from_rows

ROWS = [[0, 1, 2], [], [1], [1, 3]]
WEIGHTS = [[1.0, 4.0, 0.5], [], [20.0], [3.0, 7.0]]


def small() -> Interactions:
    return interactions_from_rows(ROWS, n_items=5, weights=WEIGHTS)


def fitted(interactions: Interactions, transform: str, **options: Any) -> tuple[ALSConfig, Factors]:
    asked = ALSConfig(embedding_dim=6, epochs=4, confidence=transform, **options)
    config = ALS().resolved(asked, interactions=interactions)
    return config, ALS().fit(interactions, config=config, random_state=1)


def test_linear_leaves_the_weights_as_they_are() -> None:
    interactions = small()
    confidence = Confidence.of("linear", interactions=interactions)
    assert confidence.weighed(interactions) is interactions
    assert confidence.constants == {} and len(confidence.idf) == 0


def test_log_is_the_logarithm_of_one_more() -> None:
    weighed = Confidence.of("log", interactions=small()).weighed(small())
    expected = [math.log(1 + w) for row in WEIGHTS for w in row]
    np.testing.assert_allclose(weighed.weights, expected, rtol=1e-6)


def test_bm25_is_the_published_formula_over_the_users_who_have_anything() -> None:
    confidence = Confidence.of("bm25", interactions=small())
    users_of_items = [1, 3, 1, 1, 0]
    idf = [math.log(1 + (3 - n + 0.5) / (n + 0.5)) for n in users_of_items]
    mean_length = (5.5 + 20 + 10) / 3
    np.testing.assert_allclose(confidence.idf, idf, rtol=1e-6)
    assert confidence.mean_length == pytest.approx(mean_length)
    expected = [
        idf[i] * 2.2 * w / (w + 1.2 * (1 - 0.75 + 0.75 * sum(weights) / mean_length))
        for items, weights in zip(ROWS, WEIGHTS, strict=True)
        for i, w in zip(items, weights, strict=True)
    ]
    weighed = confidence.weighed(small())
    assert weighed.weights.dtype == np.float32
    np.testing.assert_allclose(weighed.weights, expected, rtol=1e-6)


@given(weight=st.floats(2.0**-100, 2.0**127, width=32), transform=st.sampled_from(TRANSFORMS))
def test_a_confidence_is_finite_and_above_0_whatever_the_weight(weight: float, transform: str) -> None:
    confidence = Confidence.of(transform, interactions=small())
    # Item 1 is what everybody has.
    found = confidence.transformed(histories_of([1], [0, 1], weight=weight))
    assert np.isfinite(found).all() and (found > 0).all()


def test_bm25_says_less_of_what_many_have_and_of_one_item_among_much() -> None:
    confidence = Confidence.of("bm25", interactions=small())
    alone, beside_much = (
        confidence.transformed(replace(histories_of([1, 3]), weights=np.array([2, other], np.float32)))
        for other in (1, 1000)
    )
    assert confidence.idf[1] < confidence.idf[3] < confidence.idf[4]
    assert beside_much[0] < alone[0]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_without_alpha_the_mean_confidence_is_1(rng: np.random.Generator, transform: str) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    config, _ = fitted(interactions, transform)
    weighed = Confidence.of(transform, interactions=interactions).weighed(interactions)
    assert config.alpha == pytest.approx(1 / weighed.weights.mean(dtype=np.float64))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("device", ["cpu", "none"])
def test_training_is_that_by_transformed_weights(rng: np.random.Generator, transform: str, device: Any) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    weighed = Confidence.of(transform, interactions=interactions).weighed(interactions)
    config = ALSConfig(embedding_dim=6, epochs=3, alpha=1.5, confidence=transform)
    found = ALS().fit(interactions, config=config, random_state=1, device=device)
    expected = ALS().fit(weighed, config=replace(config, confidence="linear"), random_state=1, device=device)
    assert found.user_factors.tobytes() == expected.user_factors.tobytes()
    assert found.item_factors.tobytes() == expected.item_factors.tobytes()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_snapshot_is_finished_by_the_same_transform(rng: np.random.Generator, transform: str) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    config, factors = fitted(interactions, transform)
    again = ALS().finished(factors, interactions=interactions, config=config)
    lengths = np.linalg.norm(factors.user_factors, axis=1)
    before, after = (f.user_factors @ f.item_factors.T for f in (factors, again))
    assert (np.abs(before - after).max(axis=1) <= 1e-4 * np.maximum(lengths, 1)).all()
    assert again.idf.tobytes() == factors.idf.tobytes() and again.fold_in == factors.fold_in


def saved(folder: Path, interactions: Interactions, transform: str) -> Recommender:
    config, factors = fitted(interactions, transform)
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors,
        algorithm="als",
        hyperparameters={name: getattr(config, name) for name in ALSConfig.__dataclass_fields__},
        metrics={},
    )
    return Recommender.load(folder)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_saved_model_folds_its_users_in_and_adds_weights_before_it_transforms_them(
    rng: np.random.Generator, tmp_path: Path, transform: str
) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    model = saved(tmp_path / "model", interactions, transform)
    assert (tmp_path / "model/confidence.safetensors").exists() == (transform == "bm25")

    part = slice(*interactions.indptr[7:9])
    own = {
        model.item_ids[int(i)]: float(w)
        for i, w in zip(interactions.item_indices[part], interactions.weights[part], strict=True)
    }
    folded = model.fold_in({"again": own}).factors[0]
    assert np.linalg.norm(folded - model.user_factors[7]) <= 1e-4 * np.linalg.norm(model.user_factors[7])

    known = next(iter(own))
    unknown = next(item for item in model.item_ids.to_list() if item not in own)
    more = {known: 2.5, unknown: 4.0}
    beside = model.recommend("u0007", histories=[more], exclude_seen=False, top_n=60)
    together = {**own, known: own[known] + 2.5, unknown: 4.0}
    alone = model.recommend(histories={"u0007": together}, exclude_seen=False, top_n=60)
    assert beside["item_id"].to_list() == alone["item_id"].to_list()
    assert beside["score"].to_list() == alone["score"].to_list()


def test_a_model_of_bm25_without_its_constants_is_refused(rng: np.random.Generator) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    config, factors = fitted(interactions, "bm25")
    assert fold_in(ALS().row_system(config, factors.item_side), interactions.by_user())[0].any()
    for lost in (replace(factors.item_side, idf=np.zeros(0, np.float32)), replace(factors.item_side, fold_in={})):
        with pytest.raises(AlgorithmError, match=r"confidence=bm25 and has no idf or no bm25_mean_length"):
            ALS().row_system(config, lost)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_training_goes_on_by_the_transform_of_the_new_interactions(rng: np.random.Generator, transform: str) -> None:
    interactions = clustered_interactions(rng, weighted=True)
    some = interactions.only(rng.random(interactions.n_pairs) < 0.9)
    config, start = fitted(some, transform)
    factors = ALS().fit(interactions, config=config, random_state=1, start=start)
    expected = Confidence.of(transform, interactions=interactions)
    assert factors.idf.tobytes() == expected.idf.tobytes() and factors.fold_in == expected.constants
    assert factors.epochs == 8
