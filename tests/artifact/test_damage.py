"""Nothing damaged is ever loaded, whether or not the manifest vouches for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from artifact_support import (
    edit_manifest,
    rewrite,
)
from factorbox import artifact
from factorbox.errors import PlatformError

FILES = (
    "manifest.json",
    "factors.safetensors",
    "layers.safetensors",
    "confidence.safetensors",
    "users.arrow",
    "items.arrow",
    "item_details.arrow",
    "held_out.arrow",
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
    edit_manifest(folder, lambda manifest: manifest.update(format_version=6))
    with pytest.raises(PlatformError, match=r"has format version 6, and this factorbox reads up to 5"):
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
        lambda m: m["counts"].pop("held_out_pairs"),
        lambda m: m["counts"].update(held_out_pairs=1),
        lambda m: m["counts"].update(held_out_pairs=False),
        lambda m: m.update(validation=[]),
        lambda m: m.update(learning_curve={}),
        lambda m: m.update(learning_curve=[1]),
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


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["counts"].update(held_out_pairs=0),
        lambda m: m["counts"].update(held_out_pairs=2),
        lambda m: m["counts"].update(held_out_pairs=4),
        lambda m: m["files"].pop("held_out.arrow"),
    ],
)
def test_a_second_history_that_is_not_what_the_manifest_says_is_refused(
    rich_folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit_manifest(rich_folder, change)
    with pytest.raises(PlatformError, match="damaged"):
        artifact.load(rich_folder)


@pytest.mark.parametrize(
    ("offsets", "indices"),
    [([0, 1, 1, 3, 3], [1, 0, 5]), ([0, 1, 1, 3, 3], [1, -1, 4]), ([0, 1, 1, 3], [1, 0, 4]), ([0, 1, 1, 2, 2], [1, 0])],
    ids=["beyond the items", "negative", "a user less", "a pair less"],
)
def test_vouched_for_held_out_pairs_that_do_not_fit_are_refused(
    rich_folder: Path, offsets: list[int], indices: list[int]
) -> None:
    starts = pa.array(offsets, pa.int64())
    columns = {
        "item_indices": pa.LargeListArray.from_arrays(starts, pa.array(indices, pa.int32())),
        "weights": pa.LargeListArray.from_arrays(starts, pa.array([1.0] * len(indices), pa.float32())),
    }
    sink = pa.BufferOutputStream()
    batch = pa.record_batch(columns)
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    rewrite(rich_folder, "held_out.arrow", sink.getvalue().to_pybytes())
    with pytest.raises(PlatformError, match=r"held_out\.arrow is damaged"):
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_clear_error(folder: Path) -> None:
    (folder / "users.arrow").chmod(0)
    with pytest.raises(PlatformError, match=r"cannot read .*users.arrow: Permission denied"):
        artifact.load(folder)
