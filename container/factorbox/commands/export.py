"""The vectors of a model for other programs: an inner product search over them gives the model's own ranking.

A model ranks the items of user u by x̂_ui = μ + b_u + b_i + w_u·h_i, of which μ + b_u is the same for all items. So the
vectors (users, d + 1) and (items, d + 1)

    [w_u, 1]   and   [h_i, b_i]

have an inner product that orders the items as x̂_ui does (Bachrach et al. 2014, "Speeding Up the Xbox Recommender
System Using a Euclidean Transformation for Inner-Product Spaces").

================  ====================================================================================================
format            files
================  ====================================================================================================
npy               user_vectors.npy and item_vectors.npy: float32, C order. user_ids.json and item_ids.json: a list of
                  texts, the id of each row. item_available.npy: bool, false for items that are never recommended.
parquet           users.parquet: user_id (string), vector (fixed-size list of float32). items.parquet: item_id,
                  available (bool), vector.
================  ====================================================================================================

Rows are in the order of the model's own, by the UTF-8 bytes of the ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.errors import UserError
from factorbox.recommender import Recommender
from factorbox.writing import disk_errors, partial_folder

Format = Literal["npy", "parquet"]
"""What an export is written as."""

FILES: Mapping[Format, tuple[str, ...]] = MappingProxyType(
    {
        "npy": ("user_vectors.npy", "item_vectors.npy", "user_ids.json", "item_ids.json", "item_available.npy"),
        "parquet": ("users.parquet", "items.parquet"),
    }
)
"""The files of an export."""

# Rows that are held at a time; also a row group of Parquet.
_BLOCK_ROWS = 65_536
_SHOWN_FILES = 3


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    users, items
        Rows.
    dimension
        Numbers in a vector: d + 1.
    """

    users: int
    items: int
    dimension: int


def export(model: Recommender, *, folder: Path, format: Format) -> Exported:
    """Write the vectors of a model into a folder, all files or none.

    Parameters
    ----------
    folder
        Made where it is missing. An earlier export in the same format is replaced.
    format
        `npy` for numpy and most libraries of nearest neighbours, `parquet` for data frames and databases.

    Raises
    ------
    UserError
        Where the model ranks by something else than an inner product, or the folder holds other files.
    PlatformError
        Where the folder cannot be written.
    """
    if model.layers:
        raise UserError(
            f"algorithm={model.algorithm} ranks by a network, which is no inner product, so no search over vectors"
            " gives its ranking: export a model of another algorithm, or ask this one for recommendations"
        )
    with disk_errors(folder):
        _refuse_other_files(folder, format=format)
        users = _Vectors(model.user_ids, model.user_factors, np.ones(len(model.user_ids), dtype=np.float32))
        items = _Vectors(model.item_ids, model.item_factors, model.item_biases)
        write = _write_npy if format == "npy" else _write_parquet
        with partial_folder(folder) as partial:
            write(partial, users=users, items=items, available=model.available)
            for name in FILES[format]:
                os.replace(partial / name, folder / name)
    return Exported(users=len(users.ids), items=len(items.ids), dimension=users.dimension)


@dataclass(frozen=True, eq=False)
class _Vectors:
    """Rows of factors with one more column, made block by block: a model may be larger than memory."""

    ids: Ids
    factors: NDArray[np.float32]
    last: NDArray[np.float32]

    @property
    def dimension(self) -> int:
        return int(self.factors.shape[1]) + 1

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield which rows, and their vectors, C-contiguous.  # (rows, d + 1)."""
        for start in range(0, len(self.ids), _BLOCK_ROWS):
            rows = slice(start, min(start + _BLOCK_ROWS, len(self.ids)))
            yield rows, np.column_stack([self.factors[rows], self.last[rows]])


def _refuse_other_files(folder: Path, *, format: Format) -> None:
    """Refuse a folder where an export would stand among files that do not belong to it."""
    if not folder.is_dir():
        return
    # Those with a dot are what a file manager, or an export that was killed, leaves behind.
    others = sorted(p.name for p in folder.iterdir() if p.name not in FILES[format] and not p.name.startswith("."))
    if others:
        more = f" and {len(others) - _SHOWN_FILES} more" if len(others) > _SHOWN_FILES else ""
        raise UserError(
            f"{folder} holds {', '.join(others[:_SHOWN_FILES])}{more}, which an export as {format} does not write: give"
            " an empty folder, a new one, or one with an earlier export in this format, which is replaced"
        )


def _write_npy(folder: Path, *, users: _Vectors, items: _Vectors, available: NDArray[np.bool_]) -> None:
    for name, vectors in (("user", users), ("item", items)):
        with (folder / f"{name}_vectors.npy").open("wb") as file:
            shape = (len(vectors.ids), vectors.dimension)
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for _, block in vectors.blocks():
                file.write(block.astype("<f4", copy=False).data)
        with (folder / f"{name}_ids.json").open("wb") as file:
            for rows, _ in vectors.blocks():
                texts = vectors.ids.texts[rows.start : rows.stop].to_pylist()
                file.write((b"," if rows.start else b"[") + orjson.dumps(texts)[1:-1])
            file.write(b"]\n")
    np.save(folder / "item_available.npy", available)


def _write_parquet(folder: Path, *, users: _Vectors, items: _Vectors, available: NDArray[np.bool_]) -> None:
    _write_table(folder / "users.parquet", users, id_name="user_id", others={})
    _write_table(folder / "items.parquet", items, id_name="item_id", others={"available": lambda r: available[r]})


def _write_table(
    path: Path, vectors: _Vectors, *, id_name: str, others: Mapping[str, Callable[[slice], NDArray[np.bool_]]]
) -> None:
    """Write ids, other columns and vectors."""
    vector = pa.list_(pa.float32(), vectors.dimension)
    schema = pa.schema([(id_name, pa.string()), *((name, pa.bool_()) for name in others), ("vector", vector)])
    with pq.ParquetWriter(path, schema) as writer:
        for rows, block in vectors.blocks():
            columns = [
                vectors.ids.texts[rows.start : rows.stop].cast(pa.string()),
                *(pa.array(values(rows)) for values in others.values()),
                pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), type=vector),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
