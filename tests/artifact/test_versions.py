"""Older model folders load, and become ones of today by a new list of available items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from artifact_support import (
    as_version_1,
    as_version_2,
    as_version_3,
    as_version_4,
    edit_manifest,
    random_factors,
    rows_of,
    save,
)
from factorbox import artifact
from factorbox.data.interactions import Interactions
from factorbox.errors import PlatformError


def test_a_model_of_format_version_1_loads_with_all_items_available(folder: Path, interactions: Interactions) -> None:
    as_version_1(folder)
    loaded = artifact.load(folder)
    assert loaded.manifest["format_version"] == 1
    assert loaded.available.tolist() == [True] * 5
    assert loaded.item_details is None
    assert loaded.fold_in == {}
    assert loaded.item_ids.to_list() == interactions.item_ids.to_list()
    assert np.array_equal(loaded.item_factors, random_factors(interactions).item_factors)


def test_a_model_of_format_version_2_loads_without_global_mean(folder: Path, interactions: Interactions) -> None:
    as_version_2(folder)
    loaded = artifact.load(folder)
    assert loaded.manifest["format_version"] == 2
    assert loaded.global_mean == 0
    assert loaded.layers == {}
    assert np.array_equal(loaded.item_factors, random_factors(interactions).item_factors)


@pytest.mark.parametrize("older", [as_version_1, as_version_2, as_version_3])
def test_a_model_of_an_older_format_has_one_history_and_no_records(
    folder: Path, interactions: Interactions, older: Callable[[Path], None]
) -> None:
    older(folder)
    loaded = artifact.load(folder)
    assert rows_of(loaded.history) == rows_of(interactions.by_user())
    assert loaded.held_out is None
    assert loaded.seen is loaded.history
    assert loaded.manifest.get("validation") is None
    assert loaded.manifest.get("learning_curve") is None


def test_a_model_of_format_version_3_loads_with_its_layers(rich_folder: Path, interactions: Interactions) -> None:
    save(rich_folder, interactions, replace(random_factors(interactions), layers={"bias": np.ones(1, np.float32)}))
    as_version_3(rich_folder)
    loaded = artifact.load(rich_folder)
    assert loaded.manifest["format_version"] == 3
    assert loaded.layers["bias"].tolist() == [1]


def test_a_model_of_format_version_4_loads_with_both_histories(rich_folder: Path) -> None:
    before = artifact.load(rich_folder)
    as_version_4(rich_folder)
    loaded = artifact.load(rich_folder)
    assert loaded.manifest["format_version"] == 4
    assert len(loaded.idf) == 0
    assert rows_of(loaded.seen) == rows_of(before.seen) != rows_of(loaded.history)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_format_cannot_have_a_file_that_came_later(rich_folder: Path, version: int) -> None:
    edit_manifest(rich_folder, lambda manifest: manifest.update(format_version=version))
    with pytest.raises(PlatformError, match=r"manifest\.json is damaged"):
        artifact.load(rich_folder)


@pytest.mark.parametrize("older", [as_version_1, as_version_2, as_version_3, as_version_4])
def test_a_new_list_of_available_items_makes_an_older_model_one_of_this_format(
    folder: Path, tmp_path: Path, interactions: Interactions, older: Callable[[Path], None]
) -> None:
    older(folder)
    available = np.array([True, False, True, True, True])
    artifact.replace_available(folder, model=artifact.load(folder), available=available)
    loaded = artifact.load(folder)
    assert loaded.manifest["format_version"] == 5
    assert loaded.manifest["counts"]["held_out_pairs"] == 0
    assert loaded.available.tolist() == available.tolist()
    assert rows_of(loaded.history) == rows_of(interactions.by_user())


def test_a_new_list_of_available_items_keeps_all_else(rich_folder: Path, tmp_path: Path) -> None:
    before, files = artifact.load(rich_folder), {path.name: path.read_bytes() for path in rich_folder.iterdir()}
    artifact.replace_available(rich_folder, model=before, available=np.arange(5) != 2)
    after = artifact.load(rich_folder)
    changed = {path.name for path in rich_folder.iterdir() if files[path.name] != path.read_bytes()}
    assert changed == {"items.arrow", "manifest.json"}
    assert [after.manifest[name] for name in ("validation", "learning_curve")] == [
        before.manifest[name] for name in ("validation", "learning_curve")
    ]
    assert after.manifest["counts"] == before.manifest["counts"] | {"unavailable_items": 1}
    assert rows_of(after.seen) == rows_of(before.seen)
    artifact.replace_available(rich_folder, model=after, available=before.available)
    assert {path.name: path.read_bytes() for path in rich_folder.iterdir()} == files
