"""A small model, and changing a model folder so that its manifest still vouches for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox import artifact
from factorbox.data.item_details import ItemDetails
from factorbox.models.base import Factors
from support import interactions_from_rows


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and make the manifest vouch for it."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    sealed(folder, manifest)


def sealed(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest that vouches for itself."""
    manifest.pop("sha256_of_the_above", None)
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    manifest["sha256_of_the_above"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    sealed(folder, manifest)


def as_version_2(folder: Path) -> None:
    """Turn the folder of a model without layers and global mean into what was written before there were any."""

    def older(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 2
        del manifest["global_mean"], manifest["layers"]

    edit_manifest(folder, older)


def as_version_1(folder: Path) -> None:
    """Turn a model folder into what the first factorbox wrote."""
    as_version_2(folder)
    batch = pa.ipc.open_file(folder / "items.arrow").get_batch(0).select(["item_id"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    (folder / "item_details.arrow").unlink(missing_ok=True)
    rewrite(folder, "items.arrow", sink.getvalue().to_pybytes())

    def older(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 1
        manifest["files"].pop("item_details.arrow", None)
        del manifest["fold_in"], manifest["counts"]["unavailable_items"]

    edit_manifest(folder, older)


def model_files(folder: Path, **hyperparameters: Any) -> dict[str, bytes]:
    """Save a model of five items, of which i0003 is unavailable, and return its files."""
    interactions = interactions_from_rows([[0, 2], [1], [0, 1, 2, 3]], n_items=5)
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    factors = Factors(draw(3, 4), draw(5, 4), draw(3), draw(5), epochs=3, train_loss=0.5, fold_in={"seen_target": 2.0})
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors,
        algorithm="bpr",
        hyperparameters=hyperparameters,
        metrics={},
        available=np.arange(5) != 3,
        item_details=ItemDetails({"title": pa.array(list("ABCDE"), pa.large_string())}),
    )
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
