"""The files of a model folder beside its manifest: Arrow tables and safetensors, written, mapped and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.errors import PlatformError
from factorbox.tensor_files import TensorFileError, map_file

FACTORS = "factors.safetensors"
LAYERS = "layers.safetensors"
USERS = "users.arrow"
ITEMS = "items.arrow"
ITEM_DETAILS = "item_details.arrow"
HELD_OUT = "held_out.arrow"
CONFIDENCE = "confidence.safetensors"

REQUIRED_FILES = frozenset({FACTORS, USERS, ITEMS})
"""Those that every model has."""
OPTIONAL_FILES: Mapping[str, int] = MappingProxyType({ITEM_DETAILS: 2, LAYERS: 3, HELD_OUT: 4, CONFIDENCE: 5})
"""Those that only some models have, each with the format version that brought it."""

_ARROW_TYPES = MappingProxyType(
    {
        "user_id": pa.large_string(),
        "item_id": pa.large_string(),
        "item_indices": pa.large_list(pa.int32()),
        "weights": pa.large_list(pa.float32()),
        "available": pa.bool_(),
    }
)


def map_tensors(path: Path, shapes: Mapping[str, list[int]]) -> dict[str, NDArray[np.float32]]:
    """Map float32 arrays of known shapes.

    Raises
    ------
    PlatformError
        Where the file holds anything else.
    """
    try:
        tensors = map_file(path)
    except TensorFileError as error:
        raise damaged(path, str(error)) from None
    except OSError as error:
        raise PlatformError(f"cannot read {path}: {error.strerror}") from None
    if tensors.keys() != shapes.keys():
        raise damaged(path, f"it holds {sorted(tensors)}, and {sorted(shapes)} were expected")
    for name, shape in shapes.items():
        if list(tensors[name].shape) != shape:
            raise damaged(path, f"{name} has the shape {list(tensors[name].shape)}, not {shape}")
    return {name: tensors[name] for name in shapes}


def write_arrow(path: Path, columns: Mapping[str, pa.Array]) -> None:
    """Write columns as one record batch of Arrow IPC."""
    schema = pa.schema([(name, _ARROW_TYPES[name]) for name in columns])
    arrays = [column.cast(schema.field(name).type) for name, column in columns.items()]
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))


def map_arrow(path: Path, *, names: Iterable[str], length: int) -> dict[str, pa.Array]:
    """Map the columns of these names, which have this many rows, none of them null.

    Raises
    ------
    PlatformError
        Where the file does not hold them.
    """
    batch = _map_batch(path, length=length)
    for name in names:
        if batch.schema.names.count(name) != 1 or batch.schema.field(name).type != _ARROW_TYPES[name]:
            raise damaged(path, f"its column {name} is missing or is not {_ARROW_TYPES[name]}")
        if batch[name].null_count:
            raise damaged(path, f"its column {name} lacks {batch[name].null_count} values")
    return {name: batch[name] for name in names}


def row_columns(rows: Rows) -> dict[str, pa.Array]:
    """Return the columns that hold a matrix, a row of lists each."""
    return {
        "item_indices": pa.LargeListArray.from_arrays(rows.indptr, rows.indices),
        "weights": pa.LargeListArray.from_arrays(rows.indptr, rows.weights),
    }


def mapped_rows(path: Path, columns: Mapping[str, pa.Array], *, pairs: int, items: int) -> Rows:
    """Return the matrix that mapped columns of a file hold.

    Raises
    ------
    PlatformError
        Where that is none with so many pairs, of so many items.
    """
    listed, weights = columns["item_indices"], columns["weights"]
    rows = Rows(
        indptr=listed.offsets.to_numpy(),
        indices=listed.values.to_numpy(),
        weights=weights.values.to_numpy(),
    )
    sound = (
        len(rows.indices) == len(rows.weights) == pairs == rows.indptr[-1]
        and rows.indptr[0] == 0
        and bool((np.diff(rows.indptr) >= 0).all())
        and (pairs == 0 or (rows.indices.min() >= 0 and rows.indices.max() < items))
    )
    if not sound:
        raise damaged(path, "its lists of items do not fit together")
    return rows


def write_texts(path: Path, columns: Mapping[str, pa.LargeStringArray]) -> None:
    """Write columns of text, whatever their names, for `map_texts`."""
    batch = pa.record_batch(list(columns.values()), schema=pa.schema([(name, pa.large_string()) for name in columns]))
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)


def map_texts(path: Path, *, length: int) -> dict[str, pa.LargeStringArray]:
    """Map columns of text of this length; a row is null in all of them, or in none.

    Raises
    ------
    PlatformError
        Where the file holds anything else.
    """
    batch = _map_batch(path, length=length)
    names = batch.schema.names
    if not names or len(set(names)) < len(names) or set(batch.schema.types) != {pa.large_string()}:
        raise damaged(path, "its columns are not texts with a name each")
    columns = {name: batch[name] for name in names}
    first, *others = (column.is_null() for column in columns.values())
    if not all(first.equals(other) for other in others):
        raise damaged(path, "some rows have a part of the columns only")
    return columns


def fingerprint(path: Path) -> dict[str, Any]:
    """Return the size and the SHA-256 of a file, as the manifest has them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def verify(path: Path, recorded: Mapping[str, Any]) -> None:
    """Check a file against its fingerprint.

    Raises
    ------
    PlatformError
        Where it is missing, or another one.
    """
    try:
        size = path.stat().st_size
        if size != recorded["bytes"]:
            raise damaged(path, f"it has {size} bytes, and the manifest says {recorded['bytes']}")
        found = fingerprint(path)
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None
    except OSError as error:
        raise PlatformError(f"cannot read {path}: {error.strerror}") from None
    if found != recorded:
        raise damaged(path, "its SHA-256 is not the one in the manifest")


def verify_all(folder: Path, recorded: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the files of a folder against their fingerprints, as many at a time as there are processors.

    Raises
    ------
    PlatformError
        For the first of them that is missing, or another one.
    """
    with ThreadPoolExecutor(thread_name_prefix="sha256") as pool:
        list(pool.map(lambda name: verify(folder / name, recorded[name]), recorded))


def damaged(path: Path, why: str) -> PlatformError:
    """Make the error for a file that is not what was written."""
    return PlatformError(f"the model file {path} is damaged: {why}; copy the model again or train it anew")


def _map_batch(path: Path, *, length: int) -> pa.RecordBatch:
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if reader.num_record_batches != 1:
            raise damaged(path, f"it holds {reader.num_record_batches} record batches, and 1 was expected")
        batch = reader.get_batch(0)
        batch.validate(full=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(path, str(error).splitlines()[0]) from None
    if len(batch) != length:
        raise damaged(path, f"it has {len(batch)} rows, and {length} were expected")
    return batch
