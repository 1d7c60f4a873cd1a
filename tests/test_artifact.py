"""The model folder: what is saved is what is loaded, and nothing damaged is ever loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from artifact_support import as_version_1, as_version_2, edit_manifest, rewrite
from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import ItemDetails
from factorbox.errors import AlgorithmError, PlatformError
from factorbox.models.base import Factors
from support import interactions_from_rows


def random_factors(interactions: Interactions, *, d: int = 5, seed: int = 0) -> Factors:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32)

    n_users, n_items = interactions.n_users, interactions.n_items
    return Factors(draw(n_users, d), draw(n_items, d), draw(n_users), draw(n_items), epochs=3, train_loss=0.5)


def save(folder: Path, interactions: Interactions, factors: Factors | None = None) -> None:
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors or random_factors(interactions),
        algorithm="als",
        hyperparameters={"epochs": 3, "exclude_seen": True},
        metrics={"train_loss": 0.5},
    )


@pytest.fixture
def interactions() -> Interactions:
    return interactions_from_rows([[0, 2], [1], [], [0, 1, 2, 3]], n_items=5, weights=[[1, 2], [3], [], [1, 1, 4, 1]])


def save_rich(folder: Path, interactions: Interactions) -> None:
    """Save a model with all that a model may have."""
    columns = {"title": ["One", None, "Three", "Four", ""], "item_id": ["NA", None, "c", "d", "🎬 é"]}
    artifact.save(
        folder,
        interactions=interactions,
        factors=replace(
            random_factors(interactions),
            fold_in={"seen_target": 2, "unobserved_weight": 0.1},
            global_mean=3.25,
            layers={"weights_1": np.eye(2, 3, dtype=np.float32), "output_bias": np.ones(1, np.float32)},
        ),
        algorithm="bpr",
        hyperparameters={"epochs": 3},
        metrics={},
        available=np.array([True, False, True, True, False]),
        item_details=ItemDetails({name: pa.array(texts, pa.large_string()) for name, texts in columns.items()}),
    )


@pytest.fixture
def rich_folder(tmp_path: Path, interactions: Interactions) -> Path:
    save_rich(tmp_path / "rich", interactions)
    return tmp_path / "rich"


@pytest.fixture
def folder(tmp_path: Path, interactions: Interactions) -> Path:
    save(tmp_path / "model", interactions)
    return tmp_path / "model"


def test_what_is_saved_is_loaded(folder: Path, interactions: Interactions) -> None:
    factors = random_factors(interactions)
    loaded = artifact.load(folder)
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        assert np.array_equal(getattr(loaded, name), getattr(factors, name))
    np.testing.assert_allclose(loaded.mean_user_factors, factors.user_factors.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(loaded.mean_user_bias[0], factors.user_biases.mean(), rtol=1e-6)
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
    }
    assert loaded.manifest["algorithm"] == "als"
    assert loaded.available.tolist() == [True] * 5
    assert loaded.item_details is None
    assert loaded.fold_in == {}
    assert loaded.global_mean == 0
    assert loaded.layers == {}


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
    again = rich_folder.parent / "again"
    save_rich(again, interactions)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in rich_folder.iterdir()
    }


def test_details_are_views_of_the_file(rich_folder: Path) -> None:
    details = artifact.load(rich_folder).item_details
    assert details is not None
    _, offsets, data = details.columns["title"].buffers()
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "item_details" in line]
    edges = [tuple(int(edge, 16) for edge in parts[0].split("-")) for parts in maps]
    for buffer in (offsets, data):
        assert any(start <= buffer.address < end for start, end in edges)


def test_a_model_without_details_and_layers_removes_those_of_the_one_before(
    rich_folder: Path, interactions: Interactions
) -> None:
    save(rich_folder, interactions)
    assert not (rich_folder / "item_details.arrow").exists()
    assert not (rich_folder / "layers.safetensors").exists()
    loaded = artifact.load(rich_folder)
    assert loaded.item_details is None
    assert loaded.layers == {}


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


@pytest.mark.parametrize(
    "columns",
    [
        {"title": ["a"] * 4},
        {"title": [1, 2, 3, 4, 5]},
        {},
        {"title": ["a", None, "c", "d", "e"], "year": ["a", "b", None, "d", "e"]},
    ],
    ids=["short", "numbers", "none", "a part of a row"],
)
def test_vouched_for_details_of_the_wrong_shape_are_refused(rich_folder: Path, columns: dict[str, list[Any]]) -> None:
    arrays = {
        name: pa.array(values, pa.large_string() if isinstance(values[0], str) else None)
        for name, values in columns.items()
    }
    sink = pa.BufferOutputStream()
    batch = pa.record_batch(arrays)
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    rewrite(rich_folder, "item_details.arrow", sink.getvalue().to_pybytes())
    with pytest.raises(PlatformError, match=r"item_details.arrow is damaged"):
        artifact.load(rich_folder)


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


def test_the_arrays_are_views_of_the_files(folder: Path) -> None:
    loaded = artifact.load(folder)
    maps = Path("/proc/self/maps").read_text().splitlines()
    mapped = [
        tuple(int(edge, 16) for edge in entry.split()[0].split("-"))
        for entry in maps
        if entry.endswith((".safetensors", ".arrow"))
    ]
    for array in (loaded.user_factors, loaded.item_factors, loaded.history.indices, loaded.history.weights):
        assert any(start <= array.ctypes.data < end for start, end in mapped)


FILES = (
    "manifest.json",
    "factors.safetensors",
    "layers.safetensors",
    "users.arrow",
    "items.arrow",
    "item_details.arrow",
)


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one_bit": flip,
    "appended": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_any_file_is_named(rich_folder: Path, name: str, damage: str) -> None:
    path = rich_folder / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(PlatformError) as caught:
        artifact.load(rich_folder)
    assert "damaged" in str(caught.value)
    assert str(rich_folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(rich_folder: Path, name: str) -> None:
    (rich_folder / name).unlink()
    with pytest.raises(PlatformError, match=rf"{name}.*is missing"):
        artifact.load(rich_folder)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_is_a_clear_error(rich_folder: Path, name: str) -> None:
    (rich_folder / name).unlink()
    (rich_folder / name).mkdir()
    with pytest.raises(PlatformError, match=name):
        artifact.load(rich_folder)


def test_a_missing_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no model in .*manifest.json is missing \(found: No such file"):
        artifact.load(tmp_path / "nowhere")


@pytest.mark.parametrize("position", [0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
def test_any_changed_character_of_the_manifest_is_noticed(folder: Path, position: float) -> None:
    content = bytearray((folder / "manifest.json").read_bytes())
    at = next(i for i in range(int(position * len(content)), len(content)) if chr(content[i]).isalnum())
    content[at] = ord("7") if content[at] != ord("7") else ord("8")
    (folder / "manifest.json").write_bytes(bytes(content))
    with pytest.raises(PlatformError, match=r"damaged|format version"):
        artifact.load(folder)


def test_a_newer_format_is_refused_by_name(folder: Path) -> None:
    edit_manifest(folder, lambda manifest: manifest.update(format_version=4))
    with pytest.raises(PlatformError, match=r"has format version 4, and this factorbox reads up to 3"):
        artifact.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("format_version"),
        lambda m: m.update(format_version="1"),
        lambda m: m.update(format_version=0),
        lambda m: m.pop("counts"),
        lambda m: m["counts"].update(users=-1),
        lambda m: m["counts"].update(users=True),
        lambda m: m["counts"].update(users=5),
        lambda m: m["counts"].update(embedding_dim=4),
        lambda m: m["counts"].update(pairs=6),
        lambda m: m.pop("algorithm"),
        lambda m: m.update(hyperparameters=[]),
        lambda m: m["counts"].pop("unavailable_items"),
        lambda m: m["counts"].update(unavailable_items=1),
        lambda m: m["counts"].update(unavailable_items=False),
        lambda m: m.pop("fold_in"),
        lambda m: m.update(fold_in=[]),
        lambda m: m["fold_in"].update(a="2"),
        lambda m: m["fold_in"].update(a=True),
        lambda m: m["fold_in"].update(a=None),
        lambda m: m.pop("global_mean"),
        lambda m: m.update(global_mean="3"),
        lambda m: m.pop("layers"),
        lambda m: m.update(layers=[]),
        lambda m: m["layers"].update(output_bias=[1]),
        lambda m: m["files"].pop("users.arrow"),
        lambda m: m["files"].update({"../x": {"bytes": 0, "sha256": ""}}),
        lambda m: m["files"].update({"users.arrow": {"bytes": 1}}),
        lambda m: m["files"].update({"users.arrow": 5}),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit_manifest(folder, change)
    with pytest.raises(PlatformError, match="damaged"):
        artifact.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(layers={}),
        lambda m: m["layers"].update(output_bias=[2]),
        lambda m: m["layers"].update(output_bias=["1"]),
        lambda m: m["layers"].update(output_bias=1),
        lambda m: m["layers"].pop("output_bias"),
        lambda m: m["layers"].update(more=[1]),
        lambda m: m["files"].pop("layers.safetensors"),
    ],
)
def test_layers_that_are_not_what_the_manifest_says_are_refused(
    rich_folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit_manifest(rich_folder, change)
    with pytest.raises(PlatformError, match="damaged"):
        artifact.load(rich_folder)


def test_vouched_for_files_of_the_wrong_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "factors.safetensors")
    for changed in (
        {**tensors, "user_factors": tensors["user_factors"].double()},
        {**tensors, "item_factors": tensors["item_factors"][:3].clone()},
        {name: tensor for name, tensor in tensors.items() if name != "item_biases"},
        {**tensors, "more": torch.zeros(1)},
    ):
        save_file(changed, tmp_path / "changed")
        rewrite(folder, "factors.safetensors", (tmp_path / "changed").read_bytes())
        with pytest.raises(PlatformError, match=r"factors.safetensors is damaged"):
            artifact.load(folder)


@pytest.mark.parametrize(
    "columns",
    [
        {"item_id": ["a", "b", "c", "d"]},
        {"item_id": ["a", "b", "c", "d", None]},
        {"item_id": ["b", "a", "c", "d", "e"]},
        {"item_id": ["a", "a", "c", "d", "e"]},
        {"item_id": [1, 2, 3, 4, 5]},
        {"other": ["a", "b", "c", "d", "e"]},
        {"item_id": ["a", "b", "c", "d", "e"], "available": [True, True, True, True, None]},
        {"item_id": ["a", "b", "c", "d", "e"], "available": [1, 1, 1, 1, 1]},
    ],
    ids=str,
)
def test_vouched_for_ids_that_cannot_be_looked_up_are_refused(folder: Path, columns: dict[str, list[Any]]) -> None:
    arrays = {
        name: pa.array(values, pa.large_string() if isinstance(values[0], str) else None)
        for name, values in {"available": [True] * len(next(iter(columns.values()))), **columns}.items()
    }
    sink = pa.BufferOutputStream()
    batch = pa.record_batch(arrays)
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    rewrite(folder, "items.arrow", sink.getvalue().to_pybytes())
    with pytest.raises(PlatformError, match="damaged"):
        artifact.load(folder)


def test_vouched_for_history_that_points_outside_the_items_is_refused(folder: Path) -> None:
    reader = pa.ipc.open_file(folder / "users.arrow")
    batch = reader.get_batch(0)
    for bad in (-1, 5):
        indices = np.array([0, 2, 1, 0, 1, 2, bad], dtype=np.int32)
        listed = pa.LargeListArray.from_arrays(batch["item_indices"].offsets, indices)
        sink = pa.BufferOutputStream()
        changed = pa.record_batch([batch["user_id"], listed, batch["weights"]], schema=batch.schema)
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(changed)
        rewrite(folder, "users.arrow", sink.getvalue().to_pybytes())
        with pytest.raises(PlatformError, match="damaged"):
            artifact.load(folder)


def test_a_manifest_that_is_nested_too_deeply_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"format_version": 1, "a": ' + "[" * 900 + "]" * 900 + "}")
    with pytest.raises(PlatformError, match=r"manifest.json is damaged"):
        artifact.load(folder)


def test_a_pipe_in_the_place_of_the_manifest_does_not_hang(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    with pytest.raises(PlatformError, match=r"manifest.json is damaged: it is no file"):
        artifact.load(folder)


def test_no_file_is_a_pickle(folder: Path) -> None:
    for path in folder.iterdir():
        assert path.read_bytes()[:2] not in (b"\x80\x04", b"\x80\x05", b"PK")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_clear_error(folder: Path) -> None:
    (folder / "users.arrow").chmod(0)
    with pytest.raises(PlatformError, match=r"cannot read .*users.arrow: Permission denied"):
        artifact.load(folder)
