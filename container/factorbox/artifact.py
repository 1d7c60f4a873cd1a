"""The model folder: written once and whole, checked at load, mapped rather than read.

======================  ==========================================================================================
file                    content
======================  ==========================================================================================
manifest.json           format version, algorithm, hyperparameters, library versions, counts, metrics, the global mean,
                        the constants of fold-in, the size and SHA-256 of each other file, and the SHA-256 of all this
                        (`sha256_of_the_above`)
factors.safetensors     float32 user_factors (users, d), item_factors (items, d), user_biases (users,), item_biases
                        (items,), mean_user_factors (d,), mean_user_bias (1,)
layers.safetensors      float32 weights of a network, only for algorithms that have one; the manifest has their shapes
users.arrow             Arrow IPC: user_id (text, ascending), item_indices and weights (lists: the history)
items.arrow             Arrow IPC: item_id (text, ascending), available (false: never recommended)
item_details.arrow      Arrow IPC, only where the channel of items had such columns: their texts, null in the rows of
                        items without details
======================  ==========================================================================================

Row r of a matrix belongs to row r of the ids. Nothing here is a pickle, and nothing here is a time, a path or a
thread count: the same data, seed and hyperparameters give the same bytes.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox import __version__
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import ItemDetails
from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.manifest import FORMAT_VERSION, MANIFEST, read_manifest, write_manifest
from factorbox.model_files import (
    FACTORS,
    ITEM_DETAILS,
    ITEMS,
    LAYERS,
    USERS,
    damaged,
    fingerprint,
    map_arrow,
    map_tensors,
    map_texts,
    verify,
    write_arrow,
    write_tensors,
    write_texts,
)
from factorbox.models.base import Factors, ItemSide
from factorbox.writing import disk_errors, partial_folder

_LARGEST = 1e18
_LIBRARIES = ("numba", "numpy", "pyarrow", "safetensors", "torch")


@dataclass(frozen=True, eq=False)
class Artifact:
    """A loaded model; its arrays are views of the mapped files.

    Attributes
    ----------
    manifest
        The content of manifest.json.
    user_ids, item_ids
        The ids; position is row.
    history
        The training interactions in rows by user.
    available
        bool, (items,): whether an item may be recommended. A copy: in the file each takes a bit.
    item_details
        Titles and the like; None for a model without.
    fold_in
        Constants that `factorbox.models.base.Algorithm.row_system` needs; empty for a model of format version 1.
    user_factors, item_factors, user_biases, item_biases
        See `factorbox.models.base.Factors`.
    mean_user_factors, mean_user_bias
        float32, (d,) and (1,): the mean over all users, which answers for an unknown one.
    global_mean
        What every score begins with; 0 in models of format versions 1 and 2.
    layers
        float32 weights of a network by name; empty for models without.
    """

    manifest: Mapping[str, Any]
    user_ids: Ids
    item_ids: Ids
    history: Rows
    available: NDArray[np.bool_]
    item_details: ItemDetails | None
    fold_in: Mapping[str, float]
    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    mean_user_factors: NDArray[np.float32]
    mean_user_bias: NDArray[np.float32]
    global_mean: float
    layers: Mapping[str, NDArray[np.float32]]

    @property
    def item_side(self) -> ItemSide:
        """What users are folded in by."""
        return ItemSide(self.item_factors, self.item_biases, self.global_mean, self.layers, self.fold_in)


def save(
    folder: Path,
    *,
    interactions: Interactions,
    factors: Factors,
    algorithm: str,
    hyperparameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    available: NDArray[np.bool_] | None = None,
    item_details: ItemDetails | None = None,
) -> int:
    """Write a model into a folder, each file in a temporary folder first, the manifest last; return its bytes.

    Parameters
    ----------
    available
        bool, (items,); all items are available where it is None.

    Raises
    ------
    AlgorithmError
        Where a factor or a constant of fold-in is not finite.
    PlatformError
        Where the folder cannot be written or the disk is full; no manifest is left then.
    """
    tensors = {
        "user_factors": factors.user_factors,
        "item_factors": factors.item_factors,
        "user_biases": factors.user_biases,
        "item_biases": factors.item_biases,
    }
    for name, tensor in {**tensors, **factors.layers}.items():
        # A product of two numbers below it is finite in float32; NaN is not below it either.
        if not (np.abs(tensor) < _LARGEST).all():
            raise AlgorithmError(
                f"{name} is not finite, or beyond {_LARGEST:g}, after training: lower learning_rate, raise"
                " regularization, or give smaller weights"
            )
    tensors["mean_user_factors"] = factors.user_factors.mean(axis=0, dtype=np.float64).astype(np.float32)
    tensors["mean_user_bias"] = factors.user_biases.mean(keepdims=True, dtype=np.float64).astype(np.float32)
    fold_in = {name: float(value) for name, value in factors.fold_in.items()}
    if not all(map(math.isfinite, (factors.global_mean, *fold_in.values()))):
        raise AlgorithmError(
            f"the global mean or a constant of fold-in is not finite after training: {factors.global_mean}, {fold_in}"
        )
    history = interactions.by_user()
    users = {
        "user_id": interactions.user_ids.texts,
        "item_indices": pa.LargeListArray.from_arrays(history.indptr, history.indices),
        "weights": pa.LargeListArray.from_arrays(history.indptr, history.weights),
    }
    if available is None:
        available = np.ones(interactions.n_items, dtype=np.bool_)
    items = _item_columns(interactions.item_ids, available)
    writers: dict[str, Callable[[Path], None]] = {
        FACTORS: lambda path: write_tensors(path, tensors),
        USERS: lambda path: write_arrow(path, users),
        ITEMS: lambda path: write_arrow(path, items),
    }
    if factors.layers:
        writers[LAYERS] = lambda path: write_tensors(path, factors.layers)
    if item_details is not None:
        details = item_details.columns
        writers[ITEM_DETAILS] = lambda path: write_texts(path, details)
    manifest: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "algorithm": algorithm,
        "hyperparameters": dict(hyperparameters),
        "counts": {
            "users": interactions.n_users,
            "items": interactions.n_items,
            "pairs": interactions.n_pairs,
            "embedding_dim": factors.item_factors.shape[1],
            "epochs": factors.epochs,
            "unavailable_items": _unavailable(available),
        },
        "metrics": dict(metrics),
        "global_mean": float(factors.global_mean),
        "layers": {name: list(layer.shape) for name, layer in factors.layers.items()},
        "fold_in": fold_in,
        "libraries": {
            "factorbox": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
        "files": {},
    }
    _write(folder, writers=writers, manifest=manifest)
    with disk_errors(folder):
        for name in {ITEM_DETAILS, LAYERS} - writers.keys():
            # An older model of this folder may have had it.
            (folder / name).unlink(missing_ok=True)
        return sum((folder / name).stat().st_size for name in (*writers, MANIFEST))


def replace_available(folder: Path, *, model: Artifact, available: NDArray[np.bool_]) -> None:
    """Write another `available` into a model folder; all else stays as it is.

    Parameters
    ----------
    model
        What `load` made of the folder.
    available
        bool, (items,).

    Raises
    ------
    PlatformError
        Where the folder cannot be written.
    """
    items = _item_columns(model.item_ids, available)
    manifest = {
        **model.manifest,
        "format_version": FORMAT_VERSION,
        "counts": {**model.manifest["counts"], "unavailable_items": _unavailable(available)},
        "fold_in": dict(model.fold_in),
        "global_mean": model.global_mean,
        "layers": {name: list(layer.shape) for name, layer in model.layers.items()},
    }
    _write(folder, writers={ITEMS: lambda path: write_arrow(path, items)}, manifest=manifest)


def _item_columns(item_ids: Ids, available: NDArray[np.bool_]) -> dict[str, pa.Array]:
    return {"item_id": item_ids.texts, "available": pa.array(available)}


def _unavailable(available: NDArray[np.bool_]) -> int:
    return len(available) - int(np.count_nonzero(available))


def _write(folder: Path, *, writers: Mapping[str, Callable[[Path], None]], manifest: Mapping[str, Any]) -> None:
    """Write some files of a model, and the manifest with their fingerprints, over those that are there."""
    with disk_errors(folder), partial_folder(folder) as partial:
        for name, write in writers.items():
            write(partial / name)
            # safetensors makes files that only their owner reads; who serves may be another user.
            (partial / name).chmod(0o644)
        files = {**manifest["files"], **{name: fingerprint(partial / name) for name in writers}}
        write_manifest(partial / MANIFEST, {**manifest, "files": files})
        # Without its manifest an older model is not a model: none is ever half old and half new.
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in (*writers, MANIFEST):
            os.replace(partial / name, folder / name)


def load(folder: Path) -> Artifact:
    """Check a model folder against its manifest and map it. No matrix product is run.

    Raises
    ------
    PlatformError
        Where the folder holds no model, a newer one, or one that differs from what was written.
    """
    manifest = read_manifest(folder)
    for name, recorded in manifest["files"].items():
        verify(folder / name, recorded)
    counts = manifest["counts"]
    users, items, pairs, d = (counts[key] for key in ("users", "items", "pairs", "embedding_dim"))
    shapes = {
        "user_factors": [users, d],
        "item_factors": [items, d],
        "user_biases": [users],
        "item_biases": [items],
        "mean_user_factors": [d],
        "mean_user_bias": [1],
    }
    tensors = map_tensors(folder / FACTORS, shapes)
    layers = manifest.get("layers", {})
    user_table = map_arrow(folder / USERS, names=("user_id", "item_indices", "weights"), length=users)
    listed, weights = user_table["item_indices"], user_table["weights"]
    history = Rows(
        indptr=listed.offsets.to_numpy(),
        indices=listed.values.to_numpy(),
        weights=weights.values.to_numpy(),
    )
    item_ids, available = _map_items(folder / ITEMS, manifest=manifest)
    details = map_texts(folder / ITEM_DETAILS, length=items) if ITEM_DETAILS in manifest["files"] else None
    artifact = Artifact(
        manifest=manifest,
        user_ids=Ids(user_table["user_id"]),
        item_ids=item_ids,
        history=history,
        available=available,
        item_details=ItemDetails(MappingProxyType(details)) if details is not None else None,
        fold_in=MappingProxyType(manifest.get("fold_in", {})),
        global_mean=manifest.get("global_mean", 0.0),
        layers=MappingProxyType(map_tensors(folder / LAYERS, layers) if layers else {}),
        **tensors,
    )
    sound = (
        len(history.indices) == len(history.weights) == pairs == history.indptr[-1]
        and history.indptr[0] == 0
        and bool((np.diff(history.indptr) >= 0).all())
        and (pairs == 0 or (history.indices.min() >= 0 and history.indices.max() < items))
        and artifact.user_ids.is_sorted()
        and artifact.item_ids.is_sorted()
    )
    if not sound:
        raise damaged(folder / USERS, "its ids or history do not fit together")
    return artifact


def _map_items(path: Path, *, manifest: Mapping[str, Any]) -> tuple[Ids, NDArray[np.bool_]]:
    """Return the items of a model, and which of them are available: all, in format version 1."""
    counts = manifest["counts"]
    if manifest["format_version"] == 1:
        columns = map_arrow(path, names=("item_id",), length=counts["items"])
        return Ids(columns["item_id"]), np.ones(counts["items"], dtype=np.bool_)
    columns = map_arrow(path, names=("item_id", "available"), length=counts["items"])
    available: NDArray[np.bool_] = columns["available"].to_numpy(zero_copy_only=False)
    if _unavailable(available) != counts["unavailable_items"]:
        raise damaged(path, f"{_unavailable(available)} items are unavailable, and the manifest has another number")
    return Ids(columns["item_id"]), available
