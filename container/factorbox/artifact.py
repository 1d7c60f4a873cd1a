"""The model folder: written once and whole, checked at load, mapped rather than read.

======================  ==========================================================================================
file                    content
======================  ==========================================================================================
manifest.json           format version, algorithm, hyperparameters, library versions, counts, metrics, the size and
                        SHA-256 of each other file, and the SHA-256 of all this (`sha256_of_the_above`)
factors.safetensors     float32 user_factors (users, d), item_factors (items, d), user_biases (users,), item_biases
                        (items,), mean_user_factors (d,), mean_user_bias (1,)
users.arrow             Arrow IPC: user_id (text, ascending), item_indices and weights (lists: the history)
items.arrow             Arrow IPC: item_id (text, ascending)
======================  ==========================================================================================

Row r of a matrix belongs to row r of the ids. Nothing here is a pickle, and nothing here is a time, a path or a
thread count: the same data, seed and hyperparameters give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from factorbox import __version__
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError, PlatformError
from factorbox.models.base import Factors
from factorbox.writing import disk_errors, partial_folder

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
FACTORS = "factors.safetensors"
USERS = "users.arrow"
ITEMS = "items.arrow"

_LIBRARIES = ("numba", "numpy", "pyarrow", "safetensors", "torch")
_SEAL = "sha256_of_the_above"


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
    user_factors, item_factors, user_biases, item_biases
        See `factorbox.models.base.Factors`.
    mean_user_factors, mean_user_bias
        float32, (d,) and (1,): the mean over all users, which answers for an unknown one.
    """

    manifest: Mapping[str, Any]
    user_ids: Ids
    item_ids: Ids
    history: Rows
    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    user_biases: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    mean_user_factors: NDArray[np.float32]
    mean_user_bias: NDArray[np.float32]


def save(
    folder: Path,
    *,
    interactions: Interactions,
    factors: Factors,
    algorithm: str,
    hyperparameters: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> int:
    """Write a model into a folder, each file in a temporary folder first, the manifest last; return its bytes.

    Raises
    ------
    AlgorithmError
        Where a factor is not finite.
    PlatformError
        Where the folder cannot be written or the disk is full; no manifest is left then.
    """
    tensors = {
        "user_factors": factors.user_factors,
        "item_factors": factors.item_factors,
        "user_biases": factors.user_biases,
        "item_biases": factors.item_biases,
        "mean_user_factors": factors.user_factors.mean(axis=0, dtype=np.float64).astype(np.float32),
        "mean_user_bias": factors.user_biases.mean(keepdims=True, dtype=np.float64).astype(np.float32),
    }
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise AlgorithmError(f"{name} is not finite after training: lower learning_rate or raise regularization")
    history = interactions.by_user()
    users = {
        "user_id": interactions.user_ids.texts,
        "item_indices": pa.LargeListArray.from_arrays(history.indptr, history.indices),
        "weights": pa.LargeListArray.from_arrays(history.indptr, history.weights),
    }
    writers: dict[str, Callable[[Path], None]] = {
        FACTORS: lambda path: save_file({k: torch.from_numpy(v).contiguous() for k, v in tensors.items()}, path),
        USERS: lambda path: _write_arrow(path, users),
        ITEMS: lambda path: _write_arrow(path, {"item_id": interactions.item_ids.texts}),
    }
    with disk_errors(folder), partial_folder(folder) as partial:
        for name, write in writers.items():
            write(partial / name)
            # safetensors makes files that only their owner reads; who serves may be another user.
            (partial / name).chmod(0o644)
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
            },
            "metrics": dict(metrics),
            "libraries": {
                "factorbox": __version__,
                "python": platform.python_version(),
                **{library: version(library) for library in _LIBRARIES},
            },
            "files": {name: _fingerprint(partial / name) for name in writers},
        }
        manifest[_SEAL] = _seal(manifest)
        content = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (partial / MANIFEST).write_bytes(content)
        # Without its manifest an older model is not a model: none is ever half old and half new.
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in (*writers, MANIFEST):
            os.replace(partial / name, folder / name)
    return sum((folder / name).stat().st_size for name in (*writers, MANIFEST))


