"""Small models, and changing a model folder so that its manifest still vouches for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox import artifact
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import ItemDetails
from factorbox.data.rows import Rows
from factorbox.data.splits import Pairs
from factorbox.models.base import Factors
from support import interactions_from_rows

HELD_OUT = Pairs(np.array([0, 2, 2]), np.array([1, 0, 4], np.int32), np.array([5, 6, 7], np.float32))
RECORD = {
    "validation": {"method": "last", "users": 2, "metrics": {"ndcg@10": {"value": 0.25, "low": 0.2, "high": np.nan}}},
    "learning_curve": [{"epoch": 1, "train_loss": 0.75}, {"epoch": 2, "train_loss": 0.5, "validation:ndcg@10": 0.25}],
}


def small_interactions() -> Interactions:
    """Four users, the third of whom has nothing, and five items."""
    return interactions_from_rows([[0, 2], [1], [], [0, 1, 2, 3]], n_items=5, weights=[[1, 2], [3], [], [1, 1, 4, 1]])


def random_factors(interactions: Interactions, *, d: int = 5, seed: int = 0) -> Factors:
    """Draw what training could have made."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32)

    n_users, n_items = interactions.n_users, interactions.n_items
    return Factors(draw(n_users, d), draw(n_items, d), draw(n_users), draw(n_items), epochs=3, train_loss=0.5)


def save(folder: Path, interactions: Interactions, factors: Factors | None = None, **more: Any) -> None:
    """Save a model with as little as a model may have."""
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors or random_factors(interactions),
        algorithm="als",
        hyperparameters={"epochs": 3, "exclude_seen": True},
        metrics={"train_loss": 0.5},
        **more,
    )


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
            idf=np.linspace(0.5, 2.5, 5, dtype=np.float32),
        ),
        algorithm="bpr",
        hyperparameters={"epochs": 3},
        metrics={},
        available=np.array([True, False, True, True, False]),
        item_details=ItemDetails({name: pa.array(texts, pa.large_string()) for name, texts in columns.items()}),
        held_out=HELD_OUT,
        record=RECORD,
    )


def rows_of(rows: Rows) -> list[dict[int, float]]:
    """Each row as a mapping of column to weight, in order."""
    parts = [slice(*rows.indptr[row : row + 2]) for row in range(len(rows.indptr) - 1)]
    return [dict(zip(rows.indices[p].tolist(), rows.weights[p].tolist(), strict=True)) for p in parts]


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


def as_version_4(folder: Path) -> None:
    """Turn a model folder into what was written before weights were transformed."""
    edit_manifest(folder, lambda manifest: manifest.update(format_version=4))
    _drop(folder, "confidence.safetensors")


def as_version_3(folder: Path) -> None:
    """Turn a model folder into what was written before there were two histories and records of validation."""

    as_version_4(folder)

    def older(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 3
        del manifest["counts"]["held_out_pairs"]
        for name in ("validation", "learning_curve"):
            manifest.pop(name, None)

    edit_manifest(folder, older)
    _drop(folder, "held_out.arrow")


def as_version_2(folder: Path) -> None:
    """Turn a model folder into what was written before there were layers and a global mean."""
    as_version_3(folder)

    def older(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 2
        del manifest["global_mean"], manifest["layers"]

    edit_manifest(folder, older)
    _drop(folder, "layers.safetensors")


def as_version_1(folder: Path) -> None:
    """Turn a model folder into what the first factorbox wrote."""
    as_version_2(folder)
    batch = pa.ipc.open_file(folder / "items.arrow").get_batch(0).select(["item_id"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    rewrite(folder, "items.arrow", sink.getvalue().to_pybytes())

    def older(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 1
        del manifest["fold_in"], manifest["counts"]["unavailable_items"]

    edit_manifest(folder, older)
    _drop(folder, "item_details.arrow")


def _drop(folder: Path, name: str) -> None:
    """Remove a file that an older format did not have."""
    (folder / name).unlink(missing_ok=True)
    edit_manifest(folder, lambda manifest: manifest["files"].pop(name, None))


def model_files(folder: Path, **hyperparameters: Any) -> dict[str, bytes]:
    """Save a model of five items, of which i0003 is unavailable, with all that a model may have; return its files."""
    interactions = interactions_from_rows([[0, 2], [1], [0, 1, 2, 3]], n_items=5)
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    factors = Factors(
        draw(3, 4),
        draw(5, 4),
        draw(3),
        draw(5),
        epochs=3,
        train_loss=0.5,
        layers={"output_bias": np.ones(1, np.float32)},
        fold_in={"seen_target": 2.0},
        idf=np.ones(5, dtype=np.float32),
    )
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors,
        algorithm="bpr",
        hyperparameters=hyperparameters,
        metrics={},
        available=np.arange(5) != 3,
        item_details=ItemDetails({"title": pa.array(list("ABCDE"), pa.large_string())}),
        held_out=Pairs(np.array([0, 2]), np.array([4, 4], np.int32), np.array([1, 1], np.float32)),
        record={"validation": {"method": "last", "users": 2}, "learning_curve": [{"epoch": 1, "train_loss": 0.5}]},
    )
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
