"""The model folder: what is saved is what is loaded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact_support import (
    RECORD,
    random_factors,
    rows_of,
    save,
    save_rich,
)
from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.splits import Pairs
from factorbox.errors import AlgorithmError, PlatformError
from factorbox.model_files import OPTIONAL_FILES, REQUIRED_FILES
from support import interactions_from_rows


def test_what_is_saved_is_loaded(folder: Path, interactions: Interactions) -> None:
    factors = random_factors(interactions)
    loaded = artifact.load(folder)
    trained = [0, 1, 3]
    for name in ("item_factors", "item_biases"):
        assert np.array_equal(getattr(loaded, name), getattr(factors, name))
    for name in ("user_factors", "user_biases"):
        assert np.array_equal(getattr(loaded, name)[trained], getattr(factors, name)[trained])
    np.testing.assert_allclose(loaded.mean_user_factors, factors.user_factors[trained].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(loaded.mean_user_bias[0], factors.user_biases[trained].mean(), rtol=1e-6)
    assert np.array_equal(loaded.user_factors[2], loaded.mean_user_factors)
    assert loaded.user_biases[2] == loaded.mean_user_bias[0]
    assert loaded.user_ids.to_list() == interactions.user_ids.to_list()
    assert loaded.item_ids.to_list() == interactions.item_ids.to_list()
    assert np.array_equal(loaded.history.indptr, interactions.indptr)
    assert np.array_equal(loaded.history.indices, interactions.item_indices)
    assert np.array_equal(loaded.history.weights, interactions.weights)
    assert loaded.manifest["counts"] == {
        "users": 4,
        "items": 5,
        "pairs": 7,
        "embedding_dim": 5,
        "epochs": 3,
        "unavailable_items": 0,
        "held_out_pairs": 0,
    }
    assert loaded.manifest["algorithm"] == "als"
    assert not {"validation", "learning_curve"} & loaded.manifest.keys()
    assert loaded.held_out is None
    assert loaded.seen is loaded.history
    assert loaded.available.tolist() == [True] * 5
    assert loaded.item_details is None
    assert loaded.fold_in == {}
    assert loaded.global_mean == 0
    assert loaded.layers == {}
    assert loaded.idf.shape == (0,)


def test_what_is_known_of_the_items_and_all_that_few_models_have_is_kept(
    rich_folder: Path, interactions: Interactions
) -> None:
    loaded = artifact.load(rich_folder)
    assert loaded.manifest["counts"]["unavailable_items"] == 2
    assert loaded.available.tolist() == [True, False, True, True, False]
    assert loaded.item_details is not None
    assert list(loaded.item_details.columns) == ["title", "item_id"]
    assert loaded.item_details.of(0) == {"title": "One", "item_id": "NA"}
    assert loaded.item_details.of(1) is None
    assert loaded.item_details.of(4) == {"title": "", "item_id": "🎬 é"}
    assert loaded.fold_in == {"seen_target": 2.0, "unobserved_weight": 0.1}
    assert loaded.global_mean == 3.25
    assert {name: layer.tolist() for name, layer in loaded.layers.items()} == {
        "weights_1": [[1, 0, 0], [0, 1, 0]],
        "output_bias": [1],
    }
    assert loaded.item_side.fold_in == loaded.fold_in
    assert loaded.item_side.layers is loaded.layers
    assert loaded.item_side.idf.tolist() == [0.5, 1, 1.5, 2, 2.5]
    assert loaded.manifest["validation"] == {
        "method": "last",
        "users": 2,
        "metrics": {"ndcg@10": {"value": 0.25, "low": 0.2, "high": None}},
    }
    assert loaded.manifest["learning_curve"] == RECORD["learning_curve"]
    again = rich_folder.parent / "again"
    save_rich(again, interactions)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in rich_folder.iterdir()
    }


def test_what_was_held_out_is_a_second_history_and_with_the_first_what_was_seen(
    rich_folder: Path, interactions: Interactions
) -> None:
    loaded = artifact.load(rich_folder)
    assert loaded.manifest["counts"]["pairs"] == 7
    assert loaded.manifest["counts"]["held_out_pairs"] == 3
    assert rows_of(loaded.history) == rows_of(interactions.by_user())
    assert loaded.held_out is not None
    assert rows_of(loaded.held_out) == [{1: 5}, {}, {0: 6, 4: 7}, {}]
    assert rows_of(loaded.seen) == [{0: 1, 1: 5, 2: 2}, {1: 3}, {0: 6, 4: 7}, {0: 1, 1: 1, 2: 4, 3: 1}]
    assert loaded.seen is loaded.seen
    columns = (loaded.seen.indptr, loaded.seen.indices, loaded.seen.weights)
    assert [column.dtype.name for column in columns] == ["int64", "int32", "float32"]


def test_a_pair_that_is_in_both_histories_is_seen_once_with_the_weight_of_training(
    tmp_path: Path, interactions: Interactions
) -> None:
    both = Pairs(np.array([0, 0]), np.array([1, 2], np.int32), np.array([5, 6], np.float32))
    save(tmp_path / "model", interactions, held_out=both)
    assert rows_of(artifact.load(tmp_path / "model").seen)[0] == {0: 1, 1: 5, 2: 2}


@given(
    pairs=st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 7)), st.tuples(st.booleans(), st.floats(1, 9))),
    seed=st.integers(0, 3),
)
@settings(max_examples=60)
def test_any_two_histories_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, pairs: dict[tuple[int, int], tuple[bool, float]], seed: int
) -> None:
    trained: list[dict[int, float]] = [{} for _ in range(6)]
    held_out: list[dict[int, float]] = [{} for _ in range(6)]
    for (user, item), (out, weight) in sorted(pairs.items()):
        (held_out if out else trained)[user][item] = float(np.float32(weight))
    rows = [list(row) for row in trained]
    interactions = interactions_from_rows(rows, n_items=8, weights=[list(row.values()) for row in trained])
    others = [(user, item, weight) for user, row in enumerate(held_out) for item, weight in row.items()]
    given_out = Pairs(
        np.array([user for user, _, _ in others], np.int64),
        np.array([item for _, item, _ in others], np.int32),
        np.array([weight for _, _, weight in others], np.float32),
    )
    folder = tmp_path_factory.mktemp("two") / "model"
    save(folder, interactions, random_factors(interactions, seed=seed), held_out=given_out)
    loaded = artifact.load(folder)
    assert rows_of(loaded.history) == trained
    assert (rows_of(loaded.held_out) if loaded.held_out is not None else [{}] * 6) == held_out
    assert rows_of(loaded.seen) == [dict(sorted((a | b).items())) for a, b in zip(trained, held_out, strict=True)]
    assert (folder / "held_out.arrow").exists() == bool(others)
    assert (loaded.seen is loaded.history) == (not others)


def test_no_held_out_pair_is_no_second_history(tmp_path: Path, interactions: Interactions) -> None:
    none = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    save(tmp_path / "one", interactions)
    save(tmp_path / "other", interactions, held_out=none, record={})
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()
    }


def test_a_model_has_no_file_but_those_that_are_defined(rich_folder: Path, folder: Path) -> None:
    """Trap: a new file that an archive is unpacked without."""
    assert set(artifact.load(rich_folder).manifest["files"]) == REQUIRED_FILES | OPTIONAL_FILES.keys()
    assert set(artifact.load(folder).manifest["files"]) == REQUIRED_FILES


def test_a_record_that_a_manifest_cannot_hold_leaves_the_older_model_whole(
    folder: Path, interactions: Interactions
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(AlgorithmError, match="validation, learning_curve, and no files"):
        save(folder, interactions, record={"files": {}})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_details_are_views_of_the_file(rich_folder: Path) -> None:
    details = artifact.load(rich_folder).item_details
    assert details is not None
    _, offsets, data = details.columns["title"].buffers()
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "item_details" in line]
    edges = [tuple(int(edge, 16) for edge in parts[0].split("-")) for parts in maps]
    for buffer in (offsets, data):
        assert any(start <= buffer.address < end for start, end in edges)


def test_a_model_without_optional_files_removes_those_of_the_one_before(
    rich_folder: Path, interactions: Interactions
) -> None:
    save(rich_folder, interactions)
    assert {path.name for path in rich_folder.iterdir()} == REQUIRED_FILES | {"manifest.json"}
    loaded = artifact.load(rich_folder)
    assert loaded.item_details is None
    assert loaded.layers == {}
    assert loaded.held_out is None


@pytest.mark.parametrize(
    "change", [{"fold_in": {"seen_target": float("nan")}}, {"global_mean": float("inf")}], ids=["fold_in", "mean"]
)
def test_a_constant_that_is_not_finite_is_not_saved(
    tmp_path: Path, interactions: Interactions, change: dict[str, Any]
) -> None:
    with pytest.raises(AlgorithmError, match="the global mean or a constant of fold-in is not finite"):
        save(tmp_path / "model", interactions, replace(random_factors(interactions), **change))


def test_a_layer_that_is_not_finite_is_not_saved(tmp_path: Path, interactions: Interactions) -> None:
    factors = replace(random_factors(interactions), layers={"output_bias": np.array([np.nan], np.float32)})
    with pytest.raises(AlgorithmError, match="output_bias is not finite"):
        save(tmp_path / "model", interactions, factors)


@given(ids=st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=30))
@settings(max_examples=60)
def test_any_ids_survive_the_round_trip(tmp_path_factory: pytest.TempPathFactory, ids: set[str]) -> None:
    folder = tmp_path_factory.mktemp("ids") / "model"
    every = Ids.from_texts(sorted(ids))
    n = len(every)
    data = Interactions(every, every, np.arange(n + 1), np.arange(n, dtype=np.int32), np.ones(n, np.float32))
    save(folder, data)
    loaded = artifact.load(folder)
    assert loaded.user_ids.to_list() == sorted(ids, key=lambda text: text.encode())
    assert list(loaded.item_ids.indices_of(every.to_list())) == list(range(n))


def test_the_same_model_is_the_same_bytes_and_names_no_time_or_path(tmp_path: Path, interactions: Interactions) -> None:
    for name in ("one", "two"):
        save(tmp_path / name, interactions)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()


def test_saving_over_a_model_replaces_it_and_leaves_no_temporary_file(folder: Path) -> None:
    other = interactions_from_rows([[0]], n_items=1)
    save(folder, other)
    assert artifact.load(folder).user_ids.to_list() == ["u0000"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "factors.safetensors",
        "items.arrow",
        "manifest.json",
        "users.arrow",
    ]


def test_a_failed_save_leaves_the_older_model_whole(
    folder: Path, interactions: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "write_arrow", disk_full)
    with pytest.raises(PlatformError, match=r"cannot write to .*: No space left on device; free disk space"):
        save(folder, interactions, random_factors(interactions, seed=9))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_killed_process_left_is_removed_and_never_loaded(folder: Path, interactions: Interactions) -> None:
    for process in (str(os.getpid()), "99999999"):
        (folder / f".partial-{process}").mkdir()
        (folder / f".partial-{process}/factors.safetensors").write_bytes(b"half")
    (folder / ".partial-1").mkdir()  # of a process that lives: it may still be writing
    artifact.load(folder)
    save(folder, interactions)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [".partial-1"]


def test_every_user_may_read_the_files(folder: Path) -> None:
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())


def test_factors_without_a_mean_are_refused_and_nothing_else_is_said(
    tmp_path: Path, interactions: Interactions
) -> None:
    """Trap: the mean of infinities of both signs warns before it can be refused."""
    factors = random_factors(interactions)
    factors.user_factors[:2, 0] = np.inf, -np.inf
    with pytest.raises(AlgorithmError, match="user_factors is not finite"):
        save(tmp_path / "model", interactions, factors)


def test_factors_that_are_not_finite_are_not_saved(tmp_path: Path, interactions: Interactions) -> None:
    factors = random_factors(interactions)
    factors.item_factors[1, 1] = np.nan
    with pytest.raises(AlgorithmError, match="item_factors is not finite"):
        save(tmp_path / "model", interactions, factors)
    assert not (tmp_path / "model").exists()


def test_the_arrays_are_views_of_the_files(rich_folder: Path) -> None:
    loaded = artifact.load(rich_folder)
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = [
        tuple(int(edge, 16) for edge in entry.split()[0].split("-"))
        for entry in maps
        if entry.endswith((".safetensors", ".arrow"))
    ]
    assert loaded.held_out is not None
    for array in (
        loaded.user_factors,
        loaded.item_factors,
        loaded.history.indices,
        loaded.history.weights,
        loaded.held_out.indptr,
        loaded.held_out.indices,
    ):
        assert any(start <= array.ctypes.data < end for start, end in mapped)


def test_no_file_is_a_pickle(folder: Path) -> None:
    for path in folder.iterdir():
        assert path.read_bytes()[:2] not in (b"\x80\x04", b"\x80\x05", b"PK")