def load(folder: Path) -> Artifact:
    """Check a model folder against its manifest and map it. No matrix product is run.

    Raises
    ------
    PlatformError
        Where the folder holds no model, a newer one, or one that differs from what was written.
    """
    manifest = _read_manifest(folder)
    for name, recorded in manifest["files"].items():
        _verify(folder / name, recorded)
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
    tensors = _map_tensors(folder / FACTORS, shapes)
    user_table = _map_arrow(folder / USERS, {"user_id": users, "item_indices": users, "weights": users})
    item_table = _map_arrow(folder / ITEMS, {"item_id": items})
    listed, weights = user_table["item_indices"], user_table["weights"]
    history = Rows(
        indptr=listed.offsets.to_numpy(),
        indices=listed.values.to_numpy(),
        weights=weights.values.to_numpy(),
    )
    artifact = Artifact(
        manifest=manifest,
        user_ids=Ids(user_table["user_id"]),
        item_ids=Ids(item_table["item_id"]),
        history=history,
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
        raise _damaged(folder / USERS, "its ids or history do not fit together")
    return artifact


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        if path.exists() and not path.is_file():
            raise _damaged(path, "it is no file")
        manifest = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise PlatformError(
            f"no model in {folder}: {MANIFEST} is missing (found: {_found_in(folder)}); put the content of a"
            " model.tar.gz that factorbox trained there"
        ) from None
    except orjson.JSONDecodeError as error:
        raise _damaged(path, f"it is not JSON ({error})") from None
    except OSError as error:
        raise PlatformError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format_version"), int):
        raise _damaged(path, "it has no format_version")
    if manifest["format_version"] > FORMAT_VERSION:
        raise PlatformError(
            f"the model in {folder} has format version {manifest['format_version']}, and this factorbox reads up to"
            f" {FORMAT_VERSION}: serve it with the image that trained it, or a newer one"
        )
    try:
        seal = _seal(manifest)
    except TypeError:
        raise _damaged(path, "it is nested too deeply") from None
    if manifest.get(_SEAL) != seal:
        raise _damaged(path, f"its content does not match its {_SEAL}")
    counts, files = manifest.get("counts"), manifest.get("files")
    sound = (
        manifest["format_version"] >= 1
        and isinstance(manifest.get("algorithm"), str)
        and isinstance(manifest.get("hyperparameters"), dict)
        and isinstance(counts, dict)
        and all(_is_count(counts.get(key)) for key in ("users", "items", "pairs", "embedding_dim"))
        and isinstance(files, dict)
        and set(files) == {FACTORS, USERS, ITEMS}
        and all(isinstance(recorded, dict) and set(recorded) == {"bytes", "sha256"} for recorded in files.values())
    )
    if not sound:
        raise _damaged(path, "entries are missing or have the wrong type")
    return manifest


def _found_in(folder: Path) -> str:
    try:
        return ", ".join(sorted(entry.name for entry in folder.iterdir())[:5]) or "nothing"
    except OSError as error:
        return str(error.strerror)


def _seal(manifest: Mapping[str, Any]) -> str:
    """Digest the manifest without its own digest, independent of white space and the order of keys."""
    content = {key: value for key, value in manifest.items() if key != _SEAL}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _verify(path: Path, recorded: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
        if size != recorded["bytes"]:
            raise _damaged(path, f"it has {size} bytes, and the manifest says {recorded['bytes']}")
        found = _fingerprint(path)
    except FileNotFoundError:
        raise _damaged(path, "it is missing") from None
    except OSError as error:
        raise PlatformError(f"cannot read {path}: {error.strerror}") from None
    if found != recorded:
        raise _damaged(path, "its SHA-256 is not the one in the manifest")


def _map_tensors(path: Path, shapes: Mapping[str, list[int]]) -> dict[str, NDArray[np.float32]]:
    """Map float32 tensors of known shapes; torch's loader maps where numpy's copies."""
    try:
        with safe_open(path, framework="pt") as file:
            if set(file.keys()) != set(shapes):
                raise _damaged(path, f"it holds {sorted(file.keys())}, and {sorted(shapes)} were expected")
            tensors = {name: file.get_tensor(name) for name in shapes}
    except SafetensorError as error:
        raise _damaged(path, str(error)) from None
    for name, shape in shapes.items():
        if tensors[name].dtype != torch.float32 or list(tensors[name].shape) != shape:
            raise _damaged(path, f"{name} is {tensors[name].dtype} {list(tensors[name].shape)}, not float32 {shape}")
    return {name: tensor.numpy() for name, tensor in tensors.items()}


_ARROW_TYPES = {
    "user_id": pa.large_string(),
    "item_id": pa.large_string(),
    "item_indices": pa.large_list(pa.int32()),
    "weights": pa.large_list(pa.float32()),
}


def _write_arrow(path: Path, columns: Mapping[str, pa.Array]) -> None:
    schema = pa.schema([(name, _ARROW_TYPES[name]) for name in columns])
    arrays = [column.cast(schema.field(name).type) for name, column in columns.items()]
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))


def _map_arrow(path: Path, lengths: Mapping[str, int]) -> dict[str, pa.Array]:
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if reader.num_record_batches != 1:
            raise _damaged(path, f"it holds {reader.num_record_batches} record batches, and 1 was expected")
        batch = reader.get_batch(0)
        batch.validate(full=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from None
    for name, length in lengths.items():
        if name not in batch.schema.names or batch.schema.field(name).type != _ARROW_TYPES[name]:
            raise _damaged(path, f"its column {name} is missing or is not {_ARROW_TYPES[name]}")
        if len(batch[name]) != length or batch[name].null_count:
            raise _damaged(path, f"its column {name} has {len(batch[name])} rows, and {length} were expected")
    return {name: batch[name] for name in lengths}


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _damaged(path: Path, why: str) -> PlatformError:
    return PlatformError(f"the model file {path} is damaged: {why}; copy the model again or train it anew")
