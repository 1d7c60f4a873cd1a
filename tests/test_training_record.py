"""What a training tells of itself: as it was, but in what JSON can hold, and never monstrous."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.errors import AlgorithmError
from factorbox.manifest import write_manifest
from factorbox.training_record import MOST_POINTS, RECORDS, holds_sound_records, recorded

numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters(exclude_categories=["Cs"]))),
    lambda parts: st.one_of(st.lists(parts, max_size=4), st.dictionaries(st.sampled_from("abc"), parts, max_size=3)),
    max_leaves=12,
)
records = st.fixed_dictionaries(
    {},
    optional={
        "validation": st.dictionaries(st.sampled_from(["k", "metrics", "measured"]), values),
        "learning_curve": st.lists(st.dictionaries(st.sampled_from(["epoch", "train_loss"]), values), max_size=5),
    },
)


def without_strange_numbers(value: Any) -> Any:
    """The value with null in the place of what is not finite."""
    if isinstance(value, dict):
        return {key: without_strange_numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_strange_numbers(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@given(record=records)
def test_a_record_survives_json_but_for_numbers_that_are_not_finite(record: dict[str, Any]) -> None:
    assert orjson.loads(orjson.dumps(recorded(record))) == without_strange_numbers(record)


def test_numbers_of_numpy_and_frozen_mappings_are_plain_ones() -> None:
    metrics = MappingProxyType({"ndcg@10": np.float32(0.5), "users": np.int64(3), "seen": np.bool_(True)})
    found = recorded({"validation": {"metrics": metrics, "low": np.array([0.25, np.nan]), "pair": (1, None)}})
    assert found == {
        "validation": {
            "metrics": {"ndcg@10": 0.5, "users": 3, "seen": True},
            "low": [0.25, None],
            "pair": [1, None],
        }
    }
    assert [type(value) for value in found["validation"]["metrics"].values()] == [float, int, bool]


def test_entries_come_in_one_order_and_those_that_are_none_are_left_out() -> None:
    assert list(recorded({"learning_curve": [], "validation": {}})) == list(RECORDS)
    assert recorded({"learning_curve": None, "validation": None}) == recorded({}) == {}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"files": {}}, "validation, learning_curve, and no files"),
        ({"validation": []}, "validation is a mapping and learning_curve a list of those"),
        ({"learning_curve": {}}, "learning_curve a list of those"),
        ({"learning_curve": [1]}, "learning_curve a list of those"),
        ({"learning_curve": "abc"}, "learning_curve a list of those"),
        ({"validation": {"a": {"b": [0, Path("x")]}}}, r"validation\.a\.b\[1\] of the record .* is a PosixPath"),
        ({"validation": {"a": b"x"}}, r"validation\.a .* is a bytes"),
        ({"validation": {1: "x"}}, "validation of the record of a training is a dict"),
    ],
)
def test_what_a_manifest_cannot_hold_is_refused_by_its_place(record: Mapping[str, Any], words: str) -> None:
    with pytest.raises(AlgorithmError, match=words):
        recorded(record)


@pytest.mark.parametrize("points", [0, 1, 2, 999, 1000, 1001, 1500, 100_000])
def test_a_long_learning_curve_keeps_its_ends_and_points_spread_evenly(points: int) -> None:
    curve = [{"epoch": epoch, "train_loss": 1 / epoch} for epoch in range(1, points + 1)]
    kept = recorded({"learning_curve": curve})["learning_curve"]
    assert len(kept) == min(points, MOST_POINTS)
    if points <= MOST_POINTS:
        assert kept == curve
        return
    epochs = np.array([point["epoch"] for point in kept])
    assert epochs[[0, -1]].tolist() == [1, points]
    assert set(np.diff(epochs)) <= {(points - 1) // 999, (points - 1) // 999 + 1}
    assert all(point == curve[point["epoch"] - 1] for point in kept)


def test_the_curve_of_100_000_epochs_makes_no_monstrous_manifest(tmp_path: Path) -> None:
    point = {"train_loss": 0.1234567890123, **{f"validation:metric_{m}@10": 0.1234567890123 for m in range(10)}}
    curve = [{"epoch": epoch, **point} for epoch in range(1, 100_001)]
    write_manifest(tmp_path / "manifest.json", {"format_version": 4, **recorded({"learning_curve": curve})})
    assert (tmp_path / "manifest.json").stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("manifest", "sound"),
    [
        ({}, True),
        ({"validation": {}, "learning_curve": [{}]}, True),
        ({"validation": None}, False),
        ({"validation": []}, False),
        ({"learning_curve": [[]]}, False),
        ({"learning_curve": [{}] * (MOST_POINTS + 1)}, False),
    ],
)
def test_records_of_the_wrong_type_are_found(manifest: dict[str, Any], sound: bool) -> None:
    assert holds_sound_records(manifest) == sound
