"""The model folder: written once and whole, checked at load, mapped rather than read.

======================  ==========================================================================================
file                    content
======================  ==========================================================================================
manifest.json           format version, algorithm, hyperparameters, library versions, counts, metrics, the global mean,
                        the constants of fold-in, where something was measured the records of it
                        (`factorbox.training_record`), the size and SHA-256 of each other file, and the SHA-256 of all
                        this (`sha256_of_the_above`)
factors.safetensors     float32 user_factors (users, d), item_factors (items, d), user_biases (users,), item_biases
                        (items,), mean_user_factors (d,), mean_user_bias (1,)
layers.safetensors      float32 weights of a network, only for algorithms that have one; the manifest has their shapes
users.arrow             Arrow IPC: user_id (text, ascending), item_indices and weights (lists: the history that the
                        model was trained on)
held_out.arrow          Arrow IPC, only where interactions were held out and never trained on: item_indices and weights
                        (lists: what else each user has)
confidence.safetensors  float32 idf (items,), only for als with confidence=bm25
items.arrow             Arrow IPC: item_id (text, ascending), available (false: never recommended)
item_details.arrow      Arrow IPC, only where the channel of items had such columns: their texts, null in the rows of
                        items without details
======================  ==========================================================================================

Row r of a matrix belongs to row r of the ids. Nothing here is a pickle, and nothing here is a time, a path or a
thread count: the same data, seed and hyperparameters give the same bytes.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
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
from factorbox.data.splits import Pairs
from factorbox.errors import AlgorithmError
from factorbox.manifest import FORMAT_VERSION, MANIFEST, read_manifest, replace_files
from factorbox.mean_user import user_tensors
from factorbox.model_files import (
    CONFIDENCE,
    FACTORS,
    HELD_OUT,
    ITEM_DETAILS,
    ITEMS,
    LAYERS,
    OPTIONAL_FILES,
    USERS,
    damaged,
    map_arrow,
    map_tensors,
    map_texts,
    mapped_rows,
    row_columns,
    verify_all,
    write_arrow,
    write_texts,
)
from factorbox.models.base import Factors, ItemSide
from factorbox.recommend.lists import starts_of, united
from factorbox.tensor_files import write_tensors
from factorbox.training_record import recorded
from factorbox.writing import disk_errors

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
        What the model was trained on, in rows by user: users are folded in and scores explained by it.
    held_out
        What else the users have, in rows by user, which the model was not trained on; None for a model that was
        trained on everything.
    available
        bool, (items,): whether an item may be recommended. A copy: in the file each takes a bit.
    item_details
        Titles and the like; None for a model without.
    fold_in
        Constants that `factorbox.models.base.Algorithm.row_system` needs; empty for a model of format version 1.
    user_factors, item_factors, user_biases, item_biases
        See `factorbox.models.base.Factors`.
    mean_user_factors, mean_user_bias
        float32, (d,) and (1,): the mean over the users with a history, which answers for an unknown one. It also is
        the row of each user without.
    global_mean
        What every score begins with; 0 in models of format versions 1 and 2.
    layers
        float32 weights of a network by name; empty for models without.
    idf
        See `factorbox.models.base.Factors`.
    """

    manifest: Mapping[str, Any]
    user_ids: Ids
    item_ids: Ids
    history: Rows
    held_out: Rows | None
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
    idf: NDArray[np.float32]

    @property
    def item_side(self) -> ItemSide:
        """What users are folded in by."""
        return ItemSide(self.item_factors, self.item_biases, self.global_mean, self.layers, self.fold_in, self.idf)

    @cached_property
    def seen(self) -> Rows:
        """All that the users have, in rows by user: what `exclude_seen` leaves out.

        It is `history` itself where nothing is held out. Otherwise it is put together, in memory, when it is first
        asked for; answers do without.
        """
        if self.held_out is None:
            return self.history
        return united(self.history, self.held_out, columns=len(self.item_ids))


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
    held_out: Pairs | None = None,
    record: Mapping[str, Any] = {},
) -> int:
    """Write a model into a folder, each file in a temporary folder first, the manifest last; return its bytes.

    A user without interactions gets the vector and the bias of the mean user: what training has left there, zeros or
    the random start, says nothing.

    Parameters
    ----------
    interactions
        What the model was trained on; users and items without any are those of `held_out`.
    available
        bool, (items,); all items are available where it is None.
    held_out
        What else the users have, which the model was not trained on; None where that is nothing.
    record
        What was measured: entries of the manifest as in `factorbox.training_record.recorded`.

    Raises
    ------
    AlgorithmError
        Where a factor or a constant of fold-in is not finite, or the record holds what a manifest cannot.
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
    history = interactions.by_user()
    tensors |= user_tensors(factors, trained=history.counts > 0)
    fold_in = {name: float(value) for name, value in factors.fold_in.items()}
    if not all(map(math.isfinite, (factors.global_mean, *fold_in.values()))):
        raise AlgorithmError(
            f"the global mean or a constant of fold-in is not finite after training: {factors.global_mean}, {fold_in}"
        )
    users = {"user_id": interactions.user_ids.texts, **row_columns(history)}
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
    if len(factors.idf):
        writers[CONFIDENCE] = lambda path: write_tensors(path, {"idf": factors.idf})
    if item_details is not None:
        details = item_details.columns
        writers[ITEM_DETAILS] = lambda path: write_texts(path, details)
    if held_out is not None and len(held_out):
        indptr = starts_of(np.bincount(held_out.user_indices, minlength=interactions.n_users))
        others = row_columns(Rows(indptr, held_out.item_indices, held_out.weights))
        writers[HELD_OUT] = lambda path: write_arrow(path, others)
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
            "held_out_pairs": 0 if held_out is None else len(held_out),
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
        **recorded(record),
        "files": {},
    }
    replace_files(folder, writers=writers, manifest=manifest)
    with disk_errors(folder):
        for name in OPTIONAL_FILES.keys() - writers.keys():
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
    counts = model.manifest["counts"]
    held_out_pairs = counts.get("held_out_pairs", 0)
    manifest = {
        **model.manifest,
        "format_version": FORMAT_VERSION,
        "counts": {**counts, "unavailable_items": _unavailable(available), "held_out_pairs": held_out_pairs},
        "fold_in": dict(model.fold_in),
        "global_mean": model.global_mean,
        "layers": {name: list(layer.shape) for name, layer in model.layers.items()},
    }
    replace_files(folder, writers={ITEMS: lambda path: write_arrow(path, items)}, manifest=manifest)


def _item_columns(item_ids: Ids, available: NDArray[np.bool_]) -> dict[str, pa.Array]:
    return {"item_id": item_ids.texts, "available": pa.array(available)}


def _unavailable(available: NDArray[np.bool_]) -> int:
    return len(available) - int(np.count_nonzero(available))


def load(folder: Path) -> Artifact:
    """Check a model folder against its manifest and map it. No matrix product is run.

    Raises
    ------
    PlatformError
        Where the folder holds no model, a newer one, or one that differs from what was written.
    """
    manifest = read_manifest(folder)
    verify_all(folder, manifest["files"])
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
    idf = np.zeros(0, dtype=np.float32)
    if CONFIDENCE in manifest["files"]:
        idf = map_tensors(folder / CONFIDENCE, {"idf": [items]})["idf"]
    user_table = map_arrow(folder / USERS, names=("user_id", "item_indices", "weights"), length=users)
    history = mapped_rows(folder / USERS, user_table, pairs=pairs, items=items)
    held_out = None
    if HELD_OUT in manifest["files"]:
        columns = map_arrow(folder / HELD_OUT, names=("item_indices", "weights"), length=users)
        held_out = mapped_rows(folder / HELD_OUT, columns, pairs=counts["held_out_pairs"], items=items)
    item_ids, available = _map_items(folder / ITEMS, manifest=manifest)
    details = map_texts(folder / ITEM_DETAILS, length=items) if ITEM_DETAILS in manifest["files"] else None
    artifact = Artifact(
        manifest=manifest,
        user_ids=Ids(user_table["user_id"]),
        item_ids=item_ids,
        history=history,
        held_out=held_out,
        available=available,
        item_details=ItemDetails(MappingProxyType(details)) if details is not None else None,
        fold_in=MappingProxyType(manifest.get("fold_in", {})),
        global_mean=manifest.get("global_mean", 0.0),
        layers=MappingProxyType(map_tensors(folder / LAYERS, layers) if layers else {}),
        idf=idf,
        **tensors,
    )
    for name, ids in ((USERS, artifact.user_ids), (ITEMS, artifact.item_ids)):
        if not ids.is_sorted():
            raise damaged(folder / name, "its ids are not in ascending order")
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
